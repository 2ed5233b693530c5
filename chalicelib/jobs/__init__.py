"""The engine: typed jobs, what advances them, and what they share: leases, locks, slots, pacing."""
