"""DVID's protocol: the metadata of an instance, and its voxels.

The server counts in x, y, z, everything here in z, y, x: only ``parse_info`` and the functions that make
URLs turn one into the other.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ...errors import StoreError, nearest
from ...model.threads import run_each
from .http import SHOWN, STEP, Body, NoSuchInstance, ending, fetch, get_json
from .versions import entry, quoted, require

#: Voxels along each axis of a piece: the server takes a lock of its own for requests of more than 256 cubed.
SIDE = 256
#: How many instances an error names.
LISTED = 8

GREY = ("uint8blk", "uint16blk", "uint32blk", "uint64blk", "float32blk", "rgba8blk")
LABELS = ("labelmap", "labelarray", "labelblk")
DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")

Box = tuple[tuple[int, ...], tuple[int, ...]]


@attrs.frozen
class Instance:
    """The metadata of a data instance, in z, y, x.

    Attributes:
        name: Of the instance.
        kind: Its ``TypeName``.
        data_uuid: The version in which it was created.
        dtype: Of the voxels, little-endian.
        channels: Names of the values of a voxel, None where there is one.
        block_size: Voxels of a block.
        voxel_size, units: As the server states them.
        begin, end: The corners of its voxels, in voxels; None where nothing was written.
        grid_store: True if the server reads another store for it, and delivers only whole blocks.
        scales: The number of levels that the server halves by itself, the first not counted.
        interpolable: True if its values may be interpolated.
    """

    name: str
    kind: str
    data_uuid: str
    dtype: np.dtype[Any]
    channels: tuple[str, ...] | None
    block_size: tuple[int, ...]
    voxel_size: Any
    units: Any
    begin: tuple[int, ...] | None
    end: tuple[int, ...] | None
    grid_store: bool
    scales: int
    interpolable: bool

    @property
    def is_labels(self) -> bool:
        return self.kind in LABELS

    @property
    def voxel_shape(self) -> tuple[int, ...]:
        """The shape of one voxel as it is sent: its channels, where there are any."""
        return () if self.channels is None else (len(self.channels),)


def get_instance(server: str, version: str, name: str) -> Instance:
    """The metadata of an instance, by one request. Raises StoreError."""
    return parse_info(get_json(f"{server}/api/node/{quoted(version)}/{quoted(name)}/info"), name)


def find_instance(server: str, version: str, name: str) -> Instance:
    """The metadata of an instance. If there is none of that name, the error names those that the repository has."""
    try:
        return get_instance(server, version, name)
    except NoSuchInstance:
        found = f"{name!r} in version {version} of {server}"
        raise NoSuchInstance("no such instance", found, _names_like(name, server, version)) from None


def _names_like(name: str, server: str, version: str) -> str | None:
    """The names most like a name, else the first ones, of the instances that can be read; None if they are not known."""
    try:
        instances = entry(get_json(f"{server}/api/repo/{quoted(version)}/info"), "DataInstances")
        require(isinstance(instances, Mapping), instances, "a table of instances")
        kinds = {other: entry(entry(info, "Base"), "TypeName") for other, info in instances.items()}
    except StoreError:
        return None  # that there is no such instance is known all the same
    names = sorted(other for other, kind in kinds.items() if kind in GREY + LABELS)
    return nearest(name, names) or ", ".join(names[:LISTED]) or "an instance of voxels: the repository has none"


def parse_info(info: Any, name: str) -> Instance:
    """An instance from the document that the server sends of it. Raises StoreError."""
    base, extended = entry(info, "Base"), entry(info, "Extended")
    require(isinstance(extended, Mapping), extended, "a table")
    kind = entry(base, "TypeName")
    if kind not in GREY + LABELS:
        raise StoreError(
            "cannot read that type of instance", found=f"{name!r} is {kind}", allowed=", ".join(GREY + LABELS)
        )
    values: Any = extended.get("Values") or (None if kind in GREY else [{"DataType": "uint64"}])
    require(
        isinstance(values, list) and all(isinstance(value, Mapping) for value in values), values, "a list of values"
    )
    names = {str(value.get("DataType")) for value in values}
    if len(names) != 1 or not names <= set(DTYPES):
        raise StoreError(
            "cannot read its values", found=f"{name!r} has {', '.join(sorted(names))}", allowed=", ".join(DTYPES)
        )
    labels = [str(value.get("Label") or i) for i, value in enumerate(values)]
    unique = labels if len(set(labels)) == len(labels) else list(map(str, range(len(labels))))
    grid_store = bool(extended.get("GridStore"))
    begin, end = _corners(info, extended, grid_store)
    scales = extended.get("MaxDownresLevel", 0)
    return Instance(
        name=name,
        kind=kind,
        data_uuid=str(base.get("DataUUID", "")),
        dtype=np.dtype(names.pop()).newbyteorder("<"),
        channels=tuple(unique) if len(unique) > 1 else None,
        block_size=_integers(entry(extended, "BlockSize"), "BlockSize", least=1),
        voxel_size=_reversed(extended.get("VoxelSize")),
        units=_reversed(extended.get("VoxelUnits")),
        begin=begin,
        end=end,
        grid_store=grid_store,
        scales=scales if isinstance(scales, int) and kind in ("labelmap", "labelarray") else 0,
        interpolable=extended.get("Interpolable") is not False,
    )


def _corners(info: Mapping[str, Any], extended: Mapping[str, Any], grid_store: bool) -> tuple[Any, Any]:
    """The first voxel and the one after the last; None, None where nothing was written."""
    for location in (extended, info.get("Extents") or {}):
        low, high = location.get("MinPoint"), location.get("MaxPoint")
        if low is not None and high is not None:
            begin, last = _integers(low, "MinPoint"), _integers(high, "MaxPoint")
            # MaxPoint is the last voxel; of a grid store the server puts the size there
            end = tuple(coordinate + (0 if grid_store else 1) for coordinate in last)
            if any(b >= e for b, e in zip(begin, end, strict=True)):
                raise StoreError("its extents are empty", found=f"MinPoint {low}, MaxPoint {high}", allowed="`extent=`")
            return begin, end
    return None, None


def read_box(url: str, instance: Instance, begin: Sequence[int], end: Sequence[int], query: Mapping[str, str]) -> Any:
    """The voxels between two corners, shape (z, y, x) and channels last, as little-endian numbers.

    Args:
        url: Of the instance.
        instance: Its metadata.
        begin, end: In voxels of the instance at the scale that the query names.
        query: Of every request; ``compression=gzip`` is undone here.
    """
    out = new_box(instance, [e - b for b, e in zip(begin, end, strict=True)])
    read = functools.partial(read_piece, url, instance, query, out, begin)
    run_each(read, pieces(instance, begin, end), remote=True)
    return out


def new_box(instance: Instance, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """Memory for a box of voxels."""
    # blocks that a grid store does not have are left out of its replies, and are 0
    new = np.zeros if instance.grid_store else np.empty
    return new((*shape, *instance.voxel_shape), instance.dtype)


def pieces(instance: Instance, begin: Sequence[int], end: Sequence[int]) -> list[Box]:
    """A box in parts of at most 256 voxels along each axis, cut where blocks begin; of a grid store in whole blocks."""
    axes = []
    for low, high, size in zip(begin, end, instance.block_size, strict=True):
        if instance.grid_store:
            low, high = low // size * size, -(-high // size) * size
        edges = [low]
        while edges[-1] < high:
            furthest = edges[-1] + (max(SIDE, size) if instance.grid_store else SIDE)
            aligned = furthest // size * size
            edges.append(min(high, aligned if aligned > edges[-1] else furthest))
        axes.append(list(itertools.pairwise(edges)))
    return [(tuple(a for a, _ in box), tuple(b for _, b in box)) for box in itertools.product(*axes)]


def read_piece(
    url: str, instance: Instance, query: Mapping[str, str], out: np.ndarray[Any, Any], origin: Sequence[int], piece: Box
) -> None:
    """Read a piece into its place in ``out``, which begins at ``origin``."""
    (_read_blocks if instance.grid_store else _read_raw)(url, instance, query, out, origin, piece)


def _read_raw(
    url: str, instance: Instance, query: Mapping[str, str], out: np.ndarray[Any, Any], origin: Sequence[int], piece: Box
) -> None:
    begin, end = piece
    shape = tuple(e - b for b, e in zip(begin, end, strict=True))
    target = out[tuple(slice(b - o, e - o) for b, e, o in zip(begin, end, origin, strict=True))]
    sent = shape
    aligned = all(b % size == 0 for b, size in zip(begin, instance.block_size, strict=True))
    if instance.kind == "labelmap" and shape == instance.block_size and aligned:
        # the server fails if exactly one block is requested that was never written; in larger requests it is 0
        sent = (*shape[:-1], shape[-1] + 1)
    plane = (*sent[1:], *instance.voxel_shape)
    planes = max(1, STEP // (math.prod(plane) * out.itemsize))

    def consume(body: Body) -> None:
        if sent == shape and target.flags.c_contiguous:
            body.fill(target)
            return
        buffer = np.empty((planes, *plane), out.dtype)
        for first in range(0, len(target), planes):
            part = target[first : first + planes]
            body.fill(buffer[: len(part)])
            part[...] = buffer[: len(part), :, : shape[-1]]

    address = f"{url}/raw/0_1_2/{_xyz(sent)}/{_xyz(begin)}{_query(query)}"
    fetch(address, consume, gunzip=query.get("compression") == "gzip")


def _read_blocks(
    url: str, instance: Instance, query: Mapping[str, str], out: np.ndarray[Any, Any], origin: Sequence[int], piece: Box
) -> None:
    """Whole blocks of a piece, and again one by one those that a reply for several blocks left out."""
    size = instance.block_size
    ranges = [range(b // n, e // n) for b, e, n in zip(*piece, size, strict=True)]
    expected = set(itertools.product(*ranges))
    delivered: set[tuple[int, ...]] = set()
    block_bytes = math.prod((*size, *instance.voxel_shape)) * out.itemsize

    def consume(body: Body) -> None:
        delivered.clear()
        for position, count, data in _blocks_of(body, block_bytes):
            if position not in expected or position in delivered or count != block_bytes:
                text = ending(bytes(data[-SHOWN:]))
                raise StoreError("the reply has a block that was not requested", f"{position}, {count} bytes{text}")
            block = np.frombuffer(data, out.dtype).reshape(*size, *instance.voxel_shape)
            delivered.add(position)
            corner = [p * n - o for p, n, o in zip(position, size, origin, strict=True)]
            inside = [(max(c, 0), min(c + n, s)) for c, n, s in zip(corner, size, out.shape, strict=False)]
            target = tuple(slice(a, b) for a, b in inside)
            out[target] = block[tuple(slice(a - c, b - c) for (a, b), c in zip(inside, corner, strict=True))]

    shape = tuple(e - b for b, e in zip(*piece, strict=True))
    fetch(f"{url}/subvolblocks/{_xyz(shape)}/{_xyz(piece[0])}?compression=uncompressed", consume)
    if len(expected) > 1:
        for position in sorted(expected - delivered):
            begin = tuple(p * n for p, n in zip(position, size, strict=True))
            end = tuple(b + n for b, n in zip(begin, size, strict=True))
            _read_blocks(url, instance, query, out, origin, (begin, end))


def _blocks_of(body: Body, block_bytes: int) -> Iterator[tuple[tuple[int, ...], int, memoryview]]:
    """For each block of a reply: its position, its number of bytes as stated, and its voxels."""
    length = 16 + block_bytes
    buffer = memoryview(bytearray(max(1, STEP // length) * length))
    while size := body.read_into(buffer):
        for begin in range(0, size, length):
            block = buffer[begin : min(begin + length, size)]
            if len(block) < length:
                raise StoreError("the reply ends within a block", found=f"{len(block)} bytes{ending(bytes(block))}")
            x, y, z, count = np.frombuffer(block, "<i4", 4).tolist()
            yield (z, y, x), count, block[16:]


def instance_url(server: str, uuid: str, name: str) -> str:
    return f"{server}/api/node/{quoted(uuid)}/{quoted(name)}"


def _query(query: Mapping[str, str]) -> str:
    return "?" + "&".join(f"{key}={value}" for key, value in query.items()) if query else ""


def _xyz(values: Sequence[int]) -> str:
    return "_".join(str(value) for value in reversed(values))


def _reversed(value: Any) -> Any:
    return value[::-1] if isinstance(value, list) else value


def _integers(value: Any, name: str, least: int | None = None) -> tuple[int, ...]:
    """Three integers, in z, y, x."""
    good = isinstance(value, list) and len(value) == 3 and all(type(number) is int for number in value)
    require(good and (least is None or min(value) >= least), {name: value}, "three integers")
    return tuple(reversed(value))
