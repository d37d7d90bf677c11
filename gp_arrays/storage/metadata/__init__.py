"""Metadata of stored arrays: shape, dtype, geometry, names and pyramids."""
