"""Annotations that are stored as one array per class: targets, and masks of the voxels that are annotated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import ComputeError, ConfigError, StoreError, TreeError, quoted
from ..model import fields
from ..model.base import SourceConfig
from ..model.meta import CHANNEL, Axis
from ..model.opened import Opened
from ..model.urls import Url
from ..storage.access.chunk_files import documents_read_once
from ..storage.access.remote import StorePath
from ..storage.metadata.annotations import (
    Encoding,
    class_names,
    decode,
    encoding_of,
    malformed,
    unexplained,
    wholly_unknown,
)
from ..storage.metadata.dialects import GEOMETRY_KEYS
from ..storage.metadata.documents import ArrayNode, ChunkedNode, Node, find_node, read_node, require_on_disk
from ..storage.metadata.pyramids import multiscales_of
from ..units import Quantity
from .zarr_ import ZarrArrayConfig
from .zarr_opened import ZarrOpened

OUTPUTS = ("target", "mask")
_EXAMPLE = '["er", ["mito", ["mito_mem", "mito_lum"]]]'
Class = str | tuple[str, tuple[str, ...]]


def to_classes(value: Any) -> tuple[Class, ...]:
    """attrs converter: names, or (name, parts) pairs, or a mapping of names to parts."""
    items = tuple(value.items()) if isinstance(value, Mapping) else fields.items_of(value, "classes")
    if not items:
        raise ConfigError("not a list of classes", found=quoted(value), allowed=f"such as {_EXAMPLE}")
    classes = tuple(map(_to_class, items))
    repeated_names = fields.repeated(list(map(_name, classes)))
    if repeated_names:
        raise ConfigError("channel names are not unique", found=", ".join(repeated_names), allowed="each name once")
    return classes


def _to_class(item: Any) -> Class:
    name, parts = (item, [item]) if isinstance(item, str) or not _is_list(item) or len(item) != 2 else item
    if (
        not _is_list(parts)
        or not parts
        or not all(isinstance(each, str) and each.strip("/") for each in (name, *parts))
    ):
        raise ConfigError("not a class", found=quoted(item), allowed=f"a name, or (name, parts) as in {_EXAMPLE}")
    parts = tuple(dict.fromkeys(parts))
    return name if parts == (name,) else (name, parts)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _name(item: Class) -> str:
    return item if isinstance(item, str) else item[0]


def _parts(item: Class) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else item[1]


@attrs.frozen(eq=False, repr=False)
class CellMapArrayConfig(SourceConfig):
    """Annotations in CellMap's layout: a crop group with a pyramid for each annotated class.

    One uint8 channel per class, with one of two meanings. The target is 1 where the class is. The
    mask is 1 where it is known whether the class is there: everywhere in a class that the crop's ``class_names`` list,
    except for voxels with the encoding's ``unknown`` value; nowhere in a class that they do not
    list (its target is 0), whether or not a group of that name exists. A listed class
    whose voxels are all absent is known to be absent: mask 1, target 0.

    The meaning of values is in ``annotation_type`` of the attributes of the class's array,
    else of its group: ``present`` of a semantic annotation is the class, and so is, where the
    encoding has no ``present``, every value but ``absent`` and ``unknown``.

    Args:
        name: The array's name.
        file_name: The store's folder.
        dataset: The crop's path in it.
        classes: Names, in the order of the channels. A class composed of others is a pair (name,
            names of its parts), or ``classes`` is a mapping of such: its target is 1
            where any part is, its mask where all parts are known.
        scale: The level of the pyramids; 0, the finest, by default. Values of a level are
            read as they are, never interpolated.
        output: ``"target"`` or ``"mask"``.

    Raises:
        StoreError: Metadata that are missing or malformed, with path and key.
        TreeError: Classes that do not lie on one grid at that scale.
        ComputeError: A voxel whose value an encoding with ``present`` does not have.

    >>> import gp_arrays as gpa
    >>> crop = gpa.CellMapArrayConfig("crop", "a.zarr", "crop1", ["er", ("mito", ["mito_mem", "mito_lum"])])
    >>> crop.classes, crop.verify()[0]
    (('er', ('mito', ('mito_mem', 'mito_lum'))), False)
    """

    is_mask = True

    file_name: Path = attrs.field(converter=fields.to_path)
    dataset: str = attrs.field(converter=fields.to_text)
    classes: tuple[Class, ...] = attrs.field(converter=to_classes)
    scale: int | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_integer))
    output: str = attrs.field(default="target", validator=fields.one_of(*OUTPUTS))

    def open(self, mode: str | None = None) -> CellMapOpened:
        with documents_read_once():
            return CellMapOpened(self)


class _ClassOpened(ZarrOpened):
    """The array of a class. It cannot be read any more when its crop has been removed."""

    def __init__(self, config: ZarrArrayConfig, crop: str) -> None:
        super().__init__(config, False)
        self._crop = crop

    def _read_metadata_again(self) -> ChunkedNode:
        node = super()._read_metadata_again()
        require_crop(self.root, self._crop)
        return node


def require_crop(root: StorePath, dataset: str) -> None:
    """Raises StoreError if the group of an opened crop has been removed."""
    if read_node(root, dataset) is None:
        raise StoreError("the crop has vanished since it was opened", found=f"{root}/{dataset}")


@attrs.frozen(eq=False)
class _Part:
    """A stored class: its array, the meaning of its values, and True if all its voxels are unknown."""

    array: ZarrOpened
    encoding: Encoding
    unknown: bool

    def is_read_for(self, output: str) -> bool:
        """True if its voxels must be read: with some encodings all voxels of a mask are known."""
        return output == "target" or self.encoding.unknown is not None or self.encoding.present is not None


class CellMapOpened(Opened):
    """An opened crop. Its metadata are read when it is opened, voxels when they are requested."""

    dtype = np.dtype("uint8")
    interpolatable = False

    def __init__(self, config: CellMapArrayConfig) -> None:
        require_on_disk(config.file_name)
        self._config = config
        self._dataset = config.dataset.strip("/")
        self.location = f"{config.file_name}/{self._dataset}"
        crop = find_node(config.file_name, self._dataset)
        if isinstance(crop, ArrayNode):
            raise StoreError("an array, not a crop of one group per class", found=self.location)
        listed = class_names(crop, self.location)
        wanted = dict.fromkeys(part for item in config.classes for part in _parts(item))
        self._stored = {part: self._open_part(part) for part in wanted if part in listed and self._group(part)}
        arrays = {part: stored.array for part, stored in self._stored.items()}
        if not arrays:
            # none of the classes was annotated: the grid is that of any other class of the crop
            some = next((name for name in listed if self._group(name)), None)
            if some is None:
                raise StoreError(
                    "the crop holds no class that it lists, so nothing says where it lies", found=self.location
                )
            arrays = {some: self._open_array(some)}
        _require_one_grid(arrays, config.scale or 0)
        base = next(iter(arrays.values()))
        names = tuple(map(_name, config.classes))
        self.nonspatial = (Axis(CHANNEL, len(names), names),)
        self.spatial_axes, self.voxel_size, self.offset = base.spatial_axes, base.voxel_size, base.offset
        self.shape = (len(names), *base.shape)
        self.chunks = (1, *base.chunks) if base.chunks else None
        self.attrs = {key: value for key, value in crop.attrs.items() if key not in GEOMETRY_KEYS}

    def folders(self) -> Sequence[Path | Url]:
        return [folder for part in self._stored.values() for folder in part.array.folders()]

    def _path(self, name: str) -> str:
        return f"{self._dataset}/{name}".strip("/")

    def _group(self, name: str) -> Node | None:
        return read_node(self._config.file_name, self._path(name))

    def _open_array(self, name: str) -> ZarrOpened:
        group = self._group(name)
        if group is not None and not isinstance(group, ArrayNode) and not multiscales_of(group):
            found = group.attrs.get("multiscales")
            raise malformed("multiscales", f"{self.location}/{name}", found, "the levels of the class's pyramid")
        config = ZarrArrayConfig(name, self._config.file_name, self._path(name), scale=self._config.scale)
        array = _ClassOpened(config, self._dataset)
        if array.nonspatial or array.dtype.kind not in "bui":
            axes = ", ".join((*(axis.name for axis in array.nonspatial), *array.spatial_axes))
            raise StoreError(
                "the array of a class is not one of integers along spatial axes",
                found=f"{array.dtype} along {axes} in {array.location}",
            )
        return array

    def _open_part(self, name: str) -> _Part:
        array, group = self._open_array(name), self._group(name)
        locations = array.location, f"{self.location}/{name}"
        encoding = encoding_of(array.node, group, locations)
        return _Part(array, encoding, wholly_unknown(array.node, encoding, array.location))

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        first, *spatial = index
        box, output = tuple(spatial), self._config.output
        classes = self._config.classes[first]
        out = np.zeros((len(classes), *(part.stop - part.start for part in box)), np.uint8)
        masks: dict[str, np.ndarray[Any, Any]] = {}
        for channel, item in zip(out.view(bool), classes, strict=True):
            parts = [self._stored.get(name) for name in _parts(item)]
            known = [part for part in parts if part is not None and not part.unknown]
            if output == "mask":
                if len(known) < len(parts):
                    continue
                channel[...] = True
            for part in known:
                if not part.is_read_for(output):
                    continue
                location = part.array.location
                if location not in masks:
                    masks[location] = self._decoded(part, box)
                (np.logical_and if output == "mask" else np.logical_or)(channel, masks[location], out=channel)
        if not masks:
            # the metadata alone decide these voxels, as long as the crop exists
            require_crop(self._config.file_name, self._dataset)
        return out

    def _decoded(self, part: _Part, box: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        voxels = part.array.read(box)
        at = unexplained(voxels, part.encoding)
        if at is not None:
            where = [
                str(Quantity(o.value + (part_.start + i) * v.to(o.unit or "nm"), o.unit))
                for o, v, part_, i in zip(self.offset, self.voxel_size, box, at, strict=True)
            ]
            raise ComputeError(
                "a voxel's value is not in the encoding",
                found=f"{voxels[at]} at ({', '.join(where)}) in {part.array.location}",
                allowed=", ".join(map(str, part.encoding.known)),
            )
        return decode(voxels, part.encoding, self._config.output)

    def fingerprint(self) -> str:
        return " ".join(part.array.fingerprint() for part in self._stored.values())

    def chunk_of(self, index: Any) -> tuple[str, str] | None:
        for name in _parts(self._config.classes[index[0]]):
            if name in self._stored:
                array = self._stored[name].array
                key_and_state = array.chunk_of(index[1:])
                return key_and_state and (f"{array.node.path}/{key_and_state[0]}", key_and_state[1])
        return None


def _require_one_grid(arrays: Mapping[str, ZarrOpened], scale: int) -> None:
    """Raises TreeError if two classes do not have the same shape, voxel size and offset. It names both."""
    names = list(arrays)
    for name in names[1:]:
        pair = arrays[names[0]], arrays[name]
        if _grid(pair[0]) != _grid(pair[1]):
            found = ", ".join(
                f"{which}: {array.shape} voxels of ({', '.join(map(str, array.voxel_size))}) "
                f"from ({', '.join(map(str, array.offset))})"
                for which, array in zip((names[0], name), pair, strict=True)
            )
            raise TreeError(f"classes do not lie on one grid at scale {scale}", found=found)


def _grid(array: ZarrOpened) -> tuple[Any, ...]:
    lengths = [quantity.to("m") for quantity in (*array.voxel_size, *array.offset)]
    return array.shape, array.spatial_axes, lengths
