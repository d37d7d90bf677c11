"""N5 arrays written and read by a simple implementation, which the reader is compared with."""

from __future__ import annotations

import gzip
import itertools
import json
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

COMPRESSORS: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "raw": (bytes, bytes),
    "gzip": (gzip.compress, gzip.decompress),
}


def write_n5(
    folder: Path,
    data: np.ndarray[Any, Any],
    chunks: Sequence[int],
    attributes: Mapping[str, Any] | None = None,
    *,
    compression: str = "raw",
    short: bool = True,
    absent: Collection[tuple[int, ...]] = (),
) -> Path:
    """An N5 array of voxels along z, y, x; its last blocks may be ``short``, or as long as all others."""
    folder.mkdir(parents=True)
    document = {
        "dimensions": data.shape[::-1],
        "blockSize": list(chunks)[::-1],
        "dataType": data.dtype.name,
        "compression": {"type": compression},
        **(attributes or {}),
    }
    (folder / "attributes.json").write_text(json.dumps(document))
    grid = [range(-(-n // c)) for n, c in zip(data.shape, chunks, strict=True)]
    for index in itertools.product(*grid):
        if index in absent:
            continue
        block = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        if not short:
            block = np.pad(block, [(0, c - n) for c, n in zip(chunks, block.shape, strict=True)])
        path = folder.joinpath(*map(str, index[::-1]))
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = COMPRESSORS[compression][0](block.astype(block.dtype.newbyteorder(">")).tobytes())
        path.write_bytes(struct.pack(f">HH{block.ndim}I", 0, block.ndim, *block.shape[::-1]) + voxels)
    return folder


def read_n5(folder: Path) -> np.ndarray[Any, Any]:
    """All voxels along z, y, x of an array that ``write_n5`` wrote."""
    document = json.loads((folder / "attributes.json").read_text())
    size, decompress = document["blockSize"], COMPRESSORS[document["compression"]["type"]][1]
    data = np.zeros(document["dimensions"], document["dataType"])
    grid = [range(-(-n // c)) for n, c in zip(data.shape, size, strict=True)]
    for index in itertools.product(*grid):
        path = folder.joinpath(*map(str, index))
        if path.exists():
            content, begin = path.read_bytes(), 4 + 4 * data.ndim
            shape = struct.unpack(f">{data.ndim}I", content[4:begin])
            block = np.frombuffer(decompress(content[begin:]), data.dtype.newbyteorder(">")).reshape(shape, order="F")
            part = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, size, strict=True))]
            part[...] = block[tuple(map(slice, part.shape))]
    return data.T
