"""What the claims rest on: each module looks at the outcome of one act by other means than the app's."""
