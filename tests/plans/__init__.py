"""The pure core: what a plan means. Tables and properties, no doubles."""
