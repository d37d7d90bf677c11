"""All that an own array type needs, in one module.

**Base classes.** A type derives from ``PointwiseConfig`` if each of its voxels depends only on the voxels at the same
position in its sources, from ``OneSourceConfig`` if it is computed from one array with a context around each voxel,
from ``ArrayConfig`` if it is computed from several such arrays, and from ``SourceConfig`` if it reads a store, which
is an ``Opened`` (``Stored`` says which of its chunks exist).

**Fields** are attrs fields. A field that holds arrays has ``metadata=SOURCE``. All others have a converter, such as
``to_number`` or ``to_path``, or a validator, such as ``one_of("first", "last")`` or ``positive_lengths``: these raise
a ``ConfigError`` that names the field. ``to_lengths`` and ``Quantity`` are for lengths, which may have a unit.

**Rules.** ``infer`` gets the ``Meta`` of each source and returns that of the result; ``common_grid`` and the functions
``require_...`` check what sources have in common and what they hold. ``context`` gets and returns a ``Region``,
a box in world units; ``compute`` gets a ``Block`` of each source: ``Voxels`` and the region that they cover.

**Errors** say what is wrong, what was found, what is allowed. The array's path in the tree is added to them.

``gp_arrays.node_of`` makes the gunpowder node of a type, and ``gp_arrays.testing.ArrayTypeLaws`` tests that the type
keeps the laws.

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
from .model.checks import (
    common_grid,
    require_channels_only,
    require_ids,
    require_integer_ids,
    require_no_nonspatial_axes,
)
from .model.config import SOURCE
from .model.fields import (
    items_of,
    not_negative_lengths,
    one_of,
    positive_lengths,
    to_bool,
    to_configs,
    to_count,
    to_dtype,
    to_integer,
    to_lengths,
    to_names,
    to_number,
    to_path,
    to_text,
    to_unit,
)
from .model.meta import CHANNEL, Axis, Block, Meta, Region, Voxels
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
    "Voxels",
    "common_grid",
    "items_of",
    "not_negative_lengths",
    "one_of",
    "positive_lengths",
    "require_channels_only",
    "require_ids",
    "require_integer_ids",
    "require_no_nonspatial_axes",
    "to_bool",
    "to_configs",
    "to_count",
    "to_dtype",
    "to_integer",
    "to_lengths",
    "to_names",
    "to_number",
    "to_path",
    "to_text",
    "to_unit",
]
