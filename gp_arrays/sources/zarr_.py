"""Zarr arrays on disk, v2 and v3, alone or as a level of a pyramid."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from ..errors import ConfigError, StoreError
from ..model import fields
from ..model.base import SourceConfig
from ..model.meta import Axis, interpolatable
from ..model.opened import Opened, Stored
from ..model.plan import MODES
from ..storage.documents import Node, ancestors, find_node, read_node
from ..storage.engine import open_array, update_attributes
from ..storage.fingerprint import fingerprint
from ..storage.geometry import GEOMETRY_KEYS, declared_labels, levels, multiscales_of, read_geometry
from ..storage.listing import list_chunks
from ..units import Quantity


def _mode(_: Any, field: attrs.Attribute[str], value: Any) -> None:
    if not fields.is_among(value, MODES):
        raise ConfigError("unknown mode", found=repr(value), allowed=f"{', '.join(MODES)}; create_zarr creates")


@attrs.frozen(eq=False, repr=False)
class ZarrArrayConfig(SourceConfig):
    """A chunked array in a Zarr store on disk, v2 or v3.

    Roi, voxel size, unit and axes come from the array's attributes (``voxel_size`` or
    ``resolution``, ``offset``, ``axis_names``, ``units``; COSEM ``transform``) or from the
    OME-NGFF pyramid that it is a level of; what is given here wins. Channels and
    other non-spatial axes are moved first. Singleton non-spatial axes of pyramids are dropped.

    Args:
        name: The array's name.
        file_name: The store's folder.
        dataset: The array's path in it, or that of a pyramid.
        snap_to_grid: The roi shrinks to multiples of it, one length per spatial axis.
        axes: Names of all axes in the store's order, where its metadata do not say.
        mode: ``"r"``, or ``"r+"`` (``"a"``) to write. No mode creates or erases.
        scale: The level, where ``dataset`` is a pyramid; 0, the finest, by default.
        storage_options: For documents that carry them; stores on disk have none.
        voxel_size, offset: One length per spatial axis; the offset is a voxel corner.
        unit: The unit of the lengths, bare ones here and those of the metadata.
        interpolatable: Overrides the rule by dtype and declared labels.

    >>> import gp_arrays as gpa, numpy as np, tempfile
    >>> store = tempfile.mkdtemp() + "/a.zarr"
    >>> made = gpa.create_zarr(store, "raw", roi=gpa.Roi((0, 0), (40, 40)), voxel_size=(10, 10), dtype="uint8")
    >>> made[:, :] = 7
    >>> gpa.ZarrArrayConfig("raw", store, "raw").array()[gpa.Roi((10, 10), (20, 10))]
    array([[7],
           [7]], dtype=uint8)
    """

    file_name: Path = attrs.field(converter=fields.to_path)
    dataset: str = attrs.field(converter=fields.to_text)
    snap_to_grid: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    axes: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    mode: str = attrs.field(default="r", validator=_mode)
    scale: int | None = attrs.field(
        default=None,
        converter=fields.to_scale,
    )
    storage_options: dict[str, Any] | None = attrs.field(default=None, converter=fields.to_options)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    unit: str | None = attrs.field(default=None, converter=fields.to_unit)
    interpolatable: bool | None = attrs.field(default=None, converter=fields.to_choice)

    # DaCapo's ome_metadata says which metadata to read; here the store does
    aliases: ClassVar[Mapping[str, str | None]] = {"_axes": "axes", "ome_metadata": None}

    def open(self, mode: str | None = None) -> ZarrOpened:
        return ZarrOpened(self, (mode or self.mode) != "r")


class ZarrOpened(Opened):
    """An opened Zarr array. Its metadata are read when it is made, its voxels through zarr."""

    def __init__(self, config: ZarrArrayConfig, writable: bool) -> None:
        if fields.is_url(config.file_name):
            raise StoreError("not a folder", found=str(config.file_name), allowed="a store on a local disk")
        self._config = config
        self.root = config.file_name
        self.node = node = _find_array(self.root, config.dataset.strip("/"), config.scale)
        self.place = f"{self.root}/{node.path}"
        assert node.shape is not None
        assert node.dtype is not None
        assert node.chunks is not None
        geometry = read_geometry(self.root, node, config.axes)
        sizes = dict(zip(geometry.axes, node.shape, strict=True))
        leads = [i for i, lead in enumerate(geometry.nonspatial) if lead]
        self._squeezed = [i for i in leads if geometry.squeeze and node.shape[i] == 1]
        leads = [i for i in leads if i not in self._squeezed]
        self._order = leads + [i for i, lead in enumerate(geometry.nonspatial) if not lead]
        labels = _channel_names(node)
        self.nonspatial = tuple(
            Axis(name, sizes[name], labels if name == "c" and labels and len(labels) == sizes[name] else None)
            for name in (geometry.axes[i] for i in leads)
        )
        self.spatial_axes = tuple(n for n, lead in zip(geometry.axes, geometry.nonspatial, strict=True) if not lead)
        self.shape = tuple(node.shape[i] for i in self._order)
        self.chunks = tuple(node.chunks[i] for i in self._order)
        self.dtype = node.dtype.newbyteorder("=")
        self.voxel_size = _override(config.voxel_size, geometry.voxel_size, config.unit)
        self.offset = _override(config.offset, geometry.offset, config.unit)
        self.snap_to_grid = config.snap_to_grid
        self.writable = writable
        declared = interpolatable(self.dtype) and not declared_labels(self.root, node)
        self.interpolatable = declared if config.interpolatable is None else config.interpolatable
        self.attrs = {key: value for key, value in node.attrs.items() if key not in GEOMETRY_KEYS}
        if 0 in node.shape:
            raise StoreError("the array is empty", found=f"shape {node.shape} in {self.place}")

    @functools.cached_property
    def _array(self) -> tuple[Any, Any]:
        return open_array(self.root, self.node, self.writable)

    @property
    def data(self) -> Any:
        return self._array[0]

    def _key(self, index: tuple[slice, ...]) -> tuple[slice | int, ...]:
        key: list[slice | int] = [0] * len(self._order + self._squeezed)
        for axis, part in zip(self._order, index, strict=True):
            key[axis] = part
        return tuple(key)

    def _kept(self) -> list[int]:
        """Where the axes of ``shape`` stand among the store's axes, squeezed ones left out."""
        stored = sorted(self._order)
        return [stored.index(axis) for axis in self._order]

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        try:
            array, misses = self._array
            before = misses.last
            data = np.asarray(array[self._key(index)])
        except StoreError:
            raise
        except Exception as error:
            raise StoreError("cannot read", found=self._explain(index, error)) from error
        if misses.last != before:
            self._look_again()
        order = self._kept()
        if order != sorted(order):
            data = data.transpose(order)
        return data.astype(self.dtype, copy=False)

    def _look_again(self) -> None:
        """Raises StoreError unless the array is still what it was when it was opened.

        zarr returns fill values for what is not there, whatever the reason.
        """
        now = read_node(self.root, self.node.path)
        if now is None or not now.is_array:
            raise StoreError("the array has vanished since it was opened", found=self.place)
        if (now.shape, now.chunks, now.dtype) != (self.node.shape, self.node.chunks, self.node.dtype):
            raise StoreError("the array has changed since it was opened", found=self.place)

    def _explain(self, index: tuple[slice, ...], error: Exception) -> str:
        text = f"{self.place}: {type(error).__name__}: {error}"
        chunk = self._broken_chunk(index)
        return f"chunk {chunk} of {text}" if chunk else text

    def _broken_chunk(self, index: tuple[slice, ...], limit: int = 512) -> str | None:
        """The key of the first chunk of a box that cannot be read."""
        assert self.chunks is not None
        ranges = [range(part.start // c, -(-part.stop // c)) for part, c in zip(index, self.chunks, strict=True)]
        grid = np.ndindex(*map(len, ranges))
        for count, position in enumerate(grid):
            if count == limit:
                return None
            corner = [(r[p]) * c for r, p, c in zip(ranges, position, self.chunks, strict=True)]
            try:
                self.data[self._key(tuple(slice(at, at + 1) for at in corner))]
            except Exception:
                found = self.chunk_of(corner)
                return found[0] if found else None
        return None

    def write(self, index: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
        self._look_again()
        try:
            self.data[self._key(index)] = values.transpose(np.argsort(self._kept()))
        except Exception as error:
            raise StoreError("cannot write", found=f"{self.place}: {type(error).__name__}: {error}") from error

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        try:
            update_attributes(self.root, self.node, metadata)
        except Exception as error:
            raise StoreError("cannot write metadata", found=f"{self.place}: {error}") from error

    def folders(self) -> Sequence[Path]:
        return (self.root / self.node.path,)

    def coarser(self) -> Sequence[ZarrOpened]:
        """The coarser levels of the pyramid that the array is a level of."""
        config = self._config
        if config.voxel_size or config.offset:
            return ()  # it does not lie where the pyramid says
        for group, below in ancestors(self.root, self.node.path):
            multiscale = multiscales_of(group)
            paths = [] if multiscale is None else levels(multiscale)
            if below in paths:
                above = [f"{group.path}/{path}".strip("/") for path in paths[paths.index(below) + 1 :]]
                level = functools.partial(config.with_fields, scale=None, snap_to_grid=None)
                opened = [ZarrOpened(level(dataset=path), False) for path in above]
                return [o for o in opened if (o.dtype, o.nonspatial) == (self.dtype, self.nonspatial)]
        return ()

    def fingerprint(self) -> str:
        return fingerprint(self.root, self.node)

    def stored(self) -> Stored:
        size = self.node.shards or self.node.chunks
        assert size is not None
        fill = (self.node.document or {}).get("fill_value")
        index = list_chunks(self.root, self.node)
        order = self._order
        # what zarr writes as text (NaN, say) is no 0, and no more is asked of it
        fill = 0 if fill is None else fill if isinstance(fill, (int, float)) else None
        return Stored(tuple(size[i] for i in order), index[:, order], fill)

    def chunk_of(self, index: Any) -> tuple[str, str] | None:
        assert self.node.chunks is not None
        position = [0] * len(self.node.chunks)
        for axis, at in zip(self._order, index, strict=True):
            position[axis] = at
        stored = self.node.shards or self.node.chunks
        parts = [str(p // c) for p, c in zip(position, stored, strict=True)]
        document = self.node.document or {}
        if self.node.format == 2:
            key = document.get("dimension_separator", ".").join(parts)
        else:
            encoding = document.get("chunk_key_encoding", {})
            separator = encoding.get("configuration", {}).get("separator", "/")
            prefix = ["c"] if encoding.get("name", "default") == "default" else []
            key = separator.join(prefix + parts)
        present = (self.root / self.node.path / key).exists()
        return key, "present" if present else "absent: fill value"


def _find_array(root: Path, dataset: str, scale: int | None) -> Node:
    node = find_node(root, dataset)
    multiscale = None if node.is_array else multiscales_of(node)
    if multiscale is not None:
        paths = levels(multiscale)
        if not 0 <= (scale or 0) < len(paths):
            raise StoreError("the pyramid has no such scale", found=scale, allowed=f"0 to {len(paths) - 1}")
        return find_node(root, f"{dataset}/{paths[scale or 0]}".strip("/"))
    if not node.is_array:
        from ..storage.documents import datasets

        inside = [path for path in datasets(root) if not dataset or path.startswith(f"{dataset}/")]
        raise StoreError("a group, not an array", found=f"{dataset!r} in {root}", allowed=", ".join(inside[:8]) or None)
    if scale not in (None, 0):
        raise StoreError(
            "scale picks a level of a pyramid", found=f"{dataset!r} is an array", allowed="a multiscale group"
        )
    return node


def _override(
    given: tuple[Quantity, ...] | None, stored: tuple[Quantity, ...], unit: str | None
) -> tuple[Quantity, ...]:
    if given is not None:
        return tuple(Quantity(q.value, q.unit or unit) for q in given)
    return stored if unit is None else tuple(Quantity(q.value, unit) for q in stored)


def _channel_names(node: Node) -> tuple[str, ...] | None:
    names = node.attrs.get("channel_names")
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
