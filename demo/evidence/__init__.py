"""The evidence for the claims: each module checks the outcome of one act without using the app."""
