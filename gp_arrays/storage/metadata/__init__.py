"""What stores say of their arrays: shape, dtype, geometry, names and pyramids."""
