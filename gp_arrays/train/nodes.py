"""The gunpowder nodes that all array types share: setup, prepare and process, written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Coordinate, Roi

from ..errors import ComputeError, GpArraysError, TreeError
from ..model.base import ArrayConfig, SourceConfig
from ..model.evaluate import owned
from ..model.meta import Axis, Block, Meta, Region, interpolatable
from ..model.plan import Plan, Step, compile_plan


@attrs.frozen(eq=False, repr=False)
class Upstream(ArrayConfig):
    """Stands, in the config of a node, for an array that comes from upstream."""

    #: No array type of its own: a tree file cannot ask for it.
    abstract: ClassVar[bool] = True


def upstream(key: gp.ArrayKey) -> Upstream:
    """The config that stands for what ``key`` delivers."""
    if not isinstance(key, gp.ArrayKey):
        raise TreeError("a node reads from array keys", found=repr(key), allowed="a gunpowder.ArrayKey")
    return Upstream(str(key))


class SourceNode(gp.BatchProvider):  # type: ignore[misc]
    """Provides the voxels of a source array.

    Args:
        key: The key to provide.
        config: What to read.
        unit: The world unit; nm by default.
    """

    def __init__(self, key: gp.ArrayKey, config: SourceConfig, unit: str | None = None) -> None:
        upstream(key)  # refuses what is not a key
        self.key = key
        self.config = config
        self.unit = unit
        self.plan: Plan | None = None

    @classmethod
    def of_step(cls, key: gp.ArrayKey, plan: Plan, index: int, shift: Coordinate) -> SourceNode:
        """The node of a step of a compiled tree, its roi shifted by ``-shift``."""
        node = SourceNode.__new__(cls)
        step = plan.steps[index]
        assert isinstance(step.config, SourceConfig)
        SourceNode.__init__(node, key, step.config, plan.unit)
        node.plan, node._index, node._shift = plan, index, shift
        return node

    _index = 0
    _shift: Coordinate | None = None

    def setup(self) -> None:
        if self.plan is None:
            self.plan = compile_plan({str(self.key): self.config}, self.unit)
        meta = self.step.meta
        self.shift = self._shift if self._shift is not None else Coordinate((0,) * meta.dims)
        roi = meta.region.roi.shift(-self.shift)
        if any(b % v for b, v in zip(roi.begin, meta.voxel_size, strict=True)):
            raise TreeError(
                "gunpowder wants offsets on the voxel grid",
                found=f"offset {roi.begin}, voxel size {meta.voxel_size}",
                allowed="`offset=` in whole voxels, or a compiled tree, which shifts it",
                path=(self.config.name,),
            )
        self.provides(self.key, spec_of(meta, roi))

    @property
    def step(self) -> Step:
        assert self.plan is not None
        return self.plan.steps[self._index]

    def provide(self, request: gp.BatchRequest) -> gp.Batch:
        assert self.plan is not None
        if self.key not in request:
            # asked for by a type that reads no voxel of it
            return gp.Batch()
        from_roi = request[self.key].roi
        region = Region.of(from_roi.shift(self.shift))
        timing = gp.profiling.Timing(self)
        timing.start()
        step = self.step
        assert step.opened is not None
        try:
            if region.empty:
                data = np.zeros(step.meta.shape_of(region), step.meta.dtype)
            else:
                data = step.opened.read(step.opened.index_of(region, step.meta, self.plan.unit))
        except GpArraysError as error:
            raise self.plan.place(error, self._index) from error.__cause__
        spec = self.spec[self.key].copy()
        spec.roi = from_roi
        batch = gp.Batch()
        batch[self.key] = gp.Array(owned(data), spec)
        timing.stop()
        batch.profiling_stats.add(timing)
        return batch


class ArrayNode(gp.BatchFilter):  # type: ignore[misc]
    """Computes one array from others, as an array type's rules say.

    It asks upstream for just the context that the requested region needs. In a
    hand-written pipeline, where rois may be unbounded and dtypes unknown, it asks for
    the full context and applies the dtype rule to each batch.

    Args:
        sources: The keys to compute from, in the order of the config's sources.
        target: The key to provide.
        config: The array type's config, its sources made by ``upstream``.
        compiled: Of a step of a compiled tree: its meta and those of its sources, in world units.
        attributes: Of the sources, in a hand-written pipeline, whose specs carry none.
        shift: Of a compiled tree: world = pipeline + shift.
        path: Of a compiled tree: names from the root down to the step.
    """

    def __init__(
        self,
        sources: Sequence[gp.ArrayKey],
        target: gp.ArrayKey,
        config: ArrayConfig,
        compiled: tuple[Meta, tuple[Meta, ...]] | None = None,
        attributes: Mapping[str, Any] | None = None,
        shift: Coordinate | None = None,
        path: tuple[str, ...] = (),
    ) -> None:
        upstream(target)  # refuses what is not a key
        self.sources = tuple(sources)
        self.target = target
        self.config = config
        self.compiled = compiled
        self.attributes = dict(attributes or {})
        self.shift = shift
        self.path = path or (config.name,)
        self._by_shape: dict[Any, tuple[Meta, tuple[Meta, ...]]] = {}

    def setup(self) -> None:
        self.enable_autoskip()
        if self.compiled is not None:
            self.announced, self.source_metas = self.compiled
        else:
            for key in self.sources:
                if key not in self.spec:
                    provided = ", ".join(map(str, self.spec.array_specs)) if self.spec else "nothing"
                    raise TreeError(f"{key} is not provided upstream", allowed=provided, path=self.path)
            specs = [self.spec[key] for key in self.sources]
            self.source_metas = tuple(_meta_of(spec, self.attributes) for spec in specs)
            self._unsaid = [spec.interpolatable is None for spec in specs]
            try:
                self.announced = self.config.infer(*self.source_metas)
            except GpArraysError as error:
                raise error.at(*self.path) from None
        spec = spec_of(self.announced, self.announced.roi)
        if self.compiled is None and spec.interpolatable and any(self._unsaid):
            # what no source says is not said here either: gunpowder's own nodes then take the nearest voxel
            spec.interpolatable = None
        if self.shift is not None:
            spec.roi = self.announced.region.roi.shift(-self.shift)
        if self.compiled is None and any(self.spec[key].nonspatial for key in self.sources):
            spec = gp.ArraySpec(nonspatial=True, dtype=spec.dtype, interpolatable=spec.interpolatable)
        elif self.announced.roi is None:
            dims = self.announced.dims
            spec.roi = Roi((None,) * dims, (None,) * dims)
        if self.target in self.sources:
            self.updates(self.target, spec)
        else:
            self.provides(self.target, spec)

    def prepare(self, request: gp.BatchRequest) -> gp.BatchRequest:
        deps = gp.BatchRequest()
        if self.target not in request:
            return deps
        if self.spec[self.target].nonspatial:
            for key in self.sources:
                deps[key] = gp.ArraySpec(nonspatial=True)
            return deps
        region = self._world(request[self.target].roi)
        if region.empty:
            # a Pad asks so for what lies wholly outside; sources are asked for as little
            for key, meta in zip(self.sources, self.source_metas, strict=True):
                begin = region.begin if meta.roi is None else meta.region.begin
                deps[key] = gp.ArraySpec(roi=self._shifted(Region(begin, begin)))
            return deps
        for key, part in zip(self.sources, self._context(region), strict=True):
            if part is not None:
                spec = gp.ArraySpec(roi=self._shifted(part))
                if key in deps:
                    spec.roi = deps[key].roi.union(spec.roi)
                deps[key] = spec
        first = self.sources[0]
        asked = first in request and first != self.target and not request[first].placeholder
        if self.compiled is None and not deps.array_specs and not asked:
            # nothing is read, but gunpowder's own nodes upstream need a request to place, and one that is real
            others = any(key != self.target and not spec.placeholder for key, spec in request.array_specs.items())
            deps[first] = gp.ArraySpec(roi=region.roi, placeholder=others)
        return deps

    def _context(self, region: Region) -> Sequence[Region | None]:
        try:
            return self.config.context(region, self.announced, self.source_metas)
        except GpArraysError as error:
            raise error.at(*self.path) from None

    def _world(self, roi: Roi) -> Region:
        return Region.of(roi if self.shift is None else roi.shift(self.shift))

    def _shifted(self, region: Region) -> Roi:
        return region.roi if self.shift is None else region.roi.shift(-self.shift)

    def process(self, batch: gp.Batch, request: gp.BatchRequest) -> gp.Batch | None:
        if self.target not in request:
            return None
        arrays = [batch[key] if key in batch else None for key in self.sources]  # noqa: SIM401
        nonspatial = self.spec[self.target].nonspatial
        dims = 0 if nonspatial else self.announced.dims
        try:
            meta, metas = self._metas(arrays)
            region = Region((), ()) if nonspatial else self._world(request[self.target].roi)
            if not nonspatial and region.empty:
                data = np.zeros(meta.shape_of(region), meta.dtype)
            else:
                parts = [region] * len(arrays) if nonspatial else self._context(region)
                blocks = [
                    None if array is None or part is None else self._block(array, part, source, dims)
                    for array, part, source in zip(arrays, parts, metas, strict=True)
                ]
                data = self.config.compute(region, meta, metas, blocks)
        except GpArraysError as error:
            raise error.at(*self.path) from error.__cause__
        announced = self.announced.dtype
        if announced is not None and data.dtype != announced:
            raise ComputeError(
                "delivered is not what was announced",
                found=f"dtype {data.dtype}",
                allowed=f"dtype {announced}",
                path=self.path,
            )
        spec = self.spec[self.target].copy()
        spec.roi = None if nonspatial else request[self.target].roi
        spec.dtype = data.dtype
        outputs = gp.Batch()
        others = [array.data for array in batch.arrays.values()]
        outputs[self.target] = gp.Array(owned(data, others), spec)
        return outputs

    def _block(self, array: gp.Array, part: Region, meta: Meta, dims: int) -> Block:
        if not dims:
            return Block(array.data, part, meta)
        view = Block(array.data, self._world(array.spec.roi), meta).crop(part.whole()).view()
        view.flags.writeable = False
        return Block(view, part.whole(), meta)

    def _metas(self, arrays: Sequence[gp.Array | None]) -> tuple[Meta, tuple[Meta, ...]]:
        """Metas of target and sources, completed by what the batch shows where unknown."""
        if self.compiled is not None:
            return self.compiled
        seen = tuple(
            None if a is None else (a.data.dtype, a.data.shape[: a.data.ndim - m.dims])
            for a, m in zip(arrays, self.source_metas, strict=True)
        )
        if seen not in self._by_shape:
            metas = tuple(
                meta
                if what is None
                else attrs.evolve(
                    meta,
                    dtype=what[0],
                    nonspatial=_nonspatial_axes(what[1]),
                    interpolatable=interpolatable(what[0]) if unsaid else meta.interpolatable,
                )
                for meta, what, unsaid in zip(self.source_metas, seen, self._unsaid, strict=True)
            )
            self._by_shape[seen] = self.config.infer(*metas), metas
        return self._by_shape[seen]


def spec_of(meta: Meta, roi: Roi | None) -> gp.ArraySpec:
    """The gunpowder spec of an array."""
    return gp.ArraySpec(
        roi=None if roi is None else roi.copy(),
        voxel_size=meta.voxel_size,
        interpolatable=meta.interpolatable,
        dtype=meta.dtype,
    )


def _meta_of(spec: gp.ArraySpec, attributes: Mapping[str, Any]) -> Meta:
    """What a gunpowder spec, and attributes told beside it, say of an array from somewhere upstream."""
    unknown = spec.roi is None or spec.roi.unbounded or None in spec.roi.offset
    if spec.nonspatial:
        voxel_size = Coordinate(())
    elif spec.voxel_size is not None:
        voxel_size = spec.voxel_size
    else:
        dims = spec.roi.dims if spec.roi is not None else 3
        voxel_size = Coordinate((1,) * dims)
    return Meta(
        roi=None if unknown else spec.roi,
        voxel_size=voxel_size,
        spatial_axes=tuple("zyx"[-len(voxel_size) :])
        if 0 < len(voxel_size) <= 3
        else tuple(f"d{i}" for i in range(len(voxel_size))),
        dtype=spec.dtype,
        nonspatial=None,
        interpolatable=_may_interpolate(spec),
        attrs=attributes,
    )


def _may_interpolate(spec: gp.ArraySpec) -> bool:
    """What a spec says of it, else the rule by dtype; of an unknown dtype a batch tells."""
    if spec.interpolatable is not None:
        return bool(spec.interpolatable)
    return spec.dtype is None or interpolatable(np.dtype(spec.dtype))


def _nonspatial_axes(shape: tuple[int, ...]) -> tuple[Axis, ...]:
    """Axes before the spatial ones: the last is channels, as in ``s, c, z, y, x``."""
    names = ("s", "c")[-len(shape) :] if 0 < len(shape) <= 2 else [f"a{i}" for i in range(len(shape))]
    return tuple(Axis(name, size) for name, size in zip(names, shape, strict=True))


def keys_of(sources: Mapping[str, gp.ArrayKey] | Sequence[gp.ArrayKey]) -> list[gp.ArrayKey]:
    """The keys of a node with several sources, in order."""
    if not isinstance(sources, (Mapping, list, tuple)):
        raise TreeError("a node of several sources reads from a list of array keys", found=repr(sources))
    return list(sources.values() if isinstance(sources, Mapping) else sources)
