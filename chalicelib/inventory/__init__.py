"""Compares the catalog with the world: reports what belongs to nothing, removes what is provably ours, marks
what is gone."""
