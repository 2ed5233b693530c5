"""Compares the catalog with what exists: reports what belongs to nothing, removes what is provably ours."""
