"""The CellMap metadata of a hierarchy with one array per class (cellmap_schemas, Zarr v2).

A crop, the groups of its classes and their arrays each carry an object at ``cellmap`` >
``annotation`` of their attributes. Only the entries that decide voxels are read; these must be valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import numpy as np

from ...errors import StoreError
from .documents import ArrayNode, Node

PATH = ("cellmap", "annotation")
SEMANTIC, INSTANCE = "semantic_segmentation", "instance_segmentation"
KEYS = {SEMANTIC: ("absent", "present", "unknown"), INSTANCE: ("absent", "unknown")}


@attrs.frozen
class Encoding:
    """The meanings of the values of a class's array; None for a meaning that no value has."""

    absent: int | None = None
    present: int | None = None
    unknown: int | None = None
    instance: bool = False

    @property
    def known(self) -> tuple[int, ...]:
        """The values that have a meaning of their own."""
        return tuple(value for value in (self.absent, self.present, self.unknown) if value is not None)


def malformed(key: str, location: str, found: Any, allowed: str) -> StoreError:
    text = "nothing" if found is None else repr(found)
    return StoreError(f"malformed annotation metadata at {key}", found=f"{text} in {location}", allowed=allowed)


def annotation(node: Node, location: str) -> Mapping[str, Any]:
    """The annotation object of a group or array; empty where there is none."""
    value: Any = node.attrs
    for depth, key in enumerate(PATH, 1):
        value = value.get(key, {})
        if not isinstance(value, Mapping):
            raise malformed(".".join(PATH[:depth]), location, value, "an object")
    annotated: Mapping[str, Any] = value
    return annotated


def class_names(crop: Node, location: str) -> tuple[str, ...]:
    """The classes that a crop lists: those that were annotated in it."""
    names = annotation(crop, location).get("class_names")
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(n, str) and n for n in names):
        raise malformed(".".join([*PATH, "class_names"]), location, names, "a list of names of classes")
    return tuple(names)


def encoding_of(array: ArrayNode, group: Node | None, locations: tuple[str, str]) -> Encoding:
    """The encoding of a class's array, from its own metadata, else from those of its group.

    The array's own wins: on down-sampling labels can vanish.
    """
    key = ".".join([*PATH, "annotation_type"])
    for node, location in zip((array, group), locations, strict=True):
        stated = {} if node is None else annotation(node, location)
        if "annotation_type" in stated:
            return _encoding(stated["annotation_type"], key, location, array.dtype)
    raise malformed(key, locations[0], None, "an annotation_type of the array, or of the group above it")


def _encoding(value: Any, key: str, location: str, dtype: np.dtype[Any]) -> Encoding:
    if not isinstance(value, Mapping):
        raise malformed(key, location, value, "an object with type and encoding")
    for name in value:
        if name not in ("type", "encoding"):
            raise malformed(f"{key}.{name}", location, value[name], "type and encoding only")
    # without a type semantic annotations are meant, whose encoding may have all keys
    kind = value.get("type", SEMANTIC)
    if not isinstance(kind, str) or kind not in KEYS:
        raise malformed(f"{key}.type", location, kind, " or ".join(KEYS))
    encoding = value.get("encoding")
    if not isinstance(encoding, Mapping):
        raise malformed(f"{key}.encoding", location, encoding, f"an object with any of {', '.join(KEYS[kind])}")
    limits = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    for name, number in encoding.items():
        where = f"{key}.encoding.{name}"
        if name not in KEYS[kind]:
            raise malformed(where, location, number, f"{', '.join(KEYS[kind])} in {kind}")
        if isinstance(number, bool) or not isinstance(number, int):
            raise malformed(where, location, number, "an integer")
        if not limits[0] <= number <= limits[1]:
            raise malformed(where, location, number, f"a value of {dtype}, {limits[0]} to {limits[1]}")
        if list(encoding.values()).count(number) > 1:
            raise malformed(where, location, number, "a value of its own for each meaning")
    return Encoding(**encoding, instance=kind == INSTANCE)


def wholly_unknown(array: ArrayNode, encoding: Encoding, location: str) -> bool:
    """True if the counts in the metadata of an array say that all its voxels are unknown."""
    counts = annotation(array, location).get("complement_counts")
    if counts is None:
        return False
    key = ".".join([*PATH, "complement_counts"])
    if not isinstance(counts, Mapping):
        raise malformed(key, location, counts, "an object, or null")
    kind = INSTANCE if encoding.instance else SEMANTIC
    for name, count in counts.items():
        # schemas let instances count "absent" without saying which value that is
        if name not in KEYS[kind] or (getattr(encoding, name) is None and (kind, name) != (INSTANCE, "absent")):
            raise malformed(f"{key}.{name}", location, count, "meanings that the encoding has")
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise malformed(f"{key}.{name}", location, count, "a number of voxels")
    return counts.get("unknown") == int(np.prod(array.shape, dtype=object))


def decode(voxels: np.ndarray[Any, Any], encoding: Encoding, output: str) -> np.ndarray[Any, Any]:
    """bool: where a class is (``"target"``), or where that is known (``"mask"``).

    >>> decode(np.array([0, 1, 255]), Encoding(absent=0, present=1, unknown=255), "mask").tolist()
    [True, True, False]
    """
    if output == "target" and encoding.present is not None:
        return np.asarray(voxels == encoding.present)
    known = np.ones(voxels.shape, bool) if encoding.unknown is None else np.asarray(voxels != encoding.unknown)
    if output == "target" and encoding.absent is not None:
        known &= voxels != encoding.absent
    return known


def unexplained(voxels: np.ndarray[Any, Any], encoding: Encoding) -> tuple[int, ...] | None:
    """The index of a value that an encoding with ``present`` does not have, None where there is none."""
    if encoding.present is None:
        return None
    explained = voxels == encoding.present
    for value in encoding.known:
        explained |= voxels == value
    if explained.all():
        return None
    return tuple(int(i) for i in np.unravel_index(int(explained.argmin()), explained.shape))
