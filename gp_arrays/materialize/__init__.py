"""Materialization: the arrays of a tree written to disk, block by block, at any size."""

from .result import Failed, Result
from .run import materialize

__all__ = ["Failed", "Result", "materialize"]
