"""Zarr and N5 arrays: their chunks on disk, how they are decoded, and how arrays are created."""
