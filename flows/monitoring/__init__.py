"""What runs now and what was made: status, health, logs and notifications."""
