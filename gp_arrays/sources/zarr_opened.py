"""An opened Zarr array: its metadata, and its voxels through zarr."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GpArraysError, StoreError
from ..model.fields import VoxelSize
from ..model.meta import Axis, interpolatable
from ..model.opened import Opened, Stored
from ..model.urls import Url
from ..storage.access.chunk_files import is_there
from ..storage.access.remote import StorePath, is_listable
from ..storage.access.zip_files import ZipPath, locate_store
from ..storage.chunked.array_files import ArrayFiles, files_of
from ..storage.chunked.checksums import codec_text, have_checksums
from ..storage.chunked.chunk_reader import BrokenChunkError, ChunkReader
from ..storage.chunked.engine import open_array
from ..storage.chunked.fingerprint import fingerprint
from ..storage.chunked.listing import list_chunks, require_readable_chunks
from ..storage.journal import MARK, Mark, Unfinished
from ..storage.metadata.attributes import update_attributes
from ..storage.metadata.dialects import GEOMETRY_KEYS
from ..storage.metadata.documents import Node, datasets, find_node, read_node
from ..storage.metadata.geometry import Override, read_geometry
from ..storage.metadata.keys import N5
from ..storage.metadata.labels import channel_names, declared_labels
from ..storage.metadata.pyramids import level_of_size, pyramid_at, pyramid_of
from ..units import DEFAULT_UNIT

if TYPE_CHECKING:
    from .zarr_ import ZarrArrayConfig


class ZarrOpened(Opened):
    """An opened Zarr array. Its metadata are read when it is opened, its voxels when they are asked for."""

    def __init__(self, config: ZarrArrayConfig, writable: bool) -> None:
        self._config = config
        self.root = locate_store(config.file_name, config.storage_options)
        self.node = node = _find_array(self.root, config)
        self.location = f"{self.root}/{node.path}"
        if writable and (node.format == N5 or isinstance(self.root, ZipPath)):
            what = "N5" if node.format == N5 else "a zip file"
            raise StoreError(f"{what} is read, not written", found=self.location, allowed='mode "r"')
        assert node.shape is not None
        assert node.dtype is not None
        assert node.chunks is not None
        override = Override(config.voxel_size, config.offset, config.axes, config.unit)
        geometry = read_geometry(self.root, node, override)
        self.dialect, self.assumed = geometry.dialect, geometry.assumed
        sizes = dict(zip(geometry.axes, node.shape, strict=True))
        leads = [i for i, lead in enumerate(geometry.nonspatial) if lead]
        self._squeezed = [i for i in leads if geometry.squeeze and node.shape[i] == 1]
        leads = [i for i in leads if i not in self._squeezed]
        self._order = leads + [i for i, lead in enumerate(geometry.nonspatial) if not lead]
        labels = channel_names(self.root, node)
        self.nonspatial = tuple(
            Axis(name, sizes[name], labels if name == "c" and labels and len(labels) == sizes[name] else None)
            for name in (geometry.axes[i] for i in leads)
        )
        self.spatial_axes = tuple(n for n, lead in zip(geometry.axes, geometry.nonspatial, strict=True) if not lead)
        self.shape = tuple(node.shape[i] for i in self._order)
        self.chunks = tuple(node.chunks[i] for i in self._order)
        self.dtype = node.dtype.newbyteorder("=")
        self.voxel_size, self.offset = geometry.voxel_size, geometry.offset
        self.codec = codec_text(node)
        self.snap_to_grid = config.snap_to_grid
        self.writable = writable
        declared = interpolatable(self.dtype) and not declared_labels(self.root, node)
        self.interpolatable = declared if config.interpolatable is None else config.interpolatable
        self.unfinished = Unfinished.of(self.root, node)
        self.attrs = {key: value for key, value in node.attrs.items() if key not in GEOMETRY_KEYS and key != MARK}
        if 0 in node.shape:
            raise StoreError("the array is empty", found=f"shape {node.shape} in {self.location}")

    @functools.cached_property
    def _files(self) -> ArrayFiles:
        return files_of(self.root, self.node)

    @functools.cached_property
    def _array(self) -> Any:
        return open_array(self._files, self.writable)

    @functools.cached_property
    def _chunk_reader(self) -> ChunkReader | None:
        return ChunkReader.of(self.node, self._files)

    @property
    def data(self) -> Any:
        if self.unfinished is not None and not self.unfinished.finished:
            raise StoreError(
                "the job that writes this array is not done, and its store would give what is missing as empty",
                found=f"{self.location}, {self.unfinished.progress()}",
                allowed="array[...], which reads what is done",
            )
        return self._array

    def _key(self, index: tuple[slice, ...]) -> tuple[slice | int, ...]:
        key: list[slice | int] = [0] * len(self._order + self._squeezed)
        for axis, part in zip(self._order, index, strict=True):
            key[axis] = part
        return tuple(key)

    def _axes_in_store(self) -> list[int]:
        """For each axis of ``shape`` its number among the store's axes, those left out that are not in ``shape``."""
        stored = sorted(self._order)
        return [stored.index(axis) for axis in self._order]

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        if self.unfinished is not None:
            self.unfinished.require_done(self._key(index))
        try:
            misses = self._files.misses
            if self._chunk_reader is None:
                data = np.asarray(self._array[self._key(index)]).transpose(self._axes_in_store())
            else:
                data = self._read_chunks(self._chunk_reader, index)
            look_again = self._files.misses != misses and self._files.must_look_again()
        except StoreError:
            raise
        except BrokenChunkError as broken:
            cause = broken.__cause__
            found = f"chunk {broken} of {self.location}: {type(cause).__name__}: {cause}"
            raise StoreError("cannot read", found=found) from cause
        except Exception as error:  # zarr and the codecs have errors of many types
            raise StoreError("cannot read", found=self._explain(index, error)) from error
        if look_again or (self._files.misses != misses and self.unfinished is not None):
            mark = Mark.of(self._look_again())
            if mark is not None and not (self.unfinished is not None and self.unfinished.is_that_of(mark)):
                # a job has begun to write the array anew since it was opened
                self.unfinished = Unfinished(self.root, self.node, mark)
                return self.read(index)
            if self.unfinished is not None:
                self.unfinished.require_present()
        return data.astype(self.dtype, copy=False)

    def _read_chunks(self, reader: ChunkReader, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        data = np.empty([part.stop - part.start for part in index], self.dtype)
        key = self._key(index)
        # the same memory, with the axes of the store
        out = data.transpose(np.argsort(self._axes_in_store()))
        out = out[tuple(slice(None) if isinstance(part, slice) else np.newaxis for part in key)]
        box = [part if isinstance(part, slice) else slice(part, part + 1) for part in key]
        reader.read(box, out, keep=not self.writable and self.unfinished is None)
        return data

    def _look_again(self) -> Node:
        """Its metadata as they are now. Raises StoreError unless the array is still what it was when it was opened.

        zarr returns fill values for what is not there, whatever the reason.
        """
        now = read_node(self.root, self.node.path)
        if now is None or not now.is_array:
            raise StoreError("the array has vanished since it was opened", found=self.location)
        if (now.shape, now.chunks, now.dtype) != (self.node.shape, self.node.chunks, self.node.dtype):
            raise StoreError("the array has changed since it was opened", found=self.location)
        return now

    def _explain(self, index: tuple[slice, ...], error: Exception) -> str:
        text = f"{self.location}: {type(error).__name__}: {error}"
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
                self._array[self._key(tuple(slice(at, at + 1) for at in corner))]
            except Exception:  # of any kind: codecs raise their own errors for bytes that they cannot decode
                found = self.chunk_of(corner)
                return found[0] if found else None
        return None

    def write(self, index: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
        self._look_again()
        try:
            self._array[self._key(index)] = values.transpose(np.argsort(self._axes_in_store()))
        except Exception as error:
            raise StoreError("cannot write", found=f"{self.location}: {type(error).__name__}: {error}") from error

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        update_attributes(self.root, self.node, metadata)

    def require_readable(self) -> None:
        try:
            if self.writable or self._chunk_reader is None:
                _ = self._array
        except GpArraysError:
            raise
        except Exception as error:  # zarr and the codecs have errors of many types
            raise StoreError("cannot open", found=f"{self.location}: {type(error).__name__}: {error}") from error
        require_readable_chunks(self.root, self.node)

    def notices_damage(self) -> bool:
        return have_checksums(self.root, self.node)

    def remarks(self) -> Sequence[str]:
        if self.notices_damage():
            return ()
        return ("its chunks carry no checksum: a flipped bit in them is not noticed",)

    def folders(self) -> Sequence[Path | Url]:
        folder = self.root / self.node.path
        return (folder if isinstance(folder, Path) else Url(folder.url),)

    def coarser(self) -> Sequence[ZarrOpened]:
        """The coarser levels of the pyramid that the array is a level of."""
        config = self._config
        if config.voxel_size or config.offset:
            return ()  # it does not lie where the pyramid says
        pyramid = pyramid_of(self.root, self.node.path)
        if pyramid is None:
            return ()
        level = functools.partial(config.with_fields, scale=None, snap_to_grid=None)
        opened = [ZarrOpened(level(dataset=path), False) for path in pyramid.coarser(self.node.path)]
        return [o for o in opened if self._is_finer(o)]

    def _is_finer(self, other: ZarrOpened) -> bool:
        """True if another level has the same axes and dtype, and larger voxels: one that states no size may be any."""
        if (other.dtype, other.nonspatial, other.spatial_axes) != (self.dtype, self.nonspatial, self.spatial_axes):
            return False
        pairs = [(a.to("m"), b.to("m")) for a, b in zip(self.voxel_size, other.voxel_size, strict=True)]
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

    def fingerprint(self) -> str:
        return fingerprint(self.root, self.node)

    def stored(self) -> Stored | None:
        if self.unfinished is not None and not self.unfinished.finished:
            return None  # chunks that are absent now may still be written
        if not is_listable(self.root):
            return None
        size = self.node.shards or self.node.chunks
        assert size is not None
        fill = (self.node.document or {}).get("fill_value")
        index, factor = list_chunks(self.root, self.node)
        order = self._order
        # what zarr writes as text (NaN, say) is no 0, and no more is asked of it
        fill = 0 if fill is None else fill if isinstance(fill, (int, float)) else None
        return Stored(tuple(size[i] * factor for i in order), index[:, order], fill)

    def chunk_of(self, index: Any) -> tuple[str, str] | None:
        assert self.node.chunks is not None
        position = [0] * len(self.node.chunks)
        for axis, at in zip(self._order, index, strict=True):
            position[axis] = at
        stored = self.node.shards or self.node.chunks
        assert stored is not None
        assert self.node.keys is not None
        key = self.node.keys.key([p // c for p, c in zip(position, stored, strict=True)])
        present = is_there(self.root / self.node.path / key)
        return key, "present" if present else "absent: fill value"


def _find_array(root: StorePath, config: ZarrArrayConfig) -> Node:
    dataset, scale = config.dataset.strip("/"), config.scale
    pyramid = pyramid_at(root, dataset)
    if pyramid is not None:
        nodes = [find_node(root, f"{dataset}/{level}".strip("/")) for level in pyramid.levels]
        group = next((node for node in nodes if not node.is_array), None)
        if group is not None:
            raise StoreError("a level of the pyramid is a group, not an array", found=f"{root}/{group.path}")
        if isinstance(scale, VoxelSize):
            return _level_of_size(root, config, nodes, scale)
        if not 0 <= (scale or 0) < len(nodes):
            raise StoreError("the pyramid has no such scale", found=scale, allowed=f"0 to {len(nodes) - 1}")
        return nodes[scale or 0]
    node = find_node(root, dataset)
    if not node.is_array:
        inside = [path for path in datasets(root) if not dataset or path.startswith(f"{dataset}/")]
        raise StoreError("a group, not an array", found=f"{dataset!r} in {root}", allowed=", ".join(inside[:8]) or None)
    if scale not in (None, 0):
        raise StoreError(
            "scale picks a level of a pyramid", found=f"{dataset!r} is an array", allowed="a multiscale group"
        )
    return node


def _level_of_size(root: StorePath, config: ZarrArrayConfig, nodes: Sequence[Node], wanted: VoxelSize) -> Node:
    """The level that a wanted voxel size picks. Raises StoreError."""
    unit = config.unit or config.tree_unit or DEFAULT_UNIT
    override = Override(axes=config.axes, unit=config.unit)
    sizes = [read_geometry(root, node, override).voxel_size for node in nodes]
    return nodes[level_of_size(sizes, wanted, unit)]
