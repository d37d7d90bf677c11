"""The input and the result of a dialect of metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ....errors import quoted
from ...access.remote import StorePath
from ..documents import ArrayNode, Node, ancestors

#: What the positions of a dialect mark: the corner of the first voxel, its centre, or its corner at the finest
#: level of a pyramid and centres at the others.
CORNER, CENTRE, CENTRE_OF_LEVELS = "corner", "centre", "centre, but for the finest level"

#: In which order a dialect lists lengths: slowest axis first as Zarr does, x first as N5 does, or as the store does.
Z_FIRST, X_FIRST, AS_STORED = "z, y, x", "x, y, z", "as the store"


@attrs.frozen
class Described:
    """An array of a store with the groups that it lies in: all that dialects read.

    ``attrs`` are its attributes. Attributes that another dialect has understood are left out, here and in ``groups``.
    """

    root: StorePath
    node: ArrayNode
    attrs: Mapping[str, Any]
    groups: Sequence[tuple[Node, str]]

    @classmethod
    def of(cls, root: StorePath, node: ArrayNode) -> Described:
        return cls(root, node, node.attrs, tuple(ancestors(root, node.path)))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.node.shape

    def without(self, keys: Sequence[str]) -> Described:
        """The same without some attributes, of the array and of its groups."""

        def others(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
            return {key: value for key, value in attributes.items() if key not in keys}

        groups = [(attrs.evolve(group, attrs=others(group.attrs)), below) for group, below in self.groups]
        return attrs.evolve(self, attrs=others(self.attrs), groups=groups)

    def nearest(self, key: str) -> Any:
        """The attribute of the array, else that of the nearest group above it; None if none has it."""
        holders = (self.attrs, *(group.attrs for group, _ in self.groups))
        return next((attributes[key] for attributes in holders if attributes.get(key) is not None), None)


@attrs.frozen
class Level:
    """The voxel size of a level of a pyramid and the position of its first voxel, as its metadata have them."""

    size: Sequence[Any] | None
    position: Sequence[Any] | None = None


@attrs.frozen
class Reading:
    """What a dialect says of an array; None or empty for what it does not say.

    Attributes:
        names: Of all axes, or of the spatial ones alone.
        kinds: For each axis ``"space"``, ``"time"``, ``"channel"`` or another word.
        levels: Those of its pyramid, finest first; one where there is no pyramid.
        level: Which of them the array is.
        units: Of all lengths, or one for each.
        squeeze: True if non-spatial axes of one entry are left out.
        relative: True if sizes are in voxels of the finest level, whose size is not known.
    """

    names: Sequence[str] | None = None
    kinds: Sequence[str] | None = None
    levels: Sequence[Level] = ()
    level: int = 0
    units: Any = None
    squeeze: bool = False
    relative: bool = False

    @property
    def has_size(self) -> bool:
        return bool(self.levels) and self.levels[self.level].size is not None


@attrs.frozen
class Dialect:
    """A way in which tools write the geometry of arrays.

    Attributes:
        name: The tools that write it, for messages.
        keys: Attributes that it alone is written in: if one of them exists, the dialect is used, or it is malformed.
        read: Returns what it says of an array; None if it says nothing.
        order: In which order it lists lengths.
        marks: What its positions mark.
        unit: That of its lengths where it states none; None if that is unknown.
        shared_keys: Attributes that it has in common with others, or that name axes only.
        last_resort: True if it is only asked where none before it knows the voxel size, because asking it is costly.
        cured_by_axes: True if it is no error that it is malformed where the user names the axes.
    """

    name: str
    keys: tuple[str, ...]
    read: Callable[[Described], Reading | None]
    order: str = Z_FIRST
    marks: str = CORNER
    unit: str | None = None
    shared_keys: tuple[str, ...] = ()
    last_resort: bool = False
    cured_by_axes: bool = False


def list_at(attributes: Mapping[str, Any], key: str) -> Any:
    """The lengths or factors under a key, None where there are none. Raises ValueError for what is not a list."""
    values = attributes.get(key)
    if values is not None and not isinstance(values, (list, tuple)):
        raise ValueError(f"{key} {quoted(values)} is not a list of lengths")
    return values


def first_text_list(*candidates: Any) -> list[str] | None:
    """The first of several values that is a list of texts, or None."""
    for value in candidates:
        if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
            return list(value)
    return None
