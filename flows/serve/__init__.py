"""What serves the jobs of a folder: the Prefect server and its database, deployments, schedules, notices, pages."""
