"""Creates, replaces and removes arrays and groups; on a disk each at once or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ...errors import ConfigError, StoreError, quoted
from ...model.fields import is_path
from ..access.chunk_files import is_there
from ..access.files import error_text
from ..access.remote import RemotePath, StorePath
from ..metadata import n5
from ..metadata.attributes import require_json, write_json
from ..metadata.document_values import to_fill_value
from ..metadata.documents import has_document
from ..metadata.keys import N5
from .array_files import DOCUMENTS, FORMATS
from .remote_create import remove_array
from .replace import NEW, remove_leftovers, swap_in

#: How chunks are compressed, as metadata of Zarr v2 and of v3 say it.
_CODECS_V2: dict[str, dict[str, Any] | None] = {
    "zstd": {"id": "zstd", "level": 3},
    "blosc": {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2, "blocksize": 0},
    "gzip": {"id": "gzip", "level": 5},
    "none": None,
}
_CODECS_V3: dict[str, dict[str, Any] | None] = {
    "zstd": {"level": 3, "checksum": True},
    "blosc": {"cname": "zstd", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0},
    "gzip": {"level": 5},
    "none": None,
}
COMPRESSORS = tuple(_CODECS_V2)


@attrs.frozen
class NewArray:
    """An array that is to be created: all that its metadata documents say. Raises ConfigError.

    Attributes:
        shape, chunks, shards: In voxels. None for shards if chunks do not lie in shards, which only Zarr v3 has.
        attributes: All attributes.
        axes: Names of the axes, which only the documents of Zarr v3 have.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any]
    compressor: str = "zstd"
    format: int = 2
    shards: tuple[int, ...] | None = None
    fill_value: Any = 0
    axes: Sequence[str] | None = None

    def __attrs_post_init__(self) -> None:
        require_encoding(self.compressor, self.format)
        try:
            to_fill_value(self.fill_value, self.dtype)
        except (ValueError, OverflowError) as error:
            raise ConfigError("the fill_value does not fit the dtype", found=str(error)) from None
        require_json(self.attributes)

    def write(self, folder: StorePath) -> None:
        """Write the metadata documents into a new folder, last the one that makes it an array."""
        common: dict[str, Any] = {
            "zarr_format": self.format,
            "shape": list(self.shape),
            "fill_value": _fill_text(to_fill_value(self.fill_value, self.dtype)),
        }
        if self.format == 2:
            document = {
                **common,
                "chunks": list(self.chunks),
                "dtype": self.dtype.str,
                "order": "C",
                "filters": None,
                "compressor": _CODECS_V2[self.compressor],
                "dimension_separator": "/",
            }
            write_json(folder / ".zattrs", self.attributes)
            write_json(folder / ".zarray", document)
            return
        document = {
            **common,
            "node_type": "array",
            "data_type": self.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.shards or self.chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": self._codecs(),
            "attributes": self.attributes,
            **({} if self.axes is None else {"dimension_names": list(self.axes)}),
        }
        write_json(folder / "zarr.json", document)

    def _codecs(self) -> list[dict[str, Any]]:
        to_bytes: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
        options = _CODECS_V3[self.compressor]
        if self.compressor == "blosc":
            options = {**(options or {}), "typesize": self.dtype.itemsize}
        codecs = [to_bytes, *([] if options is None else [{"name": self.compressor, "configuration": options}])]
        if self.compressor in ("blosc", "none"):  # the others have a checksum of their own
            codecs.append({"name": "crc32c"})
        if self.shards is None:
            return codecs
        sharding = {
            "chunk_shape": list(self.chunks),
            "codecs": codecs,
            "index_codecs": [to_bytes, {"name": "crc32c"}],
            "index_location": "end",
        }
        return [{"name": "sharding_indexed", "configuration": sharding}]


def require_encoding(compressor: str, format: int) -> None:
    """Raises ConfigError for a compressor or a Zarr format that cannot be written."""
    if compressor not in COMPRESSORS:
        raise ConfigError("unknown compressor", found=quoted(compressor), allowed=", ".join(COMPRESSORS))
    if format not in FORMATS:
        raise ConfigError(
            "a Zarr format that the installed zarr does not write",
            found=quoted(format),
            allowed=", ".join(map(str, FORMATS)),
        )


def require_dataset_path(dataset: str) -> None:
    """Raises ConfigError for a path that no array within a store can have."""
    parts = dataset.split("/") if dataset else []
    # zarr 2 reads a backslash as a slash
    if any(part.startswith(".") or part in DOCUMENTS or not is_path(part) or "\\" in part for part in parts):
        raise ConfigError("not a path in a store", found=quoted(dataset), allowed='such as "labels/neurons"')


def _fill_text(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def create_array(root: StorePath, path: str, array: NewArray, replace: bool = False) -> None:
    """Create an array, with the groups above it. With ``replace`` what is there is replaced.

    On a disk it is created in a hidden folder beside its final one and then renamed: whenever the program is
    stopped, there is the earlier array or the new one. In a remote store what was there is removed first.
    Raises StoreError.
    """
    require_one_format(root, path, array.format)
    if isinstance(root, RemotePath):
        if path:
            create_group(root, path.rpartition("/")[0], array.format)
        if replace:
            remove_array(root / path)
        array.write(root / path)
        return
    with hidden_folders(root, [path], array.format) as hidden:
        ((folder, new),) = hidden.items()
        array.write(new)
        if replace:
            swap_in(new, folder)
        else:
            new.rename(folder)


@contextlib.contextmanager
def hidden_folders(root: Path, paths: Sequence[str], format: int) -> Iterator[dict[Path, Path]]:
    """Creates a hidden folder beside that of each path, and the groups above. Returns them by the folders of the paths.

    The block fills them and puts them in place with ``swap_in``. After it what is then hidden, earlier arrays, is removed;
    if it fails, all that was created is removed. Raises StoreError.
    """
    hidden: dict[Path, Path] = {}
    with _all_or_nothing(", ".join(str(root / path) for path in paths), hidden.values()) as created:
        for path in paths:
            folder = Path(os.path.realpath(root / path))
            _make_groups(root, _folders_to(root, path)[:-1], format, created)
            remove_leftovers(folder)
            new = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}{NEW}")
            new.mkdir()
            hidden[folder] = new
            created.append(new)
        yield hidden
    for earlier in hidden.values():
        shutil.rmtree(earlier, ignore_errors=True)


def create_group(root: StorePath, path: str, format: int) -> None:
    """Create a group where there is none, with those above it. Raises StoreError."""
    require_one_format(root, path, format)
    groups = _folders_to(root, path)
    if isinstance(root, RemotePath):
        for group in filterfalse(has_document, groups):
            _write_group(group, format)
        return
    with _all_or_nothing(root / path) as created:
        _make_groups(root, groups, format, created)


def _folders_to(root: StorePath, path: str) -> list[Any]:
    """The store and the folders in it that lead to a path, that of the path included."""
    parts = path.split("/") if path else []
    return [root.joinpath(*parts[:count]) for count in range(len(parts) + 1)]


def _write_group(folder: StorePath, format: int) -> None:
    group: dict[str, Any] = {"zarr_format": format}
    if format == 2:
        write_json(folder / ".zgroup", group)
    else:
        write_json(folder / "zarr.json", {**group, "node_type": "group", "attributes": {}})


def _make_groups(root: Path, groups: Sequence[Path], format: int, created: list[Path]) -> None:
    """Create the folders above a store, and groups in it, one below the other."""
    for folder in (*reversed(root.parents), *groups):
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            created.append(folder)
        if folder in groups and not has_document(folder):
            created.append(folder / (".zgroup" if format == 2 else "zarr.json"))
            _write_group(folder, format)


@contextlib.contextmanager
def _all_or_nothing(location: object, hidden: Collection[Path] = ()) -> Iterator[list[Path]]:
    """If the block fails, remove what was created: the paths in the list that it gets.

    Hidden folders are renamed when all is complete: once one of them has gone, everything stays.
    """
    created: list[Path] = []
    try:
        yield created
    except BaseException as error:
        if all(new.exists() for new in hidden):
            for path in reversed(created):
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path in hidden else path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError("cannot create", found=error_text(location, error)) from error
        raise


def require_one_format(root: StorePath, path: str, format: int) -> None:
    """Raises StoreError where a store is of the other format: readers would miss a part of it."""
    for folder in _folders_to(root, path):
        documents: dict[str, int | str] = {"zarr.json": 3, ".zgroup": 2, ".zarray": 2, n5.ATTRIBUTES: N5}
        existing = next((documents[name] for name in documents if is_there(folder / name)), format)
        if existing != format:
            raise StoreError(
                f"the store is {'N5' if existing == N5 else f'Zarr v{existing}'}",
                found=f"zarr_format {format} for {root / path}",
                allowed="another store" if existing == N5 else f"zarr_format {existing}; another store",
            )
