"""Farshore: backs up what runs on EC2 and brings it back. Each folder below is one capability."""
