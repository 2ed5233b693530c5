"""Lets recovery points go: what the lifecycle no longer keeps, and only that."""
