"""An opened Zarr array: its metadata, and its voxels through zarr."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import StoreError
from ..model.opened import Stored
from ..model.threads import cached_property
from ..model.urls import Url
from ..storage.access.chunk_files import documents_read_once, is_there
from ..storage.access.files import store_errors
from ..storage.access.remote import is_listable
from ..storage.access.zip_files import ZipPath, is_remote, locate_store
from ..storage.chunked.array_files import ArrayFiles, files_of
from ..storage.chunked.checksums import codec_text, have_checksums
from ..storage.chunked.chunk_reader import BrokenChunkError, ChunkReader
from ..storage.chunked.fingerprint import fingerprint
from ..storage.chunked.listing import list_chunks, require_readable_chunks
from ..storage.journal import MARK, Mark, Unfinished
from ..storage.metadata.attributes import update_attributes
from ..storage.metadata.documents import ChunkedNode, require_unchanged
from ..storage.metadata.geometry import Override, find_array
from ..storage.metadata.keys import N5
from ..storage.metadata.pyramids import pyramid_of
from ..units import DEFAULT_UNIT
from .stored_opened import NodeOpened

if TYPE_CHECKING:
    from .zarr_ import ZarrArrayConfig


class ZarrOpened(NodeOpened):
    """An opened Zarr array. Its metadata are read when it is opened, its voxels when they are requested."""

    node: ChunkedNode

    def __init__(self, config: ZarrArrayConfig, writable: bool) -> None:
        self._config = config
        root = locate_store(config.file_name, config.storage_options)
        unit = config.unit or config.tree_unit or DEFAULT_UNIT
        node = find_array(
            root, config.dataset.strip("/"), config.scale, unit, Override(axes=config.axes, unit=config.unit)
        )
        if writable and (node.format == N5 or isinstance(root, ZipPath)):
            what = "N5" if node.format == N5 else "a zip file"
            raise StoreError(f"{what} is read, not written", found=f"{root}/{node.path}", allowed='mode "r"')
        super().__init__(config, root, node, node.chunks)
        if 0 in self.shape:
            raise StoreError("the array is empty", found=f"shape {node.shape} in {self.location}")
        self.codec = codec_text(node)
        self.snap_to_grid = config.snap_to_grid
        self.writable, self.is_remote = writable, is_remote(self.root)
        self.unfinished = Unfinished.of(root, node)
        self.attrs = {key: value for key, value in self.attrs.items() if key != MARK}

    @cached_property
    def _files(self) -> ArrayFiles:
        return files_of(self.root, self.node)

    @cached_property
    def _array(self) -> Any:
        from ..storage.chunked.engine import open_array

        return open_array(self._files, self.writable)

    @cached_property
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

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        if self.unfinished is not None:
            self.unfinished.require_done(self.box_in_store(index))
        try:
            misses = self._files.misses
            if self._chunk_reader is None:
                data = self.as_delivered(np.asarray(self._array[self.box_in_store(index)]))
            else:
                data = np.empty([part.stop - part.start for part in index], self.dtype)
                keep = not self.writable and self.unfinished is None
                self._chunk_reader.read(self.box_in_store(index), self.as_stored(data), keep=keep)
            read_again = self._files.misses != misses and self._files.must_look_again()
        except StoreError:
            raise
        except BrokenChunkError as broken:
            cause = broken.__cause__
            found = f"chunk {broken} of {self.location}: {type(cause).__name__}: {cause}"
            raise StoreError("cannot read", found=found) from cause
        except Exception as error:  # zarr and the codecs have errors of many types
            raise StoreError("cannot read", found=self._explain(index, error)) from error
        if read_again or (self._files.misses != misses and self.unfinished is not None):
            mark = Mark.of(self._read_metadata_again())
            if mark is not None and not (self.unfinished is not None and self.unfinished.is_that_of(mark)):
                # a job has begun to write the array anew since it was opened
                self.unfinished = Unfinished(self.root, self.node, mark)
                return self.read(index)
            if self.unfinished is not None:
                self.unfinished.require_present()
        return data.astype(self.dtype, copy=False)

    def _read_metadata_again(self) -> ChunkedNode:
        """Its current metadata. Raises StoreError if the array has changed since it was opened.

        zarr returns fill values for absent chunks, whatever the reason.
        """
        return require_unchanged(self.root, self.node)

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
                self._array[self.box_in_store([slice(at, at + 1) for at in corner])]
            except Exception:  # of any kind: codecs raise their own errors for bytes that they cannot decode
                key_and_state = self.chunk_of(corner)
                return key_and_state and key_and_state[0]
        return None

    def write(self, index: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
        self._read_metadata_again()
        # zarr and the codecs have errors of many types
        with store_errors(self.location, "cannot write", (Exception,)):
            self._array[self.box_in_store(index)] = self.as_stored(values)

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        update_attributes(self.root, self.node, metadata)

    def require_readable(self) -> None:
        # zarr and the codecs have errors of many types
        with store_errors(self.location, "cannot open", (Exception,)):
            _ = self._chunk_reader or self._array
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
        level = functools.partial(config.with_fields, scale=None, snap_to_grid=None)
        with documents_read_once():
            pyramid = pyramid_of(self.root, self.node.path)
            paths = [] if pyramid is None else pyramid.coarser(self.node.path)
            opened = [ZarrOpened(level(dataset=path), False) for path in paths]
        return [array for array in opened if self.is_finer_than(array)]

    def fingerprint(self) -> str:
        return fingerprint(self.root, self.node)

    def stored(self) -> Stored | None:
        if self.unfinished is not None and not self.unfinished.finished:
            return None  # chunks that are absent now may still be written
        if not is_listable(self.root):
            return None
        size, fill = self.node.shards, self.node.document.get("fill_value")
        index, factor = list_chunks(self.root, self.node)
        order = self._order
        # zarr writes NaN and infinities as text: these are not 0, and no more needs to be known
        fill = 0 if fill is None else fill if isinstance(fill, (int, float)) else None
        return Stored(tuple(size[i] * factor for i in order), index[:, order], fill)

    def chunk_of(self, index: Any) -> tuple[str, str] | None:
        box = self.box_in_store([slice(at, at + 1) for at in index])
        key = self.node.keys.key([part.start // c for part, c in zip(box, self.node.shards, strict=True)])
        present = is_there(self.root / self.node.path / key)
        return key, "present" if present else "absent: fill value"
