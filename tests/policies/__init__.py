"""Checks every policy that is deployed: rendered from the templates, linted, held against AWS's reference."""
