"""Array types that read stored voxels, one type in each file. Nothing else in the library reads input."""
