"""Deletes recovery points that no lifecycle keeps any longer, and only those."""
