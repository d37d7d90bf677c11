"""BigDataViewer: an XML file beside the store has the voxel sizes."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ....units import Quantity
from ...access.files import store_errors
from .n5 import factors_of, times
from .reading import X_FIRST, Described, Dialect, Level, Reading

#: Where an array lies in N5 or Zarr, and in HDF5: the numbers of its view and of its time.
PATHS = (
    re.compile(r"setup(?P<view>\d+)/timepoint(?P<time>\d+)/s\d+"),
    re.compile(r"t(?P<time>\d+)/s(?P<view>\d+)/\d+/cells"),
)
#: The most XML files beside a store that are read.
LOOKED_AT = 100


def _beside(described: Described) -> Reading | None:
    match = next(filter(None, (pattern.fullmatch(described.node.path) for pattern in PATHS)), None)
    if match is None or not isinstance(described.root, Path):
        return None
    document = _document(described.root)
    if document is None:
        return None
    view, time = int(match["view"]), int(match["time"])
    setup = next((view_setup for view_setup in document.iter("ViewSetup") if _number(view_setup, "id") == view), None)
    if setup is None:
        raise ValueError(f"no ViewSetup {view} in the XML beside it")
    text = setup.findtext("voxelSize/size")
    if text is None:
        raise ValueError(f"ViewSetup {view} without voxelSize in the XML beside it")
    sizes = [Quantity.parse(size).value for size in text.split()]
    factors = factors_of(described)
    if factors is None:
        raise ValueError("no downsamplingFactors")
    start = _start(document, view, time, sizes)
    unit = setup.findtext("voxelSize/unit")
    return Reading(levels=[Level(times(sizes, factors), start)], units=unit)


def _document(root: Path) -> Any:
    """The XML file beside a store that names it, parsed; None where there is none."""
    for path in sorted(root.parent.glob("*.xml"))[:LOOKED_AT]:
        with store_errors(path, "cannot read the XML beside the store", (OSError, ElementTree.ParseError)):
            data = path.read_bytes()
            if b"<SpimData" in data and root.name.encode() in data:
                return ElementTree.fromstring(data)
    return None


def _number(element: Any, key: str) -> int:
    return int(element.findtext(key) or element.get(key) or -1)


def _start(document: Any, view: int, time: int, sizes: list[Fraction]) -> list[Fraction]:
    """Where the registration of a view puts its first voxel. Raises ValueError for more than scale and translation."""
    scale, position = [Fraction(1)] * 3, [Fraction(0)] * 3
    for registration in document.iter("ViewRegistration"):
        if (int(registration.get("setup", -1)), int(registration.get("timepoint", -1))) != (view, time):
            continue
        # the last one is applied first
        for affine in reversed([each.text or "" for each in registration.iter("affine")]):
            values = [Quantity.parse(value).value for value in affine.split()]
            rows = [values[4 * row : 4 * row + 4] for row in range(3)]
            if any(rows[i][j] for i in range(3) for j in range(3) if i != j):
                raise ValueError("a ViewRegistration that does more than scale and translate")
            scale = [rows[i][i] * scale[i] for i in range(3)]
            position = [rows[i][i] * position[i] + rows[i][3] for i in range(3)]
    if not any(position):
        return position
    ratios = {size / each for size, each in zip(sizes, scale, strict=True) if each}
    if len(ratios) != 1:
        raise ValueError("a ViewRegistration whose scale is not that of voxelSize")
    (ratio,) = ratios
    return [each * ratio for each in position]


BIGDATAVIEWER = Dialect("BigDataViewer's XML", (), _beside, order=X_FIRST)
