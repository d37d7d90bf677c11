"""Whether a store says that an array holds labels, whose values must not be averaged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .documents import Node, ancestors

_LABEL_PATH = re.compile(r"(^|[/_.\-])labels?([/_.\-]|$)")
_LABEL_KEYS = ("labels", "image-label", "annotation_type")


def declared_labels(root: Path, node: Node) -> bool:
    """Whether a store says that an array holds labels."""
    if _LABEL_PATH.search(node.path.lower()):
        return True
    made = node.attrs.get("gp_arrays")
    if isinstance(made, Mapping) and made.get("interpolatable") is False:
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
