"""Materialization: the arrays of a tree written to disk, block by block, at any size."""

from ..train.pipeline_array import PipelineArrayConfig
from .check import Checked, Difference, check_blocks, compare
from .dryrun import Cost
from .result import Failed, Result
from .run import materialize
from .status import Status, status

__all__ = [
    "Checked",
    "Cost",
    "Difference",
    "Failed",
    "PipelineArrayConfig",
    "Result",
    "Status",
    "check_blocks",
    "compare",
    "materialize",
    "status",
]
