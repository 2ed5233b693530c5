"""Brings recovery points back: volumes from snapshots, services by their own restore scripts."""
