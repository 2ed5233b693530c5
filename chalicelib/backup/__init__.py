"""Makes recovery points: by snapshot, and with the users' own scripts."""
