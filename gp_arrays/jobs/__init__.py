"""Materialization: the arrays of a tree written to disk, block by block, at any size."""

from .result import Cost, Failed, Result
from .run import materialize
from .settings import Storage, Workers
from .status import Checked, Status, check_blocks, finish, status

__all__ = [
    "Checked",
    "Cost",
    "Failed",
    "Result",
    "Status",
    "Storage",
    "Workers",
    "check_blocks",
    "finish",
    "materialize",
    "status",
]
