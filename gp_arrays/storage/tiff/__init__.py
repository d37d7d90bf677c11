"""TIFF files and stacks of slices."""
