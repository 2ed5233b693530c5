"""Makes recovery points: by snapshot, and by the users' own scripts."""
