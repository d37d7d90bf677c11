"""Attributes with the geometry of a new array, for every program that may read it; and how attributes are changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import ConfigError
from ...units import DEFAULT_UNIT, Quantity, decimal_text
from ..access.files import replace_file
from ..access.remote import StorePath
from .documents import Node, read_json


def written_unit(unit: str) -> str:
    """The unit for metadata that may hold fractions: voxel sizes of 5240 pm are 5.24 nm to everybody.

    >>> written_unit("pm"), written_unit("um")
    ('nm', 'um')
    """
    return DEFAULT_UNIT if unit in ("fm", "pm") else unit


def geometry_attributes(
    offset: Sequence[int],
    voxel_size: Sequence[int],
    unit: str,
    names: Sequence[str],
    channel_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The geometry of an array whose last axes are spatial, one for each voxel size.

    ``offset``, ``voxel_size``, ``axis_names``, ``types`` and ``units`` are read by
    funlib.persistence, ``resolution`` and ``axes`` by DaCapo, ``_ARRAY_DIMENSIONS`` by xarray and
    napari, and with ``dimension_units`` by Neuroglancer and TensorStore. The lengths of all but the last are integers.
    """
    sizes = [int(size) for size in voxel_size]
    count = len(names) - len(sizes)
    attributes: dict[str, Any] = {
        "offset": [int(value) for value in offset],
        "voxel_size": sizes,
        "resolution": sizes,
        "units": [unit] * len(sizes),
        "axis_names": [*(f"{name}^" for name in names[:count]), *names[count:]],
        "axes": list(names),
        # not "time": funlib.persistence then wants an offset, a voxel size and a unit of time among
        # the lengths, which DaCapo reads as those of space; axis_names and axes say which is t
        "types": ["channel"] * count + ["space"] * len(sizes),
        "_ARRAY_DIMENSIONS": list(names),
        "dimension_units": [""] * count
        + [f"{decimal_text(Quantity.parse(size, unit).to(written_unit(unit)))} {written_unit(unit)}" for size in sizes],
    }
    if channel_names is not None:
        attributes["channel_names"] = list(channel_names)
    return attributes


def require_json(attributes: Any) -> None:
    """Raises ConfigError for attributes that no metadata document can hold."""
    try:
        if not isinstance(attributes, Mapping) or not all(isinstance(key, str) for key in attributes):
            raise TypeError(f"{type(attributes).__name__} is not a table of values by name")
        json.dumps(attributes)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError("attributes that JSON cannot hold", found=str(error)) from None


def write_json(path: StorePath, document: Mapping[str, Any]) -> None:
    """Write a metadata document. Raises StoreError."""
    replace_file(path, json.dumps(document, indent=4), problem="cannot create")


def remove_attribute(root: StorePath, node: Node, key: str) -> None:
    """Take an attribute off an array or group, where it has it. Raises StoreError."""
    document, content, attributes = _attributes_of(root, node)
    if attributes.pop(key, None) is not None:
        write_json(document, content)


def update_attributes(root: StorePath, node: Node, attributes: Mapping[str, Any]) -> None:
    """Add attributes to an array or group. Raises ConfigError for those that JSON cannot hold, StoreError."""
    require_json(attributes)
    document, content, before = _attributes_of(root, node)
    before.update(attributes)
    write_json(document, content)


def _attributes_of(root: StorePath, node: Node) -> tuple[StorePath, dict[str, Any], dict[str, Any]]:
    """The document that holds the attributes of an array or group, its content, and the attributes in that."""
    document = root / node.path / (".zattrs" if node.format == 2 else "zarr.json")
    content = read_json(document) or {}
    return document, content, content if node.format == 2 else content.setdefault("attributes", {})
