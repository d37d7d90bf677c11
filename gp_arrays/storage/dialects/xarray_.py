"""xarray: an array of coordinates beside the data for each axis, named as the axis."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from ...units import Quantity, shortest_near
from ..documents import read_node
from .reading import CENTRE, Described, Dialect, Level, Reading, first_text_list


def _coordinates(described: Described) -> Reading | None:
    # zarr takes long to import, and most arrays have no coordinates
    from ..engine import open_array

    names = first_text_list(
        described.attrs.get("_ARRAY_DIMENSIONS"), (described.node.document or {}).get("dimension_names")
    )
    folder = described.node.path.rpartition("/")[0]
    sizes: list[Any] = []
    starts: list[Any] = []
    units: list[Any] = []
    for name, length in zip(names or (), described.shape, strict=False):
        path = f"{folder}/{name}".strip("/")
        node = None if "/" in name or path == described.node.path else read_node(described.root, path)
        if node is None or node.shape != (length,) or node.dtype is None or node.dtype.kind not in "iuf":
            size = start = unit = None
        else:
            values = np.asarray(open_array(described.root, node, False)[0][:])
            size, start = _steps(values, path)
            unit = node.attrs.get("units")
        sizes.append(size)
        starts.append(start)
        units.append(unit)
    if not any(size is not None for size in sizes):
        return None
    return Reading(names, levels=[Level(sizes, starts)], units=units)


def _steps(values: Any, path: str) -> tuple[Fraction, Fraction]:
    """The step between coordinates and the first of them. Raises ValueError where they are not evenly spaced."""
    first, last = (Quantity.parse(values[at]).value for at in (0, -1))
    if len(values) < 2 or last <= first:
        raise ValueError(f"coordinates {path}: {len(values)} from {values[0]} to {values[-1]}, not ascending")
    step = (last - first) / (len(values) - 1)
    digits = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    noise = Fraction(float(digits)) * 4 * max(abs(first), abs(last)) + step / 10**9
    expected = float(first) + float(step) * np.arange(len(values))
    if not np.abs(values.astype(float) - expected).max() <= max(float(noise), float(step) / 1000):  # also of NaN
        raise ValueError(f"coordinates {path} are not evenly spaced")
    return shortest_near(step, noise / (len(values) - 1) + step / 10**9), first


XARRAY = Dialect("xarray", (), _coordinates, marks=CENTRE, shared_keys=("_ARRAY_DIMENSIONS",), last_resort=True)
