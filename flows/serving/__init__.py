"""`birdclef serve`: keeps a Prefect server and a worker running, and registers the deployments."""
