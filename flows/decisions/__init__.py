"""What people decide about a job: approve and reject what guards hold, restart, pause, resume; and who they are."""
