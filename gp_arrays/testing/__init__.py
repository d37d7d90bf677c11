"""Tests for array types that you write.

Derive a test class from ``ArrayTypeLaws`` and give it examples of your type. It then tests every law: that any
blocks have the voxels of one read, that pipelines deliver what arrays deliver, and so on. An oracle is optional: a
second, simple implementation of the type, registered with ``naive``. With one, every voxel is compared with it.
``evaluate_naively`` evaluates a tree with the oracles. ``regions``, ``partitions`` and ``voxels`` are Hypothesis
strategies.

This package needs pytest and hypothesis: ``pip install gp_arrays[testing]``.
"""

import pytest

# before they are imported, so that a failed assert in them shows its values
pytest.register_assert_rewrite(f"{__name__}.checks", f"{__name__}.laws", f"{__name__}.recording")

from .checks import (  # noqa: E402
    assert_same,
    check_blocks,
    check_indexing,
    check_lost_stores,
    check_meaning,
    check_moved,
    check_pipeline,
    check_purity,
    check_read_once,
    check_threads,
    pipeline_voxels,
)
from .dvid_instances import FakeInstance  # noqa: E402
from .dvid_server import DVIDServer  # noqa: E402
from .laws import ArrayTypeLaws, StoredSourceLaws  # noqa: E402
from .oracle import Naive, Volume, evaluate_naively, meanings, naive  # noqa: E402
from .plain_zarr import write_plain_zarr  # noqa: E402
from .processes import digest, read_in_fork, read_in_spawned  # noqa: E402
from .recording import check_once, recorded  # noqa: E402
from .stored import with_stored_sources  # noqa: E402
from .strategies import DTYPES, partitions, regions, voxels  # noqa: E402

__all__ = [
    "DTYPES",
    "ArrayTypeLaws",
    "DVIDServer",
    "FakeInstance",
    "Naive",
    "StoredSourceLaws",
    "Volume",
    "assert_same",
    "check_blocks",
    "check_indexing",
    "check_lost_stores",
    "check_meaning",
    "check_moved",
    "check_once",
    "check_pipeline",
    "check_purity",
    "check_read_once",
    "check_threads",
    "digest",
    "evaluate_naively",
    "meanings",
    "naive",
    "partitions",
    "pipeline_voxels",
    "read_in_fork",
    "read_in_spawned",
    "recorded",
    "regions",
    "voxels",
    "with_stored_sources",
    "write_plain_zarr",
]
