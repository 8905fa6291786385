"""What runs show in Prefect's user interface."""
