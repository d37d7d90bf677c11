"""All that an array type of one's own needs, in one module.

A type derives from ``PointwiseConfig`` if each voxel depends only on the same voxel of its sources, from
``ArrayConfig`` if it needs a context around it, and from ``SourceConfig`` if it reads a store through an
``Opened``. Its fields are attrs fields: one that holds arrays has ``metadata=SOURCE``, others take converters
such as ``to_number``, which raise a ConfigError that names the field. ``Meta``, ``Region`` and ``Block`` are
what its rules get and return. ``gp_arrays.node_of`` makes its gunpowder node, and
``gp_arrays.testing.ArrayTypeLaws`` tests that it keeps the laws.

>>> import attrs, numpy as np
>>> import gp_arrays as gpa
>>> @attrs.frozen(eq=False, repr=False)
... class ScaledArrayConfig(PointwiseConfig):
...     source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)
...     factor: float = attrs.field(converter=to_number)
...
...     def infer(self, *sources):
...         return attrs.evolve(sources[0], dtype=np.float32)
...
...     def kernel(self, dtype, *sources):
...         return (sources[0] * self.factor).astype(dtype)
>>> raw = gpa.NumpyArrayConfig("raw", data=np.array([[1, 2]], np.uint8))
>>> ScaledArrayConfig("scaled", raw, factor=0.5).array()[:]
array([[0.5, 1. ]], dtype=float32)
>>> ScaledArrayConfig("scaled", raw, factor="half")
Traceback (most recent call last):
gp_arrays.errors.ConfigError: scaled: factor: not a number; found 'half'
"""

from .errors import ComputeError, ConfigError, GpArraysError, RequestError, StoreError, TreeError
from .model.base import ArrayConfig, OneSourceConfig, PointwiseConfig, SourceConfig
from .model.checks import common_grid, require_ids, require_integer_ids, require_no_nonspatial_axes
from .model.config import SOURCE
from .model.fields import (
    items_of,
    one_of,
    to_bool,
    to_configs,
    to_dtype,
    to_integer,
    to_lengths,
    to_names,
    to_number,
    to_path,
    to_text,
    to_unit,
)
from .model.meta import CHANNEL, Axis, Block, Meta, Region
from .model.opened import Opened, Stored
from .units import Quantity

__all__ = [
    "CHANNEL",
    "SOURCE",
    "ArrayConfig",
    "Axis",
    "Block",
    "ComputeError",
    "ConfigError",
    "GpArraysError",
    "Meta",
    "OneSourceConfig",
    "Opened",
    "PointwiseConfig",
    "Quantity",
    "Region",
    "RequestError",
    "SourceConfig",
    "StoreError",
    "Stored",
    "TreeError",
    "common_grid",
    "items_of",
    "one_of",
    "require_ids",
    "require_integer_ids",
    "require_no_nonspatial_axes",
    "to_bool",
    "to_configs",
    "to_dtype",
    "to_integer",
    "to_lengths",
    "to_names",
    "to_number",
    "to_path",
    "to_text",
    "to_unit",
]
