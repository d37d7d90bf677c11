"""Arrays in memory."""

from __future__ import annotations

import itertools
import uuid
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from funlib.geometry import Roi

from ..errors import ConfigError, RequestError, quoted
from ..model import fields
from ..model.base import SourceConfig
from ..model.indexing import require_roi
from ..model.meta import Axis, interpolatable
from ..model.opened import Opened
from ..storage.metadata.axes import axis_roles
from ..units import Quantity, in_unit, without_noise

#: Numbers for the names of arrays that have none.
_COUNTER = itertools.count()

#: The tokens of the numpy arrays that exist, by their ids.
_TOKENS: dict[int, str] = {}


@attrs.frozen(eq=False, repr=False)
class Voxels:
    """An array in memory, and a token that identifies it: two numpy arrays have two tokens, even if they are equal."""

    data: np.ndarray[Any, Any]
    token: str
    #: The ``.npy`` file that holds them, where a job has stored them for its workers.
    file: str | None = None

    def document(self) -> Any:
        if self.file is not None:
            return self.file
        raise ConfigError(
            "voxels in memory cannot be written to a tree file",
            found=quoted(self),
            allowed="create_zarr and ZarrArrayConfig",
        )

    def canonical(self) -> str:
        return self.token

    def __repr__(self) -> str:
        return f"<{self.data.dtype}{list(self.data.shape)}>"

    @classmethod
    def of(cls, data: Any) -> Voxels:
        """The voxels of a numpy array, or of a ``.npy`` file."""
        if isinstance(data, Voxels):
            return data
        if isinstance(data, str) and data.endswith(".npy"):
            try:
                stored: np.ndarray[Any, Any] = np.load(data, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise ConfigError("the file of voxels cannot be read", found=f"{data}: {error}") from None
            return cls(stored, Path(data).stem, data)
        if not isinstance(data, np.ndarray):
            raise ConfigError("data is not a numpy array", found=type(data).__name__)
        if data.dtype.kind not in "buif" or data.dtype.itemsize > 8:
            raise ConfigError(
                "data does not hold voxels", found=f"dtype {data.dtype}", allowed="bool, integers, floats, to 64 bits"
            )
        if data.ndim == 0:
            raise ConfigError("data has no axes", found=quoted(data))
        if id(data) not in _TOKENS:
            # the token goes before another array can have the id
            weakref.finalize(data, _TOKENS.pop, id(data), None).atexit = False
        return cls(data, _TOKENS.setdefault(id(data), uuid.uuid4().hex))


def to_voxels(value: Any) -> Voxels:
    """attrs converter: the voxels of a numpy array, or of a ``.npy`` file."""
    return Voxels.of(value)


@attrs.frozen(eq=False, repr=False)
class NumpyArrayConfig(SourceConfig):
    """Voxels in memory.

    They are not copied: ``array[roi] = values`` writes to ``data``, unless numpy says it is
    read-only. Two configs over one numpy array are computed once. It cannot be written to
    a tree file.

    Args:
        name: The array's name.
        data: The voxels, bool, integer or float; non-spatial axes first.
        offset: The corner of the first voxel, a length per spatial axis; 0 by default.
        voxel_size: A length per spatial axis; 1 by default.
        axes: Names of all axes, or of the spatial ones; by default the last three are z, y, x.
        unit: The unit of bare lengths here; by default that of the tree.
        interpolatable: Overrides the default, which follows from the dtype.

    >>> import gp_arrays as gpa, numpy as np
    >>> config = gpa.NumpyArrayConfig("a", data=np.arange(6).reshape(2, 3), voxel_size=(2, 1))
    >>> config.array()[:, 1]
    array([1, 4])
    """

    data: Voxels = attrs.field(converter=to_voxels)
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None,
        converter=fields.to_lengths,
        validator=fields.positive_lengths,
    )
    axes: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    unit: str | None = attrs.field(default=None, converter=fields.to_unit)
    interpolatable: bool | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_bool))

    def check(self) -> None:
        self.open()

    def open(self, mode: str | None = None) -> NumpyOpened:
        return NumpyOpened(self)


class NumpyOpened(Opened):
    """Voxels in memory, as a source."""

    def __init__(self, config: NumpyArrayConfig) -> None:
        data = config.data.data
        # what there is one of for each spatial axis; axes may name them all, or those alone
        spatial = config.voxel_size or config.offset or config.axes
        try:
            names, roles = axis_roles(config.axes, data.ndim, None if spatial is None else len(spatial))
        except ValueError as error:
            raise ConfigError("axes do not fit the data", found=str(error)) from None
        count = sum(roles)
        if roles != (True,) * count + (False,) * (data.ndim - count):
            raise ConfigError("non-spatial axes come first", found=", ".join(names), allowed="such as s, c, z, y, x")
        dims = data.ndim - count
        for what in ("offset", "voxel_size"):
            values = getattr(config, what)
            if values is not None and len(values) != dims:
                raise ConfigError(
                    f"{what} does not have one length per spatial axis", found=f"{len(values)} for {dims}"
                )
        if 0 in data.shape:
            raise ConfigError("data is empty", found=f"shape {data.shape}")
        self._data = data
        self.shape, self.dtype = data.shape, data.dtype.newbyteorder("=")
        self.nonspatial = tuple(Axis(n, s) for n, s in zip(names[:count], data.shape, strict=False))
        self.spatial_axes = names[count:]
        self.voxel_size, self.offset = without_noise(
            in_unit(config.voxel_size or (Quantity.parse(1),) * dims, config.unit),
            in_unit(config.offset or (Quantity.parse(0),) * dims, config.unit),
        )
        self.attrs = {}
        self.location = f"numpy array of shape {data.shape}"
        self.writable = bool(data.flags.writeable)
        self.interpolatable = interpolatable(data.dtype) if config.interpolatable is None else config.interpolatable

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        view = self._data[index].astype(self.dtype, copy=False).view()
        view.flags.writeable = False
        return view

    def write(self, index: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
        self._data[index] = values

    @property
    def data(self) -> np.ndarray[Any, Any]:
        return self._data


def numpy_config(
    data: Any, roi: Roi | None, voxel_size: Sequence[Any] | None, axes: Sequence[str] | None, name: str | None
) -> NumpyArrayConfig:
    """The config of voxels at a roi. Raises RequestError if the roi is not a whole number of voxels.

    The arguments are those of ``Array.from_numpy``.
    """
    data = np.asarray(data)
    offset = None
    if roi is not None:
        require_roi(roi, "from_numpy")
        offset = tuple(roi.offset)
        if voxel_size is None:
            shape = data.shape[data.ndim - roi.dims :]
            if len(shape) != roi.dims or any(s % max(n, 1) for s, n in zip(roi.shape, shape, strict=True)):
                raise RequestError("the roi is not a whole number of voxels", found=f"{roi}, shape {data.shape}")
            voxel_size = [s // n for s, n in zip(roi.shape, shape, strict=True)]
    return NumpyArrayConfig(
        name or f"numpy-{next(_COUNTER)}", data=data, offset=offset, voxel_size=voxel_size, axes=axes
    )
