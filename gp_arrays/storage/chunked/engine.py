"""Opening a stored array through zarr 2 or zarr 3; what differs between them is here alone."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zarr
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy

from ...errors import StoreError
from ..access.remote import StorePath
from .array_files import FORMATS, ArrayFiles
from .remote_zarr import RemoteStore
from .tensorstore_arrays import TensorStoreArray

if FORMATS == (2,):

    class CheckedStore(zarr.storage.DirectoryStore):  # type: ignore[misc]
        """The files of an array, for zarr 2."""

        files: ArrayFiles

        def __getitem__(self, key: str) -> bytes:
            value = self.files.read(key)
            if value is None:
                raise KeyError(key)
            return value

        def getitems(self, keys: Iterable[str], *, contexts: Any = None) -> dict[str, bytes]:
            values = {key: self.files.read(key) for key in keys}
            return {key: value for key, value in values.items() if value is not None}

        def __setitem__(self, key: str, value: Any) -> None:
            self.files.require_no_folder(key)  # zarr 2 would remove it
            super().__setitem__(key, value)

    class Exact:
        """A codec that refuses a chunk of another size: zarr 2 would leave the rest of it as memory is."""

        def __init__(self, codec: Any, size: int) -> None:
            self.codec, self.size = codec, size
            self.codec_id = codec.codec_id

        def encode(self, data: Any) -> Any:
            return self.codec.encode(data)

        def decode(self, data: Any, out: Any = None) -> Any:
            decoded = ensure_contiguous_ndarray(self.codec.decode(data))
            if decoded.nbytes != self.size:
                raise OSError(f"decoded to {decoded.nbytes} bytes, not {self.size}")
            return decoded if out is None else ndarray_copy(decoded, out)

        def get_config(self) -> Any:
            return self.codec.get_config()

    def open_array(files: ArrayFiles, writable: bool, write_empty: bool = True) -> Any:
        """The zarr array over some files. Without ``write_empty`` chunks that are fill value throughout are left out."""
        root, node = files.root, files.node
        if node.format == 3:
            if writable or not isinstance(root, Path):
                require_format(node.format, root / node.path)
            return TensorStoreArray(files, node)
        store = CheckedStore(str(root)) if isinstance(root, Path) else RemoteStore(root, writable)
        store.files = files
        array = zarr.Array(
            store, path=node.path, read_only=not writable, cache_attrs=False, write_empty_chunks=write_empty
        )
        if array.compressor is not None and not array.filters:
            array._compressor = Exact(array.compressor, math.prod(array.chunks) * array.dtype.itemsize)
        if array.fill_value is None:
            # zarr 2 leaves memory as it is where a chunk is absent: other voxels at every read
            array._fill_value = array.dtype.type(0)
        return array

else:
    from zarr.core.buffer import default_buffer_prototype

    from .remote_zarr import bounds

    class CheckedStore(zarr.storage.LocalStore):  # type: ignore[misc, no-redef]
        """The files of an array, for zarr 3.

        Its name must not be LocalStore: other codec pipelines (zarrs) read the files of such stores by themselves.
        """

        files: ArrayFiles

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            return await asyncio.to_thread(self.get_sync, key, prototype=prototype, byte_range=byte_range)

        def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
            value = self.files.read(key, *bounds(byte_range))
            return None if value is None else (prototype or default_buffer_prototype()).buffer.from_bytes(value)

    def open_array(files: ArrayFiles, writable: bool, write_empty: bool = True) -> Any:
        """The zarr array over some files. Without ``write_empty`` chunks that are fill value throughout are left out."""
        root, node = files.root, files.node
        store: Any = (
            CheckedStore(root, read_only=not writable) if isinstance(root, Path) else RemoteStore(root, writable)
        )
        store.files = files
        return zarr.open_array(
            store=store,
            path=node.path,
            mode="r+" if writable else "r",
            zarr_format=3 if node.format == 3 else 2,
            config={"write_empty_chunks": write_empty},
        )


def require_format(format: int | str, location: StorePath) -> None:
    """Raises StoreError for a format that the installed zarr does not have."""
    if format == 3 and format not in FORMATS:
        raise StoreError(
            f"Zarr v{format} needs another zarr",
            found=f"{location}, zarr {zarr.__version__}",
            allowed="zarr 3, on Python 3.12 or newer",
        )
