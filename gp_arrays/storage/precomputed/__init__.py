"""Volumes in Neuroglancer's precomputed format."""
