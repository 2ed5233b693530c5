"""What exists: jobs, recovery points, plans. A cache that can be rebuilt from the vaults."""
