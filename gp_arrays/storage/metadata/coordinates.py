"""Coordinate arrays: one-dimensional arrays that describe the axes of the arrays beside them. They are decoded without zarr.

They are read when an array is opened. TensorStore must not be used then, because processes are forked later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numcodecs
import numpy as np

from ...errors import StoreError
from ..access.chunk_files import read_file
from ..access.remote import StorePath
from .codecs import OtherCodecError, byte_steps
from .document_values import to_shape
from .documents import ArrayNode, read_json
from .keys import ChunkKeys, keys_v2, keys_v3


@attrs.frozen
class Coordinates:
    """The coordinates along an axis, numbers or texts, and their attributes."""

    values: Sequence[Any]
    attrs: Mapping[str, Any]


def dimension_names(node: ArrayNode) -> list[str] | None:
    """Names of the axes of an array as xarray gives them, or None."""
    for names in (node.attrs.get("_ARRAY_DIMENSIONS"), node.document.get("dimension_names")):
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
            return list(names)
    return None


def coordinates_beside(root: StorePath, node: ArrayNode, name: str, length: int) -> Coordinates | None:
    """The coordinates of an axis, from the array of its name beside another array; None where there are none.

    Raises:
        StoreError: They exist and cannot be read.
        ValueError: They exist and cannot be decoded.
    """
    folder = root / node.path.rpartition("/")[0] if "/" in node.path else root
    if not name or "/" in name or name == node.path.rpartition("/")[2]:
        return None
    folder = folder / name
    document = read_json(folder / "zarr.json")
    try:
        if document is not None:
            if document["node_type"] != "array" or document["shape"] != [length]:
                return None
            (chunk,) = to_shape(document["chunk_grid"]["configuration"]["chunk_shape"])
            values = _values(folder, length, chunk, keys_v3(document, 1), document, _decode_v3)
            return Coordinates(values, document.get("attributes") or {})
        document = read_json(folder / ".zarray")
        if document is None or document["shape"] != [length]:
            return None
        (chunk,) = to_shape(document["chunks"])
        values = _values(folder, length, chunk, keys_v2(document, folder, 1), document, _decode_v2)
        return Coordinates(values, read_json(folder / ".zattrs") or {})
    except StoreError:
        raise
    except Exception as error:  # codecs have errors of many types
        raise ValueError(f"coordinates {folder}: {type(error).__name__}: {error}") from None


def _values(
    folder: StorePath, length: int, chunk: int, keys: ChunkKeys, document: Mapping[str, Any], decode: Any
) -> list[Any]:
    values: list[Any] = []
    for number in range(math.ceil(length / chunk)):
        data = read_file(folder / keys.key((number,)))
        values.extend([document.get("fill_value") or 0] * chunk if data is None else decode(data, document)[:chunk])
    return values[:length]


def _decode_v2(data: Any, document: Mapping[str, Any]) -> Sequence[Any]:
    for codec in (document.get("compressor"), *reversed(document.get("filters") or ())):
        if codec is not None:
            data = numcodecs.get_codec(dict(codec)).decode(data)
    dtype = np.dtype(document["dtype"])
    return list(data if dtype.kind == "O" else np.frombuffer(data, dtype))


def _decode_v3(data: Any, document: Mapping[str, Any]) -> Sequence[Any]:
    kind, (array_codec, *byte_codecs) = document["data_type"], document["codecs"]
    name, options = array_codec["name"].removeprefix("numcodecs."), array_codec.get("configuration") or {}
    for step in byte_steps(byte_codecs, few_bytes=True):
        data = step(data)
    if name == "vlen-utf8":
        return list(numcodecs.VLenUTF8().decode(data))
    if name != "bytes":
        raise OtherCodecError(name)
    dtype = np.dtype(f"U{kind['configuration']['length_bytes'] // 4}" if isinstance(kind, Mapping) else kind)
    return list(np.frombuffer(data, dtype.newbyteorder(">" if options.get("endian") == "big" else "<")))
