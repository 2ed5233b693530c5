"""Shows what exists: jobs, recovery points, plans and their previews, the status of each service."""
