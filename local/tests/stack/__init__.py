"""A little app of the tests' own: its functions and, in `sam.json`, the template that deploys them."""
