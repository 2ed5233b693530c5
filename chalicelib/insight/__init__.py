"""Shows what there is: jobs, recovery points, plans and their preview, the state of each service."""
