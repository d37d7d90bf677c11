"""Which arrays of a store are the levels of one pyramid."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ...errors import StoreError, quoted
from ...model.fields import VoxelSize
from ...units import Quantity, decimal_text
from ..access.remote import StorePath
from .documents import ArrayNode, Node, ancestors, read_node

#: How the levels of a pyramid are named where no metadata list them.
LEVEL = re.compile(r"s(\d+)")


def multiscales_of(node: Node) -> Sequence[Mapping[str, Any]]:
    """The multiscale images that the attributes of a group list, of OME-NGFF or COSEM."""
    for attributes in (node.attrs.get("ome"), node.attrs):
        if isinstance(attributes, Mapping):
            images = attributes.get("multiscales")
            if isinstance(images, list) and images and all(isinstance(image, Mapping) for image in images):
                return images
    return ()


def level_paths(image: Mapping[str, Any]) -> list[str]:
    """Paths of the levels of a multiscale image, finest first."""
    try:
        return [str(level["path"]).strip("/") for level in image["datasets"]]
    except (KeyError, TypeError) as error:
        raise StoreError("malformed multiscales", found=quoted(error)) from None


@attrs.frozen
class Pyramid:
    """A pyramid: the path of its group in the store, and the paths of its levels below that, finest first."""

    group: str
    levels: Sequence[str]

    def coarser(self, path: str) -> list[str]:
        """Paths in the store of the levels that are coarser than one of them."""
        paths = [f"{self.group}/{level}".strip("/") for level in self.levels]
        return paths[paths.index(path) + 1 :]


def pyramid_at(root: StorePath, path: str) -> Pyramid | None:
    """The pyramid whose levels are below a path, or None.

    Where no attributes list them, the arrays ``s0``, ``s1`` and so on are levels, each smaller than the last.
    """
    group = read_node(root, path)
    if isinstance(group, ArrayNode):
        return None
    images = multiscales_of(group) if group is not None else ()
    levels = level_paths(images[0]) if images else list(_numbered(root, path))
    return Pyramid(path, levels) if levels else None


def pyramid_of(root: StorePath, path: str) -> Pyramid | None:
    """The pyramid that an array is a level of, or None."""
    for group, below in ancestors(root, path):
        for image in multiscales_of(group):
            levels = level_paths(image)
            if below in levels:
                return Pyramid(group.path, levels)
    parent, _, name = path.rpartition("/")
    if LEVEL.fullmatch(name):
        levels = list(_numbered(root, parent))
        if name in levels:
            return Pyramid(parent, levels)
    return None


def _numbered(root: StorePath, group: str) -> Iterator[str]:
    finer: tuple[int, ...] | None = None
    for number in itertools.count():
        node = read_node(root, f"{group}/s{number}".strip("/"))
        if not isinstance(node, ArrayNode):
            return
        if finer is not None and (len(finer) != len(node.shape) or not _is_smaller(node.shape, finer)):
            return
        finer = node.shape
        yield f"s{number}"


def _is_smaller(shape: Sequence[int], other: Sequence[int]) -> bool:
    return tuple(shape) != tuple(other) and all(a <= b for a, b in zip(shape, other, strict=True))


def level_of_size(sizes: Sequence[Sequence[Quantity]], wanted: VoxelSize, unit: str) -> int:
    """The number of the level with the largest voxels that are on no axis larger than is wanted.

    Args:
        sizes: The voxel size of each level.
        wanted: The voxel size that is wanted.
        unit: Of bare lengths.

    Raises:
        StoreError: All levels have larger voxels, or ``wanted`` does not have a length for each axis.
    """
    levels = [[length.to(unit) for length in size] for size in sizes]
    dims = len(levels[0])
    most = [length.to(unit) for length in wanted.lengths] * (dims if len(wanted.lengths) == 1 else 1)
    if len(most) != dims:
        raise StoreError("scale is not one length per spatial axis", str(wanted), f"{dims} lengths, or one")
    fitting = [number for number, size in enumerate(levels) if all(a <= b for a, b in zip(size, most, strict=True))]
    if not fitting:
        texts = [f"{number}: ({', '.join(map(decimal_text, size))})" for number, size in enumerate(levels)]
        raise StoreError("no level has voxels of that size or smaller", str(wanted), f"{', '.join(texts)} {unit}")
    return max(fitting, key=lambda number: math.prod(levels[number]))
