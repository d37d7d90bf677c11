"""Data instances of the DVID server for tests: what they say of themselves, and their voxels."""

from __future__ import annotations

import gzip
import itertools
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

LABELS = ("labelmap", "labelarray", "labelblk")


class Refused(Exception):
    """A reply other than 200: status and message."""


@attrs.define(eq=False)
class FakeInstance:
    """A data instance. All tuples are in z, y, x.

    Attributes:
        data: Voxels (z, y, x), of colours (z, y, x, c). Of size 0 where nothing was written.
        begin: The first voxel.
        kind: The ``TypeName``.
        supervoxels: Of a labelmap: ids before bodies were merged.
        levels: Of a labelmap or labelarray: how many times the server halves it.
        absent: Blocks that were never written: 0, and left out where blocks are sent.
        grid_store: Whether it stands for another store, so that blocks alone are sent.
        unreliable: Whether a reply for several blocks leaves out one that is there.
        limit: Bytes of voxels above which a request is refused (a real server: 3 GiB).
    """

    data: np.ndarray[Any, Any]
    begin: tuple[int, ...] = (0, 0, 0)
    kind: str = "uint8blk"
    block: tuple[int, ...] = (32, 32, 32)
    voxel_size: tuple[float, ...] = (8, 8, 8)
    units: tuple[str, ...] = ("nanometers", "nanometers", "nanometers")
    supervoxels: np.ndarray[Any, Any] | None = None
    levels: int = 0
    absent: tuple[tuple[int, ...], ...] = ()
    grid_store: bool = False
    unreliable: bool = False
    limit: int = 3 * 2**30

    @property
    def end(self) -> tuple[int, ...]:
        """The voxel after the last."""
        return tuple(b + n for b, n in zip(self.begin, self.data.shape, strict=False))

    def info(self) -> dict[str, Any]:
        """What ``/info`` sends, in x, y, z."""
        low: Any = None
        high: Any = None
        if self.data.size:
            low = list(reversed(self.begin))
            high = [e if self.grid_store else e - 1 for e in reversed(self.end)]
        labels = ["red", "green", "blue", "alpha"] if self.kind == "rgba8blk" else [self.data.dtype.name]
        extended: dict[str, Any] = {
            "Values": [{"DataType": self.data.dtype.name, "Label": label} for label in labels],
            "Interpolable": self.kind not in LABELS,
            "BlockSize": list(reversed(self.block)),
            "VoxelSize": list(reversed(self.voxel_size)),
            "VoxelUnits": list(reversed(self.units)),
            "MinPoint": low,
            "MaxPoint": high,
            "MinIndex": low and [p // b for p, b in zip(low, reversed(self.block), strict=True)],
            "MaxIndex": high and [p // b for p, b in zip(high, reversed(self.block), strict=True)],
            "Background": 0,
            "GridStore": "precomputed" if self.grid_store else "",
        }
        if self.kind in ("labelmap", "labelarray"):
            extended |= {"MaxDownresLevel": self.levels, "MaxLabel": {"1": 7}, "IndexedLabels": True}
        base = {"TypeName": self.kind, "Name": "unused", "DataUUID": "d" * 32, "Versioned": True, "Syncs": []}
        extents = {} if self.kind == "labelblk" else {"Extents": {"MinPoint": low, "MaxPoint": high}}
        return {"Base": base, "Extended": extended, **extents}

    def raw(self, parts: Sequence[str], query: Mapping[str, str]) -> bytes:
        """The body of ``/raw/{dims}/{size}/{offset}``. Raises Refused."""
        if self.grid_store:
            raise Refused(400, "Data does not support /raw endpoint since it is proxying data")
        if parts[0] not in ("0_1_2", "vol", "0,1,2"):
            raise Refused(400, f"bad dims {parts[0]}")
        shape, begin = _zyx(parts[1]), _zyx(parts[2])
        if min(shape) < 1:
            raise Refused(400, "Illegal geometry requested")
        count = int(np.prod(shape + self.data.shape[3:])) * self.data.itemsize
        if count > self.limit:
            raise Refused(400, f"Requested payload ({count} bytes) exceeds this DVID server's set limit ({self.limit})")
        scale = int(query.get("scale", "0")) if self.kind in ("labelmap", "labelarray") else 0
        compression = query.get("compression", "") if self.kind in LABELS else ""
        if compression not in ("", "gzip"):
            raise Refused(400, f"unknown compression {compression}")
        block = tuple(b // n for b, n in zip(begin, self.block, strict=True))
        aligned = begin == tuple(p * n for p, n in zip(block, self.block, strict=True))
        if self.kind == "labelmap" and aligned and shape == self.block and not self.was_written(block, scale):
            if compression:
                raise Refused(400, f"unable to get label block {block}")
            raise Refused(500, "Panic detected on request: nil pointer dereference")
        voxels = self.voxels(begin, shape, scale, self.kind == "labelmap" and query.get("supervoxels") == "true")
        return gzip.compress(_bytes(voxels), 1) if compression else _bytes(voxels)

    def blocks(self, parts: Sequence[str]) -> bytes:
        """The body of ``/subvolblocks/{size}/{offset}``: blocks that were written, in no order to rely on."""
        shape, begin = _zyx(parts[0]), _zyx(parts[1])
        if any(b % n or s % n for b, s, n in zip(begin, shape, self.block, strict=True)):
            raise Refused(400, "subvolblocks needs block-aligned geometry")
        ranges = [range(b // n, (b + s) // n) for b, s, n in zip(begin, shape, self.block, strict=True)]
        stream = []
        for block in reversed(list(itertools.product(*ranges))):
            if self.was_written(block, 0):
                corner = tuple(p * n for p, n in zip(block, self.block, strict=True))
                body = _bytes(self.voxels(corner, self.block, 0, False))
                stream.append(struct.pack("<4i", *reversed(block), len(body)) + body)
        return b"".join(stream[1:] if self.unreliable and len(stream) > 1 else stream)

    def voxels(self, begin: Any, shape: Any, scale: int, supervoxels: bool) -> np.ndarray[Any, Any]:
        """A box; what lies outside or was never written is 0."""
        data = self.supervoxels if supervoxels and self.supervoxels is not None else self.data
        out = np.zeros((*shape, *data.shape[3:]), data.dtype)
        if scale > self.levels:
            return out
        picked = []
        for first, count, own, end in zip(begin, shape, self.begin, self.end, strict=True):
            # a coarse voxel is its first fine one; at the near border, the first that there is
            coarse = np.arange(first, first + count)
            inside = (coarse >= own >> scale) & (coarse <= (end - 1) >> scale)
            picked.append((np.flatnonzero(inside), np.maximum((coarse[inside] << scale) - own, 0)))
        out[np.ix_(*(to for to, _ in picked))] = data[np.ix_(*(source for _, source in picked))]
        for block in self.absent if scale == 0 else ():
            lost = [(p * n - b, (p + 1) * n - b) for p, n, b in zip(block, self.block, begin, strict=True)]
            out[tuple(slice(max(a, 0), max(b, 0)) for a, b in lost)] = 0
        return out

    def was_written(self, block: tuple[int, ...], scale: int) -> bool:
        """Whether any voxel of a block was."""
        if scale > self.levels or (scale == 0 and block in self.absent):
            return False
        return all(
            p * n <= (e - 1) >> scale and (p + 1) * n > b >> scale
            for p, n, b, e in zip(block, self.block, self.begin, self.end, strict=True)
        )


def _bytes(voxels: np.ndarray[Any, Any]) -> bytes:
    return voxels.astype(voxels.dtype.newbyteorder("<"), copy=False).tobytes()


def _zyx(text: str) -> tuple[int, ...]:
    if re.fullmatch(r"-?\d+_-?\d+_-?\d+", text) is None:
        raise Refused(400, f"bad geometry {text}")
    return tuple(int(number) for number in reversed(text.split("_")))
