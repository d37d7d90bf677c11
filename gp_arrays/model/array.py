"""Array: the handle that a user indexes; one generic wrapper over a compiled tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import RequestError, StoreError, errors_at, quoted
from .base import ArrayConfig
from .config import require_config
from .evaluate import evaluate
from .export import to_funlib
from .indexing import Selection, as_dtype, broadcast, region_inside, region_of, require_memory, select
from .meta import Block, Meta, Region, Voxels
from .opened import Opened
from .plan import Plan, Step, compile_plan


class Array:
    """An array of a tree, computed where it is indexed.

    ``array[roi]`` takes a ``funlib.geometry.Roi`` in world units, on the voxel grid and
    within ``array.roi``; ``array[2:5, :, 10]`` takes voxel indices, as numpy does (slices
    with steps read the box around them). Both return a new numpy array. Several threads may read at once, and the global random
    states stay as they are.

    Args:
        config: What the array is.
        mode: How its sources are opened, where not as their config says.
        unit: The unit of the tree; by default what its file says, else nm.

    Attributes:
        plan: The compiled tree below the array, and all that was compiled with it.
        index: The step of ``plan`` that the array is.
    """

    def __init__(self, config: ArrayConfig, mode: str | None = None, unit: str | None = None) -> None:
        require_config(config)
        self.plan = compile_plan({config.name: config}, unit, mode)
        self.index = self.plan.outputs[config.name]

    @classmethod
    def _of_step(cls, plan: Plan, index: int) -> Array:
        array = cls.__new__(cls)
        array.plan, array.index = plan, index
        return array

    @property
    def _step(self) -> Step:
        return self.plan.steps[self.index]

    @property
    def meta(self) -> Meta:
        """All that is known without reading a voxel."""
        return self._step.meta

    @property
    def config(self) -> ArrayConfig:
        """What the array is, as it stands in the tree."""
        return self._step.config

    @property
    def name(self) -> str:
        """The config's name, by which trees, errors and layers call it."""
        return self._step.config.name

    @property
    def roi(self) -> Roi:
        """The extent in world units."""
        return self.meta.region.roi

    @property
    def voxel_size(self) -> Coordinate:
        """The size of a voxel in world units, one whole number for each spatial axis."""
        return self.meta.voxel_size

    @property
    def unit(self) -> str:
        """The world unit of ``roi`` and ``voxel_size``, an SI name such as ``"nm"``."""
        return self.meta.unit

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of all axes, as in ``shape``: non-spatial ones, then spatial ones."""
        return self.meta.axes

    @property
    def spatial_axes(self) -> tuple[str, ...]:
        """Names of the spatial axes, slowest first, such as ``("z", "y", "x")``."""
        return self.meta.spatial_axes

    @property
    def dims(self) -> int:
        """The number of spatial axes."""
        return self.meta.dims

    @property
    def ndim(self) -> int:
        """The number of all axes."""
        return len(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of all axes, as in ``axes``: entries of non-spatial ones, voxels of spatial ones."""
        return self.meta.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the voxels, in native byte order."""
        assert self.meta.dtype is not None
        return self.meta.dtype

    @property
    def num_channels(self) -> int | None:
        """The length of the channel axis; None where there is none."""
        return None if self.meta.channel_axis is None else self.meta.channel_axis.size

    @property
    def channels(self) -> tuple[str, ...] | None:
        """Names of the channels; None where there is no channel axis."""
        return self.meta.channels

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the store that it comes from, geometry aside."""
        return dict(self.meta.attrs)

    @property
    def interpolatable(self) -> bool:
        """True if values between voxels have a meaning, as for grey values, but not for ids and masks."""
        return self.meta.interpolatable

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that it is computed from."""
        return tuple(Array._of_step(self.plan, i) for i in self._step.sources)

    @property
    def writable(self) -> bool:
        """True if ``array[...] = values`` writes, which needs a source that was opened for writing."""
        return self._step.opened is not None and self._step.opened.writable

    @property
    def data(self) -> Any:
        """A source's own lazily read array. Raises StoreError for a computed array."""
        return self._source("has no data of its own: it is computed").data

    def _source(self, otherwise: str) -> Opened:
        if self._step.opened is None:
            names = ", ".join(source.name for source in self.sources)
            raise StoreError(
                f"{type(self.config).__name__} {otherwise}", allowed=f"its sources: {names}", path=(self.name,)
            )
        return self._step.opened

    def _writable_source(self, otherwise: str) -> Opened:
        opened = self._source(otherwise)
        if not opened.writable:
            raise StoreError("opened read-only", allowed='mode="r+"', path=(self.name,))
        return opened

    def __getitem__(self, key: Any) -> Voxels:
        if isinstance(key, Roi):
            return self._read(region_inside(key, self.meta, self.name))
        selection = self._select(key)
        if selection.empty:
            return np.zeros(selection.shape, self.dtype)
        return selection.apply(self._read(self.meta.region_at(selection.bounds)))

    def __setitem__(self, key: Any, values: Any) -> None:
        opened = self._writable_source("cannot be written")
        if isinstance(key, Roi):
            region = region_inside(key, self.meta, self.name)
            shape = self.meta.shape_of(region)
        else:
            selection = self._select(key)
            if not selection.contiguous:
                raise RequestError(
                    "only complete boxes can be written",
                    found=quoted(key),
                    allowed="slices with step 1 and integers",
                    path=(self.name,),
                )
            region, shape = self.meta.region_at(selection.bounds), selection.shape
        values = broadcast(as_dtype(values, self.dtype, self.name), shape, self.name)
        if values.size:
            require_memory(region, self.meta, self.name)
            box = np.ascontiguousarray(values.reshape(self.meta.shape_of(region)))
            opened.write(opened.index_of(region, self.meta, self.unit), box)

    def to_ndarray(self, roi: Roi | None = None, fill_value: Any = None) -> Voxels:
        """The voxels of a roi (all by default); where it reaches outside, ``fill_value``.

        Without a fill value a roi that reaches outside is a RequestError.
        """
        if roi is None:
            return self._read(self.meta.region)
        if fill_value is None:
            return self._read(region_inside(roi, self.meta, self.name))
        region = region_of(roi, self.meta, self.name)
        fill = as_dtype(fill_value, self.dtype, self.name)
        if fill.ndim:
            raise RequestError("the fill value is not a number", found=quoted(fill_value), path=(self.name,))
        require_memory(region, self.meta, self.name)
        block = Block(np.full(self.meta.shape_of(region), fill), region, self.meta)
        inside = region.intersect(self.meta.region)
        if not inside.empty:
            block.crop(inside)[...] = self._read(inside)
        return block.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Voxels:
        if copy is False:
            raise ValueError("the voxels are computed, so that copy=False is not possible")
        data = self.to_ndarray()
        return data if dtype is None else data.astype(dtype)

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add attributes to the store of a writable source."""
        self._writable_source("takes no metadata").add_metadata(metadata)
        self.plan = compile_plan(self.plan.roots, self.plan.unit, self.plan.mode)

    def to_funlib(self) -> Any:
        """The same array as a ``funlib.persistence.Array``, computed where it is read."""
        return to_funlib(self)

    @classmethod
    def from_numpy(
        cls,
        data: Voxels,
        roi: Roi | None = None,
        voxel_size: Sequence[Any] | None = None,
        axes: Sequence[str] | None = None,
        name: str | None = None,
        unit: str | None = None,
    ) -> Array:
        """An array over numpy data, which is not copied; ``array[roi] = values`` writes to it.

        Args:
            data: The voxels; non-spatial axes first.
            roi: Where they are, in world units; by default at the origin.
            voxel_size: By default what roi and shape give, else 1.
            axes: Names of all axes; spatial ones last.
            name: By default one that no other array has.
            unit: The world unit; nm by default.
        """
        from ..sources.numpy_ import numpy_config

        array = cls(numpy_config(data, roi, voxel_size, axes, name), unit=unit)
        if roi is not None and array.roi != roi:
            raise RequestError("roi, voxel size and shape do not agree", found=f"roi {roi}", allowed=f"{array.roi}")
        return array

    @classmethod
    def from_gunpowder(cls, array: Any, name: str | None = None) -> Array:
        """An array over the voxels of a ``gunpowder.Array``, as it comes in a batch."""
        spec = getattr(array, "spec", None)
        if spec is None:
            raise RequestError("not a gunpowder array", found=quoted(array))
        if spec.roi is None or spec.voxel_size is None:
            raise RequestError("a gunpowder array without roi and voxel size has no position", found=quoted(array))
        return cls.from_numpy(array.data, spec.roi, tuple(spec.voxel_size), name=name)

    def neuroglancer_layer(self, visible: bool = True) -> Any:
        """A layer that shows the computed voxels, for a ``neuroglancer.Viewer`` of one's own.

        Its kind follows from what the values are; see ``gp_arrays.view``. Append it to
        ``state.layers``: it has the array's name.
        """
        from ..viewer.layers import layer_of

        return layer_of(self, visible)

    def __repr__(self) -> str:
        return (
            f"<gp_arrays.Array {self.name!r} {self.dtype}{list(self.shape)} axes={','.join(self.axes)} "
            f"roi={self.meta.region} voxel_size={tuple(self.voxel_size)} {self.unit}>"
        )

    def _read(self, region: Region) -> Voxels:
        require_memory(region, self.meta, self.name)
        return evaluate(self.plan, [(self.index, region)])[0]

    def _select(self, key: Any) -> Selection:
        with errors_at(self.name):
            return select(key, self.shape)
