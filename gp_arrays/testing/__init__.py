"""Tests for array types: of this library, and of people's own.

``ArrayTypeLaws`` is a suite of tests to derive from: it needs examples of the type. What the type means, said
in another way (``naive``), makes it stronger: every voxel is then compared. Without it the suite still tests
that blocks stitch, that pipelines deliver what arrays do, and all other laws. ``evaluate_naively`` gives the
whole volume of a tree in that other way; ``regions``, ``partitions`` and ``voxels`` are Hypothesis strategies.

This package needs pytest and hypothesis: ``pip install gp_arrays[testing]``.
"""

import pytest

# before they are imported, so that a failed assert in them shows its values
pytest.register_assert_rewrite(f"{__name__}.checks", f"{__name__}.laws")

from .checks import (  # noqa: E402
    assert_same,
    check_blocks,
    check_indexing,
    check_lost_stores,
    check_meaning,
    check_moved,
    check_once,
    check_pipeline,
    check_purity,
    check_read_once,
    check_threads,
    pipeline_voxels,
    recorded,
)
from .dvid_instances import FakeInstance  # noqa: E402
from .dvid_server import DVIDServer  # noqa: E402
from .laws import ArrayTypeLaws, StoredSourceLaws  # noqa: E402
from .oracle import Naive, Volume, evaluate_naively, meanings, naive  # noqa: E402
from .plain_zarr import write_plain_zarr  # noqa: E402
from .processes import digest, read_in_fork, read_in_spawned  # noqa: E402
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
