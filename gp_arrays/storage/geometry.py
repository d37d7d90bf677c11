"""Where the voxels of a store are: the metadata dialects that say so.

Sources of the definitions: OME-NGFF 0.4 and 0.5 (multiscales, coordinateTransformations),
the COSEM/OpenOrganelle ``transform`` attribute, and the ``voxel_size`` / ``resolution``,
``offset``, ``axis_names`` / ``axes``, ``units`` attributes of funlib.persistence and DaCapo.
Offsets of the latter are voxel corners; translations of the former mark voxel centres.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError, StoreError, TreeError, quoted
from ..units import DEFAULT_UNIT, Quantity, metres
from .axes import NONSPATIAL, roles_of
from .documents import Node, ancestors

logger = logging.getLogger(__name__)

GEOMETRY_KEYS = frozenset(
    [
        "voxel_size",
        "resolution",
        "offset",
        "axes",
        "axis_names",
        "units",
        "transform",
        "multiscales",
        "ome",
        "coordinateTransformations",
        "types",
        "channel_names",
        "dimension_units",
        "_ARRAY_DIMENSIONS",
    ]
)


@attrs.frozen
class Geometry:
    """What a store says of where its voxels are; None where it says nothing.

    Attributes:
        axes: Names of all axes in the store's order; non-spatial ones as ``s``, ``c``, ``t``.
        nonspatial: For each axis, True if it is not spatial.
        voxel_size, offset: Per spatial axis, in the store's order.
        squeeze: Whether singleton non-spatial axes are dropped (multiscale stores).
    """

    axes: tuple[str, ...]
    nonspatial: tuple[bool, ...]
    voxel_size: tuple[Quantity, ...]
    offset: tuple[Quantity, ...]
    squeeze: bool = False


def multiscales_of(node: Node) -> Mapping[str, Any] | None:
    """The first multiscale image of a group, NGFF 0.4 or 0.5 or COSEM, or None."""
    for attributes in (node.attrs.get("ome"), node.attrs):
        if isinstance(attributes, Mapping):
            found = attributes.get("multiscales")
            if isinstance(found, Sequence) and found and isinstance(found[0], Mapping):
                return found[0]
    return None


def levels(multiscale: Mapping[str, Any]) -> list[str]:
    """Paths of the levels of a multiscale image, finest first."""
    try:
        return [str(level["path"]).strip("/") for level in multiscale["datasets"]]
    except (KeyError, TypeError) as error:
        raise StoreError("malformed multiscales", found=quoted(error)) from None


def read_geometry(root: Path, node: Node, axes: Sequence[str] | None = None) -> Geometry:
    """The geometry of an array, from its attributes or the pyramid that it is a level of.

    Args:
        root: The store.
        node: The array.
        axes: Names of its axes, where the caller knows better.

    Raises:
        StoreError: Metadata that say no geometry.
        TreeError: ``axes`` that do not fit the array.
    """
    assert node.shape is not None
    place = f"{root}/{node.path}"
    try:
        own = node.attrs
        if "voxel_size" in own or "resolution" in own:
            return _attributes(node, axes)
        for group, below in ancestors(root, node.path):
            multiscale = multiscales_of(group)
            if multiscale is not None and below in levels(multiscale):
                return _level(node, multiscale, levels(multiscale).index(below), axes)
        if isinstance(own.get("transform"), Mapping):
            scale, translation, names, units = _cosem(own["transform"])
            return _spatial(node, axes, names, scale, translation or [0] * len(scale), units)
        return _attributes(node, axes)
    except (StoreError, TreeError):
        raise
    except ConfigError as error:
        raise StoreError(
            f"malformed geometry: {error.problem}", found=f"{error.found} in {place}", allowed=error.allowed
        ) from None
    except ValueError as error:
        raise StoreError("malformed geometry", found=f"{error} in {place}") from None
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise StoreError("malformed geometry", found=f"{error!r} in {place}") from None


def _attributes(node: Node, axes: Sequence[str] | None) -> Geometry:
    own = node.attrs
    voxel_size = own.get("voxel_size", own.get("resolution"))
    offset = own.get("offset")
    names = own.get("axis_names") or own.get("axes") or own.get("_ARRAY_DIMENSIONS")
    names = names or (node.document or {}).get("dimension_names")  # of Zarr v3
    if names is not None and not all(isinstance(name, str) for name in names):
        names = None
    dims = len(voxel_size) if voxel_size is not None else len(offset) if offset is not None else None
    return _spatial(node, axes, names, voxel_size, offset, own.get("units"), own.get("types"), dims)


def _spatial(
    node: Node,
    given: Sequence[str] | None,
    names: Sequence[str] | None,
    voxel_size: Sequence[Any] | None,
    offset: Sequence[Any] | None,
    units: Any,
    types: Sequence[str] | None = None,
    dims: int | None = None,
) -> Geometry:
    assert node.shape is not None
    ndim = len(node.shape)
    axes, nonspatial = roles_of(ndim, given, names, dims, types)
    spatial = [i for i in range(ndim) if not nonspatial[i]]
    if isinstance(units, str):
        units = [units] * ndim
    unit_of = _units(node, _per_spatial(units, ndim, spatial, None, types))
    sizes = _per_spatial(voxel_size, ndim, spatial, 1, types)
    offsets = _per_spatial(offset, ndim, spatial, 0, types)
    return Geometry(
        axes,
        nonspatial,
        tuple(Quantity.parse(size, unit) for size, unit in zip(sizes, unit_of, strict=True)),
        tuple(Quantity.parse(begin, unit) for begin, unit in zip(offsets, unit_of, strict=True)),
    )


def _units(node: Node, units: Sequence[Any]) -> list[str]:
    if not any(units):
        logger.info("%s says no unit: taken as %s", node.path or "the array", DEFAULT_UNIT)
    return [unit_or_default(unit) for unit in units]


def _per_spatial(
    values: Any, ndim: int, spatial: Sequence[int], default: Any, types: Sequence[str] | None = None
) -> list[Any]:
    """One value per spatial axis, from values per spatial axis, per axis, or per axis of space or time."""
    if values is None or len(values) == 0:
        return [default] * len(spatial)
    if len(values) == len(spatial):
        return list(values)
    if len(values) == ndim:
        return [values[i] for i in spatial]
    if types is not None and len(types) == ndim:
        # to funlib.persistence a time axis has a length, an offset and a unit, as those of space have
        physical = [i for i, kind in enumerate(types) if kind in ("space", "time")]
        if len(values) == len(physical):
            return [values[physical.index(i)] for i in spatial]
    raise ValueError(f"{list(values)} does not have one value per axis ({len(spatial)} spatial of {ndim})")


def unit_or_default(unit: Any) -> str:
    """A unit that lengths can be converted from. Raises ConfigError for one that is no length."""
    if unit is None or unit == "" or (isinstance(unit, str) and unit.lower() in ("pixel", "voxel", "dimensionless")):
        return DEFAULT_UNIT
    metres(str(unit))
    return str(unit)


def _cosem(transform: Mapping[str, Any]) -> tuple[list[Any], list[Any] | None, list[str], Any]:
    order = slice(None, None, -1) if transform.get("order") == "F" else slice(None)
    names, scale = list(transform["axes"])[order], list(transform["scale"])[order]
    translate = transform.get("translate")
    units = transform.get("units")
    return (
        scale,
        None if translate is None else list(translate)[order],
        names,
        list(units)[order] if isinstance(units, (list, tuple)) else units,
    )


def _level(node: Node, multiscale: Mapping[str, Any], level: int, axes: Sequence[str] | None) -> Geometry:
    """The geometry of a level of a pyramid, whose translations mark voxel centres."""
    assert node.shape is not None
    ndim, datasets = len(node.shape), multiscale["datasets"]
    if "transform" in datasets[level]:
        parsed = [_cosem(entry["transform"]) for entry in datasets]
        names, units = parsed[0][2], parsed[0][3]
        transforms = [(p[0], p[1]) for p in parsed]
        own = transforms
        roles = roles_of(ndim, axes, names, len(transforms[level][0]))
        units = [units] * ndim if isinstance(units, str) or units is None else units
    else:
        described = multiscale["axes"]
        names = [axis["name"] if isinstance(axis, Mapping) else axis for axis in described]
        kinds = [
            axis.get("type", "space" if axis["name"].lower() not in NONSPATIAL else "")
            if isinstance(axis, Mapping)
            else "space"
            if axis.lower() not in NONSPATIAL
            else ""
            for axis in described
        ]
        units = [axis.get("unit") if isinstance(axis, Mapping) else None for axis in described]
        outer = _ngff(multiscale.get("coordinateTransformations"), ndim)
        own = [_ngff(entry["coordinateTransformations"], ndim) for entry in datasets]
        transforms = [_compose(outer, each) for each in own]
        roles = roles_of(ndim, axes, names, types=None if axes else kinds)
    spatial = [i for i in range(ndim) if not roles[1][i]]
    unit_of = _units(node, _per_spatial(units, ndim, spatial, None))
    scales = [[Quantity.parse(s).value for s in _per_spatial(scale, ndim, spatial, 1)] for scale, _ in transforms]
    shifted = _mark_centres(own)
    # a level that says no translation begins where the finest one does
    stated = level if own[level][1] is not None else 0
    begins = [
        Quantity.parse(t).value - ((scales[stated][i] - scales[0][i]) / 2 if shifted else 0)
        for i, t in enumerate(_per_spatial(transforms[stated][1], ndim, spatial, 0))
    ]
    return Geometry(
        roles[0],
        roles[1],
        tuple(Quantity(size, unit) for size, unit in zip(scales[level], unit_of, strict=True)),
        tuple(Quantity(begin, unit) for begin, unit in zip(begins, unit_of, strict=True)),
        squeeze=True,
    )


def _mark_centres(transforms: Sequence[tuple[Sequence[Any], Sequence[Any] | None]]) -> bool:
    """True if translations mark voxel centres; many writers copy that of level 0, a corner, to all levels."""
    sizes, first = transforms[0]
    for _, other in transforms[1:]:
        for size, a, b in zip(sizes, first or [0] * len(sizes), other or (), strict=False):
            size, a, b = (Quantity.parse(item).value for item in (size, a, b))
            if abs(a - b) > size / 10**9:  # less than that is noise of arithmetic
                return True
    return False


def _ngff(transformations: Any, ndim: int) -> tuple[list[Any], list[Any] | None]:
    scale: list[Any] = [1] * ndim
    translation = None
    for item in transformations or ():
        if item["type"] == "scale":
            scale = list(item["scale"])
        elif item["type"] == "translation":
            translation = list(item["translation"])
        elif item["type"] != "identity":
            raise ValueError(f"coordinate transformation {item['type']!r}: only scale and translation are read")
    return scale, translation


def _compose(
    outer: tuple[list[Any], list[Any] | None], inner: tuple[list[Any], list[Any] | None]
) -> tuple[list[Any], list[Any] | None]:
    def values(items: Sequence[Any]) -> list[Fraction]:
        return [Quantity.parse(item).value for item in items]

    scale = [a * b for a, b in zip(values(outer[0]), values(inner[0]), strict=True)]
    if outer[1] is None and inner[1] is None:
        return scale, None
    a = values(outer[1]) if outer[1] is not None else [Fraction(0)] * len(scale)
    b = values(inner[1]) if inner[1] is not None else [Fraction(0)] * len(scale)
    return scale, [s * t + u for s, t, u in zip(values(outer[0]), b, a, strict=True)]
