"""A story that is really played on the local cloud, from outside of it; `make demo` runs it."""
