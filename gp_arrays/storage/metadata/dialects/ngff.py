"""OME-NGFF in all its versions, and COSEM's form of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ....errors import quoted
from ....units import Quantity
from ..documents import ArrayNode, read_node
from ..pyramids import LEVEL, level_paths, multiscales_of
from .reading import CENTRE_OF_LEVELS, Described, Dialect, Level, Reading

#: The axes of versions 0.1 and 0.2, which do not name them; an image of fewer has the last ones.
AXES = "tczyx"


def _image(described: Described) -> tuple[Mapping[str, Any], int] | None:
    """The multiscale image that an array is a level of, and which level."""
    for group, below in described.groups:
        images = multiscales_of(group)
        if group.attrs.get("multiscales") and not images:
            raise ValueError("multiscales is not a list of images")
        for image in images:
            paths = level_paths(image)
            if below in paths:
                return image, paths.index(below)
    return None


def _with_transformations(described: Described) -> Reading | None:
    """Versions 0.4 and 0.5: each level has a scale and perhaps a translation, and so may the image."""
    image, level = _image(described) or ({}, 0)
    datasets = image.get("datasets", ())
    if not datasets or "coordinateSystems" in image or "transform" in datasets[level] or _is_old(image):
        return None
    names = list(AXES[-len(described.shape) :])
    return _reading(
        [dataset["coordinateTransformations"] for dataset in datasets],
        image.get("coordinateTransformations") or (),
        image.get("axes") or names,
        level,
    )


def _with_systems(described: Described) -> Reading | None:
    """Version 0.6: transformations lead from one coordinate system to the next."""
    image, level = _image(described) or ({}, 0)
    if "coordinateSystems" not in image:
        return None
    of_levels = [dataset["coordinateTransformations"] for dataset in image["datasets"]]
    outer: list[Mapping[str, Any]] = []
    system, visited = _system(of_levels[level][-1]["output"]), set()
    while system not in visited:
        visited.add(system)
        onward = [entry for entry in image.get("coordinateTransformations") or () if _system(entry["input"]) == system]
        if len(onward) > 1:
            raise ValueError(f"{len(onward)} coordinate transformations from {system!r}: only one is followed")
        outer.extend(onward)
        system = _system(onward[0]["output"]) if onward else system
    axes = {entry["name"]: entry["axes"] for entry in image["coordinateSystems"]}
    return _reading(of_levels, outer, axes[system], level)


def _system(reference: Any) -> str:
    """The name of a coordinate system, or the path of a level, that a transformation begins or ends at."""
    if isinstance(reference, Mapping):
        return str(reference.get("name") or reference.get("path"))
    return str(reference)


def _without_transformations(described: Described) -> Reading | None:
    """Versions 0.1 to 0.3: no voxel size, so those of the levels follow from their shapes."""
    image, _ = _image(described) or ({}, 0)
    if not image or not _is_old(image):
        return None
    group = next(group for group, below in described.groups if image in multiscales_of(group))
    finest = read_node(described.root, f"{group.path}/{level_paths(image)[0]}".strip("/"))
    shape = finest.shape if isinstance(finest, ArrayNode) else described.shape
    factors = [max(1, round(a / b)) if b else 1 for a, b in zip(shape, described.shape, strict=True)]
    names = image.get("axes") or list(AXES[-len(shape) :])
    return Reading(names, levels=[Level(factors)], squeeze=True, relative=True)


def _is_old(image: Mapping[str, Any]) -> bool:
    """True if an image is of a version that has no transformations, and names axes if at all."""
    axes = image.get("axes") or ()
    keys = {key for dataset in image["datasets"] for key in dataset}
    return keys.isdisjoint(["coordinateTransformations", "transform"]) and all(isinstance(axis, str) for axis in axes)


def _reading(own: Sequence[Any], outer: Sequence[Any], axes: Sequence[Any], level: int) -> Reading:
    """What transformations say: those of each level, then those of the image."""
    described = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in axes]
    levels = [_compose([*each, *outer], len(axes)) for each in own]
    starts = [_compose(each, len(axes)).position for each in own]
    if starts[0] is not None:
        # a level that states no translation begins where the finest one does
        levels = [Level(each.size, start and each.position) for each, start in zip(levels, starts, strict=True)]
    return Reading(
        [axis["name"] for axis in described],
        [axis.get("type") or "" for axis in described],
        levels,
        level,
        [axis.get("unit") for axis in described],
        squeeze=True,
    )


def _compose(transformations: Sequence[Any], ndim: int) -> Level:
    """Transformations, one after the other, as a voxel size and the position of the first voxel."""
    size, position = [Fraction(1)] * ndim, None
    for item in _flat(transformations):
        kind = item["type"]
        if kind in ("scale", "translation"):
            if not isinstance(item[kind], list) or len(item[kind]) != ndim:
                raise ValueError(f"{kind} {quoted(item[kind])} of {ndim} axes")
            values = [Quantity.parse(value).value for value in item[kind]]
            pairs = zip(size, values, strict=True)
        if kind == "scale":
            size = [a * b for a, b in pairs]
            position = position and [a * b for a, b in zip(position, values, strict=True)]
        elif kind == "translation":
            position = [a + b for a, b in zip(position or [Fraction(0)] * ndim, values, strict=True)]
        elif kind != "identity":
            raise ValueError(f"coordinate transformation {kind!r}: only scale and translation are read")
    return Level(size, position)


def _flat(transformations: Sequence[Any]) -> Iterator[Any]:
    for item in transformations:
        if item["type"] == "sequence":
            yield from _flat(item["transformations"])
        else:
            yield item


def _cosem(described: Described) -> Reading | None:
    """The ``transform`` of each level, in the group or in the attributes of the array itself."""
    image, level = _image(described) or ({}, 0)
    datasets = image.get("datasets", ())
    if datasets and "transform" in datasets[level]:
        documents = [dataset["transform"] for dataset in datasets]
    elif isinstance(described.attrs.get("transform"), Mapping):
        documents, level = [*_finest(described), described.attrs["transform"]], -1
    else:
        return None
    levels = [
        Level(_in_order(document, "scale"), _in_order(document, "translate") if "translate" in document else None)
        for document in documents
    ]
    units = documents[level].get("units")
    if isinstance(units, list):
        units = _in_order(documents[level], "units")
    return Reading(
        _in_order(documents[level], "axes"), None, levels, level % len(levels), units, squeeze=bool(datasets)
    )


def _in_order(document: Mapping[str, Any], key: str) -> list[Any]:
    values = list(document[key])
    return values[::-1] if document.get("order") == "F" else values


def _finest(described: Described) -> list[Any]:
    """The ``transform`` of ``s0`` beside an array that is another level, where it has one."""
    parent, _, name = described.node.path.rpartition("/")
    node = read_node(described.root, f"{parent}/s0".strip("/")) if LEVEL.fullmatch(name) else None
    return [] if node is None or not isinstance(node.attrs.get("transform"), Mapping) else [node.attrs["transform"]]


NGFF_06 = Dialect(
    "OME-NGFF 0.6", ("multiscales", "ome", "coordinateTransformations"), _with_systems, marks=CENTRE_OF_LEVELS
)
NGFF_04 = Dialect("OME-NGFF 0.4 or 0.5", (), _with_transformations, marks=CENTRE_OF_LEVELS)
NGFF_OLD = Dialect("OME-NGFF 0.1 to 0.3", (), _without_transformations)
COSEM = Dialect("COSEM", ("transform",), _cosem, marks=CENTRE_OF_LEVELS)
