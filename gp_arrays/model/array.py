"""Array: the handle that a user indexes; one generic wrapper over a compiled tree."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import RequestError, StoreError
from .config import type_named
from .evaluate import evaluate
from .export import to_funlib
from .indexing import Selection, select
from .meta import Meta, Region
from .plan import Plan, Step, compile_plan, require_config
from .rules import ArrayRules, Opened


class Array:
    """An array of a tree, computed where it is indexed.

    ``array[roi]`` takes a ``funlib.geometry.Roi`` in world units, on the voxel grid and
    within ``array.roi``; ``array[2:5, :, 10]`` takes voxel indices, as numpy does. Both
    return a new numpy array. Several threads may read at once, and the global random
    states stay as they are.

    Args:
        config: What the array is.
        mode: How its sources are opened, where not as their config says.
        unit: The unit of the tree; by default what its file says, else nm.
    """

    #: Entered by the view, which is made of arrays and so cannot be imported here.
    _make_layer: ClassVar[staticmethod[[Array, bool], Any]]

    def __init__(self, config: ArrayRules, mode: str | None = None, unit: str | None = None) -> None:
        require_config(config)
        self._plan = compile_plan({config.name: config}, unit, mode)
        self._index = self._plan.outputs[config.name]

    @classmethod
    def _of_step(cls, plan: Plan, index: int) -> Array:
        made = cls.__new__(cls)
        made._plan, made._index = plan, index
        return made

    @property
    def plan(self) -> Plan:
        """The compiled tree below the array, and whatever was compiled with it."""
        return self._plan

    @property
    def _step(self) -> Step:
        return self._plan.steps[self._index]

    @property
    def meta(self) -> Meta:
        """All that is known without reading a voxel."""
        return self._step.meta

    @property
    def config(self) -> ArrayRules:
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
        """Of the voxels, in native byte order."""
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
        """Whether values between voxels mean anything: those of grey values do, of ids and masks not."""
        return self.meta.interpolatable

    @property
    def sources(self) -> tuple[Array, ...]:
        """The arrays that it is computed from."""
        return tuple(Array._of_step(self._plan, i) for i in self._step.sources)

    @property
    def writable(self) -> bool:
        """Whether ``array[...] = values`` writes: only to a source, opened so that it may."""
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

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        if isinstance(key, Roi):
            return self._read(self._region(key))
        selection = self._select(key)
        if selection.empty:
            return np.zeros(selection.shape, self.dtype)
        return selection.apply(self._read(self._region_of(selection)))

    def __setitem__(self, key: Any, values: Any) -> None:
        opened = self._source("cannot be written")
        if not opened.writable:
            raise StoreError("opened read-only", allowed='mode="r+"', path=(self.name,))
        if isinstance(key, Roi):
            index: tuple[Any, ...] = opened.index_of(self._region(key), self.meta, self.unit)
            shape = tuple(s.stop - s.start for s in index)
        else:
            selection = self._select(key)
            if selection.empty:
                return
            if not selection.contiguous:
                raise RequestError(
                    "only whole boxes can be written",
                    found=repr(key),
                    allowed="slices with step 1 and integers",
                    path=(self.name,),
                )
            index = opened.index_of(self._region_of(selection), self.meta, self.unit)
            shape = selection.shape
        values = self._held(np.asarray(values))
        try:
            values = np.broadcast_to(values, shape)
        except ValueError:
            raise RequestError(
                "the values do not fit the region",
                found=f"shape {values.shape}",
                allowed=f"shape {shape}",
                path=(self.name,),
            ) from None
        full = tuple(s.stop - s.start for s in index)
        opened.write(index, np.ascontiguousarray(values.reshape(full)))

    def _held(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The values in the array's dtype. Integers must be held exactly; floats may round."""
        if np.can_cast(values.dtype, self.dtype, "safe"):
            return values.astype(self.dtype, copy=False)
        with np.errstate(invalid="ignore", over="ignore"):
            cast = values.astype(self.dtype)
        if self.dtype.kind != "f" and not np.array_equal(cast, values):
            raise StoreError(
                "the values do not fit the array's dtype",
                found=f"{values.dtype} from {values.min()} to {values.max()}",
                allowed=f"what {self.dtype} holds exactly",
                path=(self.name,),
            )
        return cast

    def to_ndarray(self, roi: Roi | None = None, fill_value: Any = None) -> np.ndarray[Any, Any]:
        """The voxels of a roi (all by default); where it reaches outside, ``fill_value``.

        Without a fill value a roi that reaches outside is a RequestError.
        """
        if roi is None:
            return self._read(self.meta.region)
        if fill_value is None:
            return self._read(self._region(roi))
        wanted = self._placed(roi)
        fill = np.asarray(fill_value)
        if fill.ndim or fill.dtype.kind not in "buif":
            raise RequestError("the fill value is not a number", found=repr(fill_value), path=(self.name,))
        out = np.full(self.meta.shape_of(wanted), self._held(fill), self.dtype)
        inside = wanted.intersect(self.meta.region)
        if not inside.empty:
            place = tuple(
                slice((b - o) // v, (e - o) // v)
                for b, e, o, v in zip(inside.begin, inside.end, wanted.begin, self.voxel_size, strict=True)
            )
            lead = (slice(None),) * (self.ndim - self.dims)
            out[lead + place] = self._read(inside)
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("the voxels are computed: an array without a copy cannot be had")
        data = self.to_ndarray()
        return data if dtype is None else data.astype(dtype)

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Add attributes to the store of a writable source."""
        opened = self._source("takes no metadata")
        if not opened.writable:
            raise StoreError("opened read-only", allowed='mode="r+"', path=(self.name,))
        opened.add_metadata(metadata)
        self._plan = compile_plan(self._plan.roots, self._plan.unit, self._plan.mode)

    def to_funlib(self) -> Any:
        """The same array as a ``funlib.persistence.Array``, computed where it is read."""
        return to_funlib(self, self.meta)

    @classmethod
    def from_numpy(
        cls,
        data: np.ndarray[Any, Any],
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
        data = np.asarray(data)
        if roi is not None:
            _require_roi(roi, "from_numpy")
        if voxel_size is None and roi is not None:
            shape = data.shape[data.ndim - roi.dims :]
            if len(shape) != roi.dims or any(s % max(n, 1) for s, n in zip(roi.shape, shape, strict=True)):
                raise RequestError("the roi is not a whole number of voxels", found=f"{roi}, shape {data.shape}")
            voxel_size = [s // n for s, n in zip(roi.shape, shape, strict=True)]
        kind: Any = type_named("NumpyArrayConfig")
        config = kind(
            name or f"numpy-{next(_COUNTER)}",
            data=data,
            offset=None if roi is None else tuple(roi.offset),
            voxel_size=voxel_size,
            axes=axes,
        )
        array = cls(config, unit=unit)
        if roi is not None and array.roi != roi:
            raise RequestError("roi, voxel size and shape do not agree", found=f"roi {roi}", allowed=f"{array.roi}")
        return array

    @classmethod
    def from_gunpowder(cls, array: Any, name: str | None = None) -> Array:
        """An array over the voxels of a ``gunpowder.Array``, as it comes in a batch."""
        spec = getattr(array, "spec", None)
        if spec is None:
            raise RequestError("not a gunpowder array", found=repr(array))
        if spec.roi is None or spec.voxel_size is None:
            raise RequestError("a gunpowder array without roi and voxel size has no place")
        return cls.from_numpy(array.data, spec.roi, tuple(spec.voxel_size), name=name)

    def neuroglancer_layer(self, visible: bool = True) -> Any:
        """A layer that shows the computed voxels, for a ``neuroglancer.Viewer`` of one's own.

        Its kind follows from what the values are; see ``gp_arrays.view``. Append it to
        ``state.layers``: it has the array's name.
        """
        return self._make_layer(self, visible)

    def __repr__(self) -> str:
        return (
            f"<gp_arrays.Array {self.name!r} {self.dtype}{list(self.shape)} axes={','.join(self.axes)} "
            f"roi={self.meta.region} voxel_size={tuple(self.voxel_size)} {self.unit}>"
        )

    def _read(self, region: Region) -> np.ndarray[Any, Any]:
        return evaluate(self._plan, [(self._index, region)])[0]

    def _on_grid(self, region: Region) -> Region:
        if len(region.begin) != self.dims or not self.meta.on_grid(region):
            raise RequestError(
                "the roi is not on the voxel grid",
                found=region,
                path=(self.name,),
                allowed=f"{self.dims} axes, steps of {tuple(self.voxel_size)} from {self.roi.begin}",
            )
        return region

    def _placed(self, roi: Roi) -> Region:
        _require_roi(roi, self.name)
        if None in roi.offset or None in roi.shape:
            raise RequestError("the roi is unbounded", found=roi, path=(self.name,))
        return self._on_grid(Region.of(roi))

    def _region(self, roi: Roi) -> Region:
        region = self._placed(roi)
        if region.empty or not self.meta.region.contains(region):
            raise RequestError(
                "the roi reaches outside of the array",
                found=region,
                path=(self.name,),
                allowed=f"within {self.meta.region}; to_ndarray(roi, fill_value=) pads",
            )
        return region

    def _select(self, key: Any) -> Selection:
        try:
            return select(key, self.shape)
        except RequestError as error:
            raise error.at(self.name) from None

    def _region_of(self, selection: Selection) -> Region:
        nonspatial = self.ndim - self.dims
        begin, voxel_size = self.meta.region.begin, self.voxel_size
        spans = selection.bounds[nonspatial:]
        return Region(
            tuple(o + a * v for o, (a, _), v in zip(begin, spans, voxel_size, strict=True)),
            tuple(o + b * v for o, (_, b), v in zip(begin, spans, voxel_size, strict=True)),
            selection.bounds[:nonspatial],
        )


def _require_roi(roi: Any, *path: str) -> None:
    if not isinstance(roi, Roi):
        raise RequestError("not a roi", found=repr(roi), allowed="a funlib.geometry.Roi", path=path)


_COUNTER = itertools.count()
