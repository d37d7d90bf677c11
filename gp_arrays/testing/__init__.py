"""What holds for every array type, for the tests of this library and of people's own types.

``evaluate_naively`` is the oracle: what an array means, computed slowly in plain numpy.
``trees``, ``regions`` and ``partitions`` are Hypothesis strategies. An array type takes part
once ``naive`` has its meaning and ``grows`` a way to make a config of it.

This package needs pytest and hypothesis (the ``test`` extra).
"""

from . import growers, meanings
from .oracle import Naive, Volume, evaluate_naively, naive
from .plain_zarr import write_plain_zarr
from .strategies import DTYPES, Grown, Pool, growing, grows, partitions, regions, trees, voxels

__all__ = [
    "DTYPES",
    "Grown",
    "Naive",
    "Pool",
    "Volume",
    "evaluate_naively",
    "growers",
    "growing",
    "grows",
    "meanings",
    "naive",
    "partitions",
    "regions",
    "trees",
    "voxels",
    "write_plain_zarr",
]
