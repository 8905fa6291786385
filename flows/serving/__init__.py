"""The server, worker and deployments that `birdclef serve` keeps running."""
