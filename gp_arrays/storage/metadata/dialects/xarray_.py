"""xarray: an array of coordinates beside the data for each axis, named as the axis."""

from __future__ import annotations

from fractions import Fraction

import attrs
import numpy as np

from ....units import Quantity, shortest_near
from ..axes import NONSPATIAL
from ..coordinates import Coordinates, coordinates_beside, dimension_names
from .reading import CENTRE, Described, Dialect, Level, Reading

#: Attributes of arrays that are stored as other numbers than they are.
PACKED = ("scale_factor", "add_offset")


def _coordinates(described: Described) -> Reading | None:
    names = dimension_names(described.node)
    if names is None or len(names) != len(described.shape):
        return None
    along = [
        None if name.lower() in NONSPATIAL else coordinates_beside(described.root, described.node, name, length)
        for name, length in zip(names, described.shape, strict=True)
    ]
    if not any(along):
        return None
    steps = [(None, None) if each is None else _steps(each, name) for each, name in zip(along, names, strict=True)]
    units = [None if each is None else each.attrs.get("units") for each in along]
    return Reading(names, levels=[Level(*map(list, zip(*steps, strict=True)))], units=units)


def _steps(coordinates: Coordinates, name: str) -> tuple[Fraction, Fraction]:
    """The step between coordinates and the first of them. Raises ValueError where they are not evenly spaced."""
    values = np.asarray(coordinates.values)
    if values.dtype.kind not in "iuf" or any(key in coordinates.attrs for key in PACKED):
        raise ValueError(f"coordinates {name}: {values.dtype}, packed or no numbers")
    first, last = (Quantity.parse(values[at]).value for at in (0, -1))
    if len(values) < 2 or last <= first:
        raise ValueError(f"coordinates {name}: {len(values)} from {values[0]} to {values[-1]}, not ascending")
    step = (last - first) / (len(values) - 1)
    precision = np.finfo(values.dtype).eps if values.dtype.kind == "f" else 0.0
    noise = Fraction(float(precision)) * 4 * max(abs(first), abs(last)) + step / 10**9
    expected = float(first) + float(step) * np.arange(len(values))
    if not np.abs(values.astype(float) - expected).max() <= max(float(noise), float(step) / 1000):  # also of NaN
        raise ValueError(f"coordinates {name} are not evenly spaced")
    return shortest_near(step, noise / (len(values) - 1) + step / 10**9), first


def _multiscale(described: Described) -> Reading | None:
    """Coordinates of each level; the transformations beside them mark centres and may list axes in another order."""
    reading = None if described.nearest("multiscaleSpatialImageVersion") is None else _coordinates(described)
    return None if reading is None else attrs.evolve(reading, squeeze=True)


MULTISCALE_SPATIAL_IMAGE = Dialect("multiscale-spatial-image", ("multiscales",), _multiscale, marks=CENTRE)
XARRAY = Dialect("xarray", (), _coordinates, marks=CENTRE, shared_keys=("_ARRAY_DIMENSIONS",), last_resort=True)
