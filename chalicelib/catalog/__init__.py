"""What exists: jobs, recovery points, plans. The catalog is a cache that can be rebuilt from the vaults."""
