"""A remote store as zarr 2 and zarr 3 want it, its chunks read and written by several threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import zarr

from ..access.remote import RemotePath

#: Requests of one read or write at the same time.
REQUESTS = 16

if zarr.__version__.startswith("2."):

    class RemoteStore(zarr.storage.Store):  # type: ignore[misc]
        """The keys of a remote store, for zarr 2. It is never asked for a list of them."""

        files: Any

        def __init__(self, root: RemotePath, writable: bool) -> None:
            self.root, self._writeable = root, writable

        def __getitem__(self, key: str) -> bytes:
            value: bytes | None = self.files.read(key)
            if value is None:
                raise KeyError(key)
            return value

        def getitems(self, keys: Iterable[str], *, contexts: Any = None) -> dict[str, bytes]:
            keys = list(keys)
            with ThreadPoolExecutor(REQUESTS) as threads:
                values = dict(zip(keys, threads.map(self.files.read, keys), strict=True))
            return {key: value for key, value in values.items() if value is not None}

        def __setitem__(self, key: str, value: Any) -> None:
            (self.root / key).write(bytes(value))

        def setitems(self, values: Mapping[str, Any]) -> None:
            with ThreadPoolExecutor(REQUESTS) as threads:
                list(threads.map(self.__setitem__, values.keys(), values.values()))

        def __delitem__(self, key: str) -> None:
            (self.root / key).remove_key()

        def __contains__(self, key: object) -> bool:
            return self.files.read(str(key)) is not None

        def __iter__(self) -> Iterator[str]:
            return iter(())

        def __len__(self) -> int:
            return 0

else:
    from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
    from zarr.core.buffer import default_buffer_prototype

    def bounds(byte_range: Any) -> tuple[int, int | None]:
        """Where the bytes that zarr asks for begin, from the end if negative, and where they stop."""
        if isinstance(byte_range, RangeByteRequest):
            return byte_range.start, byte_range.end
        if isinstance(byte_range, OffsetByteRequest):
            return byte_range.offset, None
        return (-byte_range.suffix, None) if isinstance(byte_range, SuffixByteRequest) else (0, None)

    class RemoteStore(zarr.abc.store.Store):  # type: ignore[no-redef, misc]
        """The keys of a remote store, for zarr 3. It is never asked for a list of them."""

        files: Any
        supports_writes = supports_deletes = True
        supports_listing = False

        def __init__(self, root: RemotePath, writable: bool) -> None:
            super().__init__(read_only=not writable)
            self.root = root

        def __eq__(self, other: object) -> bool:
            return isinstance(other, RemoteStore) and self.root == other.root

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            start, stop = bounds(byte_range)
            value = await asyncio.to_thread(self.files.read, key, start, stop)
            return None if value is None else (prototype or default_buffer_prototype()).buffer.from_bytes(value)

        async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> list[Any]:
            return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

        async def exists(self, key: str) -> bool:
            return await asyncio.to_thread(self.files.read, key) is not None

        async def set(self, key: str, value: Any) -> None:
            await asyncio.to_thread((self.root / key).write, value.to_bytes())

        async def delete(self, key: str) -> None:
            await asyncio.to_thread((self.root / key).remove_key)

        async def list(self) -> AsyncIterator[str]:
            return
            yield

        async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
            return
            yield

        async def list_dir(self, prefix: str) -> AsyncIterator[str]:
            return
            yield
