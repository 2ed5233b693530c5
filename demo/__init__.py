"""A true story, played on the local cloud by an outsider; `make demo` runs it."""
