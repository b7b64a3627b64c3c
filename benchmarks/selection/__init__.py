"""Which images are asked next, measured on sets of real images."""
