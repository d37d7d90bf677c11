"""TIFF files, and stacks of TIFF or PNG slices."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from ..errors import StoreError, TreeError
from ..model import fields
from ..model.base import SourceConfig
from ..model.meta import CHANNEL, interpolatable
from ..model.nested import digest
from ..storage.access.files import File
from ..storage.metadata.axes import roles_of
from ..storage.metadata.documents import require_on_disk
from ..storage.tiff.images import Image, read_image
from ..units import DEFAULT_UNIT, Quantity, parse_unit, without_noise
from .stored_opened import StoredOpened

logger = logging.getLogger(__name__)

#: Of a longer stack only so many slices are compared when it is opened; the others when they are read or verified.
COMPARED = 100


def to_units(value: Any) -> tuple[str, ...] | None:
    """attrs converter: units of length, or None."""
    names = fields.to_names(value)
    return None if names is None else tuple(map(parse_unit, names))


@attrs.frozen(eq=False, repr=False)
class TiffArrayConfig(SourceConfig):
    """A TIFF file (BigTIFF, OME-TIFF, ImageJ hyperstack, pages), or a stack of TIFF or PNG slices, read lazily.

    Only the tiles, strips or rows that a region touches are read. Axes and voxel sizes come from OME-XML, from
    what ImageJ wrote or from resolution tags; the arguments here win. One axis that the file does not name
    is z. Channels and other non-spatial axes are moved first, colours are channels. What compression needs
    beyond deflate comes with ``pip install 'gp_arrays[tiff]'``.

    Args:
        name: The array's name.
        file_name: The file; or a pattern such as ``"slices/*.tif"``: the files are then slices along z, in the order
            of the numbers in their names.
        offset: The corner of the first voxel, one length per spatial axis; by default 0.
        voxel_size: One length per spatial axis. Where neither it nor the file says one, it is 1 nm, with a warning.
        axes: Names of all axes in the file's order, that of slices first; ``c``, ``s`` and ``t`` are not spatial.
        units: The unit of each spatial axis, of bare lengths here and of those of the file.
        interpolatable: Overrides that floats and integers up to 16 bits are.

    Raises:
        StoreError: A file that is missing, truncated or damaged, or cannot be decoded; slices that differ or are
            missing; metadata that are not understood.

    >>> import gp_arrays as gpa, numpy as np, tempfile, tifffile
    >>> path = tempfile.mkdtemp() + "/raw.tif"
    >>> planes = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    >>> tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "ZYX", "spacing": 40, "unit": "nm"})
    >>> raw = gpa.TiffArrayConfig("raw", path).array()
    >>> raw
    <gp_arrays.Array 'raw' uint8[2, 3, 4] axes=z,y,x roi=[0:80, 0:3, 0:4] voxel_size=(40, 1, 1) nm>
    >>> raw[1, 1:, :2]
    array([[16, 17],
           [20, 21]], dtype=uint8)
    """

    file_name: Path = attrs.field(converter=fields.to_path)
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    axes: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    units: tuple[str, ...] | None = attrs.field(default=None, converter=to_units)
    interpolatable: bool | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_bool))

    aliases: ClassVar[Mapping[str, str | None]] = {"axis_names": "axes"}

    def open(self, mode: str | None = None) -> TiffOpened:
        return TiffOpened(self)


class TiffOpened(StoredOpened):
    """Opened images. Their metadata are read when they are opened, voxels when they are requested."""

    def __init__(self, config: TiffArrayConfig) -> None:
        require_on_disk(config.file_name)
        self.location = str(config.file_name)
        self._files, self._is_stack = _files(config.file_name)
        self._images: dict[int, Image] = {}
        for number in range(0, len(self._files), len(self._files) // COMPARED + 1):
            self._image(number)
        first = self._images[0]
        letters, shape, chunks = _letters(first.axes), first.shape, first.chunks
        if self._is_stack:
            letters, shape, chunks = ("z", *letters), (len(self._files), *shape), (1, *chunks)
        if config.axes is None and not (set(letters) <= set("zyxcts") and len(set(letters)) == len(letters)):
            found = f"{', '.join(letters)}, shape {shape} in {self.location}"
            raise StoreError("the meaning of its axes is not known", found, "`axes=` names them")
        axes, leads = roles_of(len(shape), config.axes, letters)
        # colours are one channel of OME-XML
        self.arrange(axes, leads, shape, chunks, first.channels if CHANNEL in first.axes else None)
        self.dtype = first.dtype.newbyteorder("=")
        self.attrs = {}
        self.interpolatable = interpolatable(self.dtype) if config.interpolatable is None else config.interpolatable
        dims = len(self.spatial_axes)
        units = config.units or (None,) * dims
        if len(units) != dims:
            found, allowed = ", ".join(config.units or ()), f"{dims}: {', '.join(self.spatial_axes)}"
            raise TreeError("its units are not one per spatial axis", found, allowed)
        sizes = config.voxel_size or self._stated(first, [(letters[i], axes[i]) for i in self._order[-dims:]], units)
        self.voxel_size, self.offset = without_noise(
            _in_units(sizes, units), _in_units(config.offset or (Quantity.parse(0),) * dims, units)
        )

    def _stated(
        self, image: Image, axes: Sequence[tuple[str, str]], units: Sequence[str | None]
    ) -> tuple[Quantity, ...]:
        """Voxel sizes by the letters of axes, else by the names that the user gave them; ``units`` replace the file's."""
        try:
            stated = image.lengths()
        except StoreError as error:
            raise StoreError(error.problem, f"{error.found} in {self.location}", error.allowed) from None
        sizes = [stated.get(letter) or stated.get(name) for letter, name in axes]
        unstated = ", ".join(name for (_, name), size in zip(axes, sizes, strict=True) if size is None)
        if unstated:
            self.assumed = (
                *self.assumed,
                f"voxel size along {unstated}: 1 nm assumed",
            )
            logger.warning("%s says no voxel size along %s: 1 nm assumed", self.location, unstated)
        lengths = [size or Quantity.parse(1, DEFAULT_UNIT) for size in sizes]
        return tuple(Quantity(each.value, unit or each.unit) for each, unit in zip(lengths, units, strict=True))

    def _image(self, number: int) -> Image:
        """The metadata of the image of a file, read once."""
        image = self._images.get(number)
        if image is None:
            image = self._images[number] = read_image(self._files[number])
            first = self._images[0]
            if (image.axes, image.shape, image.dtype) != (first.axes, first.shape, first.dtype):
                raise StoreError(
                    "slices differ",
                    found=f"{image.pages[0]}: {image.dtype} {image.shape}",
                    allowed=f"as {self._files[0].name}: {first.dtype} {first.shape}",
                )
        return image

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        box = self.box_in_store(index)
        if self._is_stack:
            numbers, *box_of_slice = box
            data = np.stack([self._image(number).read(box_of_slice) for number in range(numbers.start, numbers.stop)])
        else:
            data = self._images[0].read(box)
        return self.as_delivered(data)

    def require_readable(self) -> None:
        for number in range(len(self._files)):
            self._image(number)

    def fingerprint(self) -> str:
        paths = dict.fromkeys([*self._files, *(page.file.path for page in self._images[0].pages)])
        files = [File.of(path.resolve()) for path in paths]
        return digest(repr(files))


def _files(path: Path) -> tuple[list[Path], bool]:
    """The file, or the files that match a pattern in the order of their numbers; and True if it is a pattern."""
    if path.exists() or not re.search(r"[*?[]", str(path)):
        return [path], False
    base = next(parent for parent in path.parents if parent.exists())
    # every second part is a number
    parts = {file: re.split(r"(\d+)", str(file)) for file in base.glob(str(path.relative_to(base)))}
    files = sorted(parts, key=lambda file: [int(part) if i % 2 else part for i, part in enumerate(parts[file])])
    if not files:
        raise StoreError("no file matches", found=str(path))
    if len({(*parts[file][:-2], parts[file][-1]) for file in files}) == 1 < len(files):
        numbers = [int(parts[file][-2]) for file in files]
        steps = [b - a for a, b in itertools.pairwise(numbers)]
        if len(set(steps)) > 1:
            gap = steps.index(max(steps))
            raise StoreError(
                "slices are missing", f"none between {files[gap]} and {files[gap + 1].name}", "numbers at equal steps"
            )
    return files, True


def _letters(letters: Sequence[str]) -> tuple[str, ...]:
    """The letters of axes as names: colours are channels, a single axis without a name is z."""
    names = ["c" if letter == "s" and "c" not in letters else letter for letter in letters]
    unknown = [number for number, name in enumerate(names) if name in "iq"]
    if len(unknown) == 1 and "z" not in names:
        names[unknown[0]] = "z"
    return tuple(names)


def _in_units(lengths: Sequence[Quantity], units: Sequence[str | None]) -> tuple[Quantity, ...]:
    """Lengths, the bare ones in the units of their axes."""
    if len(lengths) != len(units):
        return tuple(lengths)  # refused with the number of axes that there are
    return tuple(Quantity(each.value, each.unit or unit) for each, unit in zip(lengths, units, strict=True))
