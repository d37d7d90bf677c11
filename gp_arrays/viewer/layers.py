"""Layers: the volume of an array with the colours that suit its kind, and boxes around arrays."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from fractions import Fraction

import neuroglancer

from ..model.array import Array
from ..units import metres
from .kinds import IMAGE, LABELS, MASK, MIXED, contrast, kind, shader
from .volume import Volume, source

#: The begin and the end of a box.
Box = tuple[tuple[float, ...], tuple[float, ...]]
#: Masks of one view begin at different hues; this is the step from one mask to the next.
HUE_STEP = 0.38


def layer_of(array: Array, visible: bool = True, hue: float = 0.0) -> neuroglancer.ManagedLayer:
    """The layer that shows an array's computed voxels.

    Args:
        array: What to show.
        visible: True if it is shown from the start.
        hue: The hue of the first colour of a mask, from 0 (red) to 1.
    """
    what = kind(array)
    mixed = what != LABELS and array.channels is not None and len(array.channels) <= MIXED
    data = source(Volume(array, labels=what == LABELS, mixed=mixed))
    if what == LABELS:
        layer = neuroglancer.SegmentationLayer(source=data)
    else:
        layer = neuroglancer.ImageLayer(source=data, shader=shader(array, what, mixed, hue), opacity=1)
    if what == IMAGE:
        layer.shader_controls = {"contrast": {"range": list(contrast(array))}}
    if what == MASK:
        layer.opacity = 0.5
    managed = neuroglancer.ManagedLayer(array.name, layer)
    managed.visible = visible
    return managed


def layers_of(arrays: Mapping[str, Array]) -> list[neuroglancer.ManagedLayer]:
    """The layers of a row, by their names there: images, then masks, then labels.

    Each is drawn above those before it. Labels are half transparent and let masks be seen;
    masks above them would hide their colours. All masks are visible at first, and the first
    image and the first labels. Further images and labels would cover these; they can be
    switched on.
    """
    layers = []
    for what in (IMAGE, MASK, LABELS):
        same_kind = {name: array for name, array in arrays.items() if kind(array) == what}
        for i, (name, array) in enumerate(same_kind.items()):
            layer = layer_of(array, visible=what == MASK or i == 0, hue=i * HUE_STEP % 1)
            layer.name = name
            layers.append(layer)
    return layers


def screen_axes(arrays: Sequence[Array]) -> list[str]:
    """Names of the spatial axes in the order of the screen: x to the right, y down, z into it.

    Of axes with other names the last one is to the right.
    """
    names: list[str] = []
    for array in arrays:
        names += [name for name in reversed(array.spatial_axes) if name not in names]
    return sorted(names, key=lambda name: "xyz".index(name) if name in ("x", "y", "z") else len("xyz"))


def screen_space(arrays: Sequence[Array]) -> neuroglancer.CoordinateSpace:
    """The axes of the screen, with the voxel size of the first array that has them."""
    names = screen_axes(arrays)
    owner = {name: next(a for a in arrays if name in a.spatial_axes) for name in names}
    return neuroglancer.CoordinateSpace(
        names=names,
        units=[owner[name].unit for name in names],
        scales=[int(owner[name].voxel_size[owner[name].spatial_axes.index(name)]) for name in names],
    )


def middle(arrays: Sequence[Array], space: neuroglancer.CoordinateSpace) -> list[float]:
    """The centre of a voxel of the first array, in voxels of the screen: that in the middle of ``bounds``.

    On the border between two voxels the browser may ask for the one and draw the other.
    """
    begin, end = _box(arrays[0], space)
    sizes = dict(zip(arrays[0].spatial_axes, arrays[0].meta.spatial_shape, strict=True))
    position = []
    for name, low, high, b, e in zip(space.names, *bounds(arrays, space), begin, end, strict=True):
        voxel = (e - b) / sizes.get(name, 1)
        position.append(b + ((low + high - 2 * b) // (2 * voxel) + 0.5) * voxel)
    return position


def bounds(arrays: Sequence[Array], space: neuroglancer.CoordinateSpace) -> Box:
    """The box, in voxels of the screen, that all arrays have in common; that of the first array if there is none."""
    boxes = [_box(array, space) for array in arrays]
    low = tuple(max(begins) for begins in zip(*(begin for begin, _ in boxes), strict=True))
    high = tuple(min(ends) for ends in zip(*(end for _, end in boxes), strict=True))
    return (low, high) if all(map(operator.lt, low, high)) else boxes[0]


def _box(array: Array, space: neuroglancer.CoordinateSpace) -> Box:
    """The begin and the end of an array in voxels of the screen. It is exact up to the last division."""
    unit = metres(array.unit)
    spans = dict(zip(array.spatial_axes, zip(array.roi.begin, array.roi.end, strict=True), strict=True))
    corners = []
    for corner in (0, 1):
        lengths = [int(spans.get(name, (0, 1))[corner]) * unit for name in space.names]
        scales = [Fraction(repr(float(scale))) for scale in space.scales]
        corners.append(tuple(float(length / scale) for length, scale in zip(lengths, scales, strict=True)))
    return corners[0], corners[1]


def box_layer(arrays: Mapping[str, Array], space: neuroglancer.CoordinateSpace) -> neuroglancer.Layer:
    """The rois as boxes, one for all arrays with the same roi."""
    names: dict[Box, list[str]] = {}
    for name, array in arrays.items():
        names.setdefault(_box(array, space), []).append(name)
    boxes = [
        neuroglancer.AxisAlignedBoundingBoxAnnotation(
            id=f"roi-{i}", description=", ".join(names[low, high]), point_a=low, point_b=high
        )
        for i, (low, high) in enumerate(names)
    ]
    return neuroglancer.LocalAnnotationLayer(dimensions=space, annotations=boxes, annotation_color="#ffcc00")
