"""Zarr stores written byte by byte, without zarr: what a source is tested against."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_plain_zarr(
    folder: str | Path,
    data: np.ndarray[Any, Any],
    chunks: Sequence[int],
    attributes: Mapping[str, Any],
    *,
    zarr_format: int = 2,
    order: str = "C",
    separator: str = "/",
    absent: Collection[tuple[int, ...]] = (),
    fill_value: Any = 0,
) -> Path:
    """Write an uncompressed Zarr array and return its folder.

    Args:
        folder: The folder of the array. It is created.
        data: The voxels, of any dtype and byte order; zarr_format 3 stores them little-endian.
        chunks: The shape of a chunk.
        attributes: The attributes of the array.
        zarr_format: 2 or 3. Format 3 has neither ``order`` nor ``separator``.
        order: The order of the voxels within a chunk, "C" or "F".
        separator: The separator of chunk keys.
        absent: Indices of chunks that are not written: their voxels read as ``fill_value``.
        fill_value: The fill value in the metadata.

    >>> import tempfile, gp_arrays as gpa
    >>> store = Path(tempfile.mkdtemp())
    >>> _ = write_plain_zarr(store / "a", np.arange(6).reshape(2, 3), (2, 2), {"voxel_size": [1, 1]})
    >>> gpa.open_zarr(store, "a")[:].tolist()
    [[0, 1, 2], [3, 4, 5]]
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    if zarr_format == 2:
        document: dict[str, Any] = {
            "zarr_format": 2,
            "shape": data.shape,
            "chunks": list(chunks),
            "dtype": data.dtype.str,
            "order": order,
            "fill_value": fill_value,
            "compressor": None,
            "filters": None,
            "dimension_separator": separator,
        }
        (folder / ".zarray").write_text(json.dumps(document))
        (folder / ".zattrs").write_text(json.dumps(dict(attributes)))
    else:
        data = data.astype(data.dtype.newbyteorder("<"))
        document = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": data.shape,
            "data_type": data.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "fill_value": bool(fill_value) if data.dtype == bool else fill_value,
            "attributes": dict(attributes),
        }
        (folder / "zarr.json").write_text(json.dumps(document))
    for index in itertools.product(*(range(-(-n // c)) for n, c in zip(data.shape, chunks, strict=True))):
        if index in absent:
            continue
        inside = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        chunk = np.zeros(chunks, data.dtype)
        chunk[tuple(slice(0, n) for n in inside.shape)] = inside
        key = (separator if zarr_format == 2 else "/").join(map(str, index))
        path = folder / (key if zarr_format == 2 else f"c/{key}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chunk.tobytes("F" if zarr_format == 2 and order == "F" else "C"))
    return folder
