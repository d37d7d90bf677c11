"""What holds for every array type, for the tests of this library and of people's own types.

``ArrayTypeLaws`` is a suite of tests to derive from. ``evaluate_naively`` is the oracle: what
an array means, computed slowly in plain numpy. ``trees``, ``regions`` and ``partitions`` are
Hypothesis strategies. An array type takes part once ``naive`` has its meaning and ``grows`` a
way to make a config of it.

This package needs pytest and hypothesis (the ``test`` extra).
"""

from . import appended, dvid_trees, growers, labels, meanings, resampled
from .checks import (
    assert_same,
    check_blocks,
    check_indexing,
    check_lost_stores,
    check_meaning,
    check_once,
    check_pipeline,
    check_purity,
    check_read_once,
    pipeline_voxels,
    recorded,
)
from .dvid_instances import FakeInstance
from .dvid_server import DVIDServer
from .laws import ArrayTypeLaws, StoredSourceLaws
from .oracle import Naive, Volume, evaluate_naively, naive
from .plain_zarr import write_plain_zarr
from .processes import digest, read_in_fork, read_in_spawned
from .stored import with_stored_sources
from .strategies import DTYPES, Grown, Pool, growing, grows, partitions, regions, trees, voxels

__all__ = [
    "DTYPES",
    "ArrayTypeLaws",
    "DVIDServer",
    "FakeInstance",
    "Grown",
    "Naive",
    "Pool",
    "StoredSourceLaws",
    "Volume",
    "appended",
    "assert_same",
    "check_blocks",
    "check_indexing",
    "check_lost_stores",
    "check_meaning",
    "check_once",
    "check_pipeline",
    "check_purity",
    "check_read_once",
    "digest",
    "dvid_trees",
    "evaluate_naively",
    "growers",
    "growing",
    "grows",
    "labels",
    "meanings",
    "naive",
    "partitions",
    "pipeline_voxels",
    "read_in_fork",
    "read_in_spawned",
    "recorded",
    "regions",
    "resampled",
    "trees",
    "voxels",
    "with_stored_sources",
    "write_plain_zarr",
]
