"""Oracles: a second, simple implementation of each array type of this library; and random trees of these types.

Importing this package registers them all: an oracle for each type, and how random trees come to have it.
"""

from . import (
    appended,
    dvid_trees,
    hdf5_trees,
    labels,
    precomputed_trees,
    resampled,
    simple,
    simple_trees,
    targets,
    tiff_trees,
)
from .trees import Grown, Pool, growing, grows, trees

__all__ = [
    "Grown",
    "Pool",
    "appended",
    "dvid_trees",
    "growing",
    "grows",
    "hdf5_trees",
    "labels",
    "precomputed_trees",
    "resampled",
    "simple",
    "simple_trees",
    "targets",
    "tiff_trees",
    "trees",
]
