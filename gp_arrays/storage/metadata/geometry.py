"""The position of the voxels of a stored array, from its metadata and from what the user says instead."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from ...errors import ConfigError, GpArraysError, StoreError, quoted
from ...model.fields import VoxelSize
from ...units import DEFAULT_UNIT, Quantity, in_unit, without_noise
from ..access.remote import StorePath
from .axes import roles_of
from .dialects import DIALECTS
from .dialects.lengths import Lengths, lengths_of
from .dialects.reading import AS_STORED, X_FIRST, Described, Dialect, Level, Reading
from .dialects.unknown import unknown_offsets, unknown_sizes, unknown_units
from .dialects.xarray_ import PACKED
from .documents import ArrayNode, ChunkedNode, datasets, find_node
from .keys import N5
from .pyramids import level_of_size, pyramid_at

logger = logging.getLogger(__name__)

REMEDY = "`voxel_size=` and `offset=` override the metadata"

#: The user is told of more spatial axes than these: usually one of them is something else.
DIMS = 3
#: Errors that malformed metadata cause.
_MALFORMED = (ConfigError, ValueError, KeyError, TypeError, IndexError, AttributeError)


@attrs.frozen
class Override:
    """What the user says of an array; None for what is left to its metadata.

    ``unit`` is that of bare lengths here and of all lengths of the metadata.
    """

    voxel_size: tuple[Quantity, ...] | None = None
    offset: tuple[Quantity, ...] | None = None
    axes: Sequence[str] | None = None
    unit: str | None = None


@attrs.frozen
class Geometry:
    """The position of the voxels of a stored array.

    Attributes:
        axes: Names of all axes in the store's order; non-spatial ones as ``s``, ``c``, ``t``.
        nonspatial: For each axis True if it is not spatial.
        voxel_size, offset: Per spatial axis, in the store's order. Bare lengths of the user have no unit.
        squeeze: True if non-spatial axes of length 1 are left out (multiscale stores).
        dialect: Who writes such metadata as tell the voxel size; None where none do.
        assumed: What is assumed because neither the metadata nor the user say it.
    """

    axes: tuple[str, ...]
    nonspatial: tuple[bool, ...]
    voxel_size: tuple[Quantity, ...]
    offset: tuple[Quantity, ...]
    squeeze: bool = False
    dialect: str | None = None
    assumed: tuple[str, ...] = ()


def read_geometry(root: StorePath, node: ArrayNode, override: Override | None = None) -> Geometry:
    """The geometry of an array, from its attributes, the groups above it and the files beside it.

    Args:
        root: The store.
        node: The array.
        override: What the user says of it. It wins, also over metadata that cannot be understood.

    Raises:
        StoreError: Metadata that are malformed, contradict each other or are not understood.
        TreeError: Axes of the user that do not fit the array.
    """
    override = override or Override()
    location, problems = f"{root}/{node.path}", list[StoreError]()
    described = Described.of(root, node)
    readings = list(_readings(described, override, location, problems))
    axes, nonspatial, kinds = _roles(readings, override, len(node.shape), location)
    lengths: list[Lengths] = []
    for dialect, reading in readings:
        if reading.levels:
            try:
                lengths.append(lengths_of(dialect, reading, nonspatial, kinds, override.unit))
            except _MALFORMED as error:
                problems.append(_malformed(error, location, dialect))
    sized = [each for each in lengths if each.voxel_size is not None and not each.relative]
    if override.voxel_size is None:
        _require_agreement(sized, problems, location)
    first = sized[0].with_units_of(sized[1:]) if sized else None
    spatial = [name for name, lead in zip(axes, nonspatial, strict=True) if not lead]
    sizes, assumed = _voxel_size(first, lengths, override, spatial)
    offset = override.offset or next(
        (each.offset for each in [*([first] if first else []), *lengths] if each.offset), None
    )
    unknown = [] if override.offset or any(each.offset for each in lengths) else unknown_offsets(node.attrs)
    if override.voxel_size is None and (unknown := [*_unknown_lengths(described, sized), *unknown]):
        raise StoreError("metadata that are not understood", f"{', '.join(unknown)} in {location}", REMEDY)
    if offset is None and (problems or unknown):
        assumed.append("no offset that can be read: 0 assumed")
    if offset is None:
        offset = (Quantity.parse(0),) * len(sizes)
    if len(spatial) > DIMS and not override.axes:
        assumed.append(f"spatial axes {', '.join(spatial)}: `axes=` says if some are not")
    packed = [f"{key} {quoted(node.attrs[key])}" for key in PACKED if key in node.attrs]
    if packed:
        assumed.append(f"voxels as they are stored, without {', '.join(packed)}")
    for text in assumed:
        logger.warning("%s: %s", location, text)
    if first is not None and not first.has_units:
        logger.info("%s says no unit: taken as %s", location, DEFAULT_UNIT)
    return Geometry(
        axes,
        nonspatial,
        *without_noise(sizes, _in_unit(offset, sizes, override)),
        any(reading.squeeze for _, reading in readings),
        None if first is None or override.voxel_size is not None else first.dialect,
        tuple(assumed),
    )


def find_array(
    root: StorePath, dataset: str, scale: int | VoxelSize | None, unit: str, override: Override
) -> ChunkedNode:
    """The array at a path, or the level of the pyramid there.

    Args:
        root: The store.
        dataset: The path in it.
        scale: The number of the level, or the largest voxel size; None for the finest level, or an array alone.
        unit: The unit of bare lengths of ``scale``.
        override: What the user says of the levels.

    Raises:
        StoreError: There is no such array, or no such level.
    """
    pyramid = pyramid_at(root, dataset)
    if pyramid is None:
        node = find_node(root, dataset)
        if not isinstance(node, ChunkedNode):
            inside = [path for path in datasets(root) if not dataset or path.startswith(f"{dataset}/")]
            raise StoreError("a group, not an array", f"{dataset!r} in {root}", ", ".join(inside[:8]) or None)
        if scale not in (None, 0):
            raise StoreError("scale picks a level of a pyramid", f"{dataset!r} is an array", "a multiscale group")
        return node
    levels = list[ChunkedNode]()
    for path in pyramid.levels:
        level = find_node(root, f"{dataset}/{path}".strip("/"))
        if not isinstance(level, ChunkedNode):
            raise StoreError("a level of the pyramid is a group, not an array", found=f"{root}/{level.path}")
        levels.append(level)
    number = scale or 0
    if isinstance(number, VoxelSize):
        sizes = [read_geometry(root, level, override).voxel_size for level in levels]
        number = level_of_size(sizes, number, unit)
    if not 0 <= number < len(levels):
        raise StoreError("the pyramid has no such scale", found=scale, allowed=f"0 to {len(levels) - 1}")
    return levels[number]


def _readings(
    described: Described, override: Override, location: str, problems: list[StoreError]
) -> Iterator[tuple[Dialect, Reading]]:
    """What each dialect says of an array. Attributes that one dialect has understood are hidden from the next ones."""
    sized = override.voxel_size is not None and override.offset is not None
    for dialect in DIALECTS:
        if dialect.last_resort and sized:
            continue
        reading = None
        try:
            reading = dialect.read(described)
        except (GpArraysError, *_MALFORMED) as error:
            if not (dialect.cured_by_axes and override.axes):
                problems.append(_malformed(error, location, dialect))
        else:
            if reading is None:
                continue
        described = described.without(dialect.keys)
        if reading is not None:
            sized = sized or (reading.has_size and not reading.relative)
            x_first = dialect.order == X_FIRST or (dialect.order == AS_STORED and described.node.format == N5)
            yield dialect, _turned(reading) if x_first else reading


def _turned(reading: Reading) -> Reading:
    """The same with all lists in the opposite order."""

    def turn(values: Any) -> Any:
        return list(values)[::-1] if isinstance(values, (list, tuple)) else values

    levels = [Level(turn(level.size), turn(level.position)) for level in reading.levels]
    names, kinds, units = turn(reading.names), turn(reading.kinds), turn(reading.units)
    return attrs.evolve(reading, names=names, kinds=kinds, levels=levels, units=units)


def _malformed(error: Exception, location: str, dialect: Dialect) -> StoreError:
    problem, found, allowed = "malformed geometry", str(error), None
    if isinstance(error, GpArraysError):
        problem = error.problem if isinstance(error, StoreError) else f"{problem}: {error.problem}"
        found, allowed = error.found or "", error.allowed
    elif isinstance(error, KeyError):
        found = f"no {error}"
    elif type(error) is not ValueError:
        found = f"{type(error).__name__}: {error}"
    remedy = f"`axes=` overrides its names, {REMEDY}" if dialect.cured_by_axes else REMEDY
    return StoreError(
        problem, f"{found} in {location}, read as {dialect.name}", "; ".join(filter(None, [allowed, remedy]))
    )


def _roles(
    readings: Sequence[tuple[Dialect, Reading]], override: Override, ndim: int, location: str
) -> tuple[tuple[str, ...], tuple[bool, ...], Sequence[str] | None]:
    """Names of all axes, which of them are not spatial, and the kind of each if it is known."""
    levels = [reading.levels[reading.level] for _, reading in readings if reading.levels]
    lengths = [*(level.size or level.position for level in levels), override.voxel_size]
    dims = next((len(each) for each in lengths if isinstance(each, (list, tuple))), None)
    if override.axes:
        return (*roles_of(ndim, override.axes, None, dims), None)
    named = [reading for _, reading in readings if reading.names] or [
        reading for _, reading in readings if reading.kinds
    ]
    names, kinds = (named[0].names, named[0].kinds) if named else (None, None)
    try:
        for other in named[1:]:
            if names and other.names and list(names) != list(other.names) and sorted(names) == sorted(other.names):
                raise ValueError(f"axes {', '.join(names)} and {', '.join(other.names)} contradict each other")
        return (*roles_of(ndim, None, names, dims, kinds), kinds)
    except (ValueError, TypeError, AttributeError) as error:
        raise StoreError("malformed geometry", f"{error} in {location}", "`axes=` overrides the metadata") from None


def _require_agreement(sized: Sequence[Lengths], problems: Sequence[StoreError], location: str) -> None:
    """Raises StoreError for metadata that are malformed or contradict each other."""
    if problems:
        raise problems[0]
    for other in sized[1:]:
        if not sized[0].agrees(other):
            raise StoreError("metadata contradict each other", f"{sized[0]}, {other} in {location}", REMEDY)


def _unknown_lengths(described: Described, sized: Sequence[Lengths]) -> list[str]:
    """Attributes that seem to say a voxel size or its unit, where no dialect does."""
    own = described.node.attrs
    if sized:
        return [] if any(each.has_units for each in sized) else unknown_units(own)
    above = unknown_sizes(described.groups[0][0].attrs) if described.groups else []
    return unknown_sizes(own) or [f"{key} of its group" for key in above]


def _voxel_size(
    first: Lengths | None, lengths: Sequence[Lengths], override: Override, spatial: Sequence[str]
) -> tuple[tuple[Quantity, ...], list[str]]:
    """The voxel size, and what is assumed to know it."""
    if override.voxel_size is not None:
        return in_unit(override.voxel_size, override.unit), []
    unit = override.unit or DEFAULT_UNIT
    if first is not None and first.voxel_size is not None:
        bare = [axis for axis, size in zip(spatial, first.voxel_size, strict=True) if not size.unit]
        # no unit at all is usual; between axes that have one it is mostly a length that the writer did not know
        assumed = [f"no unit for {', '.join(bare)}: {unit} assumed"] if 0 < len(bare) < len(spatial) else []
        return in_unit(first.voxel_size, unit), assumed
    factors = next((each.voxel_size for each in lengths if each.relative), None)
    sizes = (Quantity.parse(1),) * len(spatial) if factors is None else factors
    return tuple(Quantity(size.value, unit) for size in sizes), [f"no voxel size: 1 {unit} assumed"]


def _in_unit(offset: tuple[Quantity, ...], sizes: tuple[Quantity, ...], override: Override) -> tuple[Quantity, ...]:
    """An offset with units: a bare one of the user has the user's unit, another one that of the voxel size."""
    if override.offset is not None:
        return in_unit(offset, override.unit)
    if override.voxel_size is not None or len(offset) != len(sizes):
        return in_unit(offset, override.unit or DEFAULT_UNIT)
    return tuple(Quantity(begin.value, begin.unit or size.unit) for begin, size in zip(offset, sizes, strict=True))
