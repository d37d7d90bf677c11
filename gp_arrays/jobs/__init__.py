"""Materialization: the arrays of a tree written to disk, block by block, at any size."""

from .check import Checked, Difference, check_blocks, compare
from .crew import Workers
from .dryrun import Cost
from .outputs import Storage
from .result import Failed, Result
from .run import materialize
from .status import Status, finish, status

__all__ = [
    "Checked",
    "Cost",
    "Difference",
    "Failed",
    "Result",
    "Status",
    "Storage",
    "Workers",
    "check_blocks",
    "compare",
    "finish",
    "materialize",
    "status",
]
