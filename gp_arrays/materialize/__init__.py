"""Materialization: the arrays of a tree written to disk, block by block, at any size."""

from .run import Failed, Result, materialize

__all__ = ["Failed", "Result", "materialize"]
