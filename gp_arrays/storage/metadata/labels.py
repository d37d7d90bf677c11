"""The meaning of values in the metadata: declared labels, and names of channels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import StoreError
from ..access.remote import StorePath
from .axes import NONSPATIAL
from .coordinates import coordinates_beside, dimension_names
from .documents import ArrayNode, ancestors
from .pyramids import level_paths, multiscales_of

_LABEL_PATH = re.compile(r"(^|[/_.\-])labels?([/_.\-]|$)")
_LABEL_KEYS = ("labels", "image-label", "annotation_type")


def declared_labels(root: StorePath, node: ArrayNode) -> bool:
    """True if the metadata say that an array holds labels."""
    if _LABEL_PATH.search(node.path.lower()):
        return True
    provenance = node.attrs.get("gp_arrays")
    if isinstance(provenance, Mapping) and provenance.get("interpolatable") is False:
        return True
    holders = [node, *(group for group, _ in list(ancestors(root, node.path))[:1])]
    for holder in holders:
        cellmap = holder.attrs.get("cellmap")
        if isinstance(cellmap, Mapping) and isinstance(cellmap.get("annotation"), Mapping):
            return "annotation_type" in cellmap["annotation"] or holder is node
        ome = holder.attrs.get("ome")
        if any(key in holder.attrs for key in _LABEL_KEYS):
            return True
        if isinstance(ome, Mapping) and "image-label" in ome:
            return True
    return False


def channel_names(root: StorePath, node: ArrayNode) -> tuple[str, ...] | None:
    """Names of the channels of an array as they are stated, or None.

    They are in its own attributes, in ``omero`` beside its pyramid, or in an array beside it that is named as its
    axis of channels, as xarray writes them. Names that are not all texts are none.
    """
    names = node.attrs.get("channel_names") or _names_in_omero(root, node) or _names_along_axis(root, node)
    if isinstance(names, list) and all(isinstance(name, str) and name for name in names):
        return tuple(names)
    return None


def _names_in_omero(root: StorePath, node: ArrayNode) -> list[Any] | None:
    for group, below in ancestors(root, node.path):
        if any(below in level_paths(image) for image in multiscales_of(group)):
            ome = group.attrs.get("ome")
            omero = (ome if isinstance(ome, Mapping) else group.attrs).get("omero")
            channels = omero.get("channels") if isinstance(omero, Mapping) else None
            if isinstance(channels, list):
                return [channel.get("label") if isinstance(channel, Mapping) else None for channel in channels]
    return None


def _names_along_axis(root: StorePath, node: ArrayNode) -> list[Any] | None:
    for name, length in zip(dimension_names(node) or (), node.shape, strict=False):
        if NONSPATIAL.get(name.lower()) == "c":
            try:
                coordinates = coordinates_beside(root, node, name, length)
            except (StoreError, ValueError):
                return None  # they may be anything: only texts are names
            return None if coordinates is None else list(coordinates.values)
    return None
