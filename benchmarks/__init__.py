"""What Farshore costs, measured: calls, code, start-up, transfer. No figure fails a build."""
