"""Volumes in Neuroglancer's precomputed format."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, StoreError, quoted
from ..model import fields
from ..model.base import SourceConfig
from ..model.fields import VoxelSize
from ..model.meta import CHANNEL, Axis, interpolatable
from ..model.nested import digest
from ..model.opened import Opened
from ..model.urls import Url, to_store, to_store_options
from ..storage.access.remote import StorePath, store_path
from ..storage.access.stamps import is_due
from ..storage.metadata.pyramids import level_of_size
from ..storage.precomputed.info import Info, Scale, require_encoding
from ..storage.precomputed.volumes import read_box, read_chunk, read_info
from ..units import DEFAULT_UNIT, Quantity, in_unit, without_noise


def to_volume(value: Any) -> Path | Url:
    """attrs converter: a path or URL, with or without the name of the format that Neuroglancer adds to it."""
    if isinstance(value, (str, Path)):
        value = re.sub(r"^precomputed:/*(?=[a-z0-9+]+:|/)|/?\|neuroglancer-precomputed:?$", "", str(value))
    return to_store(value)


def to_scale(value: Any) -> int | str | VoxelSize:
    """attrs converter: as ``fields.to_scale``; a text may also be the key of a scale."""
    return value if isinstance(value, str) and value else fields.to_scale(value)


@attrs.frozen(eq=False, repr=False)
class PrecomputedArrayConfig(SourceConfig):
    """A scale of a volume in Neuroglancer's precomputed format, in a folder or behind a URL.

    Axes are z, y, x, several channels an axis ``c`` before them. Chunks are raw, ``compressed_segmentation``,
    JPEG, PNG or JPEG XL, in files of their own or in shards. Voxel size and offset are those of its ``info``, in
    nanometers; the arguments here win. Absent chunks are 0. Chunks that are images need
    ``pip install 'gp_arrays[tiff]'``.

    Args:
        name: The array's name.
        file_name: The folder, or a URL such as ``"gs://bucket/volume"`` or ``"https://..."``; a prefix
            ``precomputed://`` is ignored.
        scale: Its number, 0 the finest, or its key, such as ``"16_16_40"``. A voxel size, such as ``"16 nm"`` or one
            length per axis, is the scale with the largest voxels that are no larger on any axis.
        voxel_size, offset: One length per axis; the offset is the corner of the first voxel.
        unit: The unit of the lengths, bare ones here and those of the volume.
        interpolatable: Overrides that images of floats and integers up to 16 bits are and segmentations are not.
        storage_options: Options of fsspec for the URL, such as ``{"anon": True}``. Never secrets, which belong into
            the environment or fsspec's own configuration.

    Raises:
        StoreError: There is no volume; it is malformed, or in an encoding that is not read; a chunk is damaged.

    >>> import gp_arrays as gpa, numpy as np, json, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> scale = {"key": "4_4_40", "size": [4, 3, 2], "resolution": [4, 4, 40], "encoding": "raw"}
    >>> scale |= {"chunk_sizes": [[64, 64, 64]], "voxel_offset": [0, 0, 10]}
    >>> info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    >>> _ = (folder / "info").write_text(json.dumps(info))
    >>> (folder / "4_4_40").mkdir()
    >>> _ = (folder / "4_4_40" / "0-4_0-3_10-12").write_bytes(bytes(range(24)))
    >>> raw = gpa.PrecomputedArrayConfig("raw", folder).array()
    >>> raw
    <gp_arrays.Array 'raw' uint8[2, 3, 4] axes=z,y,x roi=[400:480, 0:12, 0:16] voxel_size=(40, 4, 4) nm>
    >>> raw[1, 1:, :2]
    array([[16, 17],
           [20, 21]], dtype=uint8)
    """

    file_name: Path | Url = attrs.field(converter=to_volume)
    scale: int | str | VoxelSize = attrs.field(default=0, converter=to_scale)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    unit: str | None = attrs.field(default=None, converter=fields.to_unit)
    interpolatable: bool | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_bool))
    storage_options: dict[str, Any] | None = attrs.field(default=None, converter=to_store_options)

    def open(self, mode: str | None = None) -> PrecomputedOpened:
        root = store_path(self.file_name, self.storage_options)
        return PrecomputedOpened(self, root, read_info(root))


class PrecomputedOpened(Opened):
    """An opened volume. Its ``info`` is read when it is opened, its voxels when they are requested."""

    spatial_axes = ("z", "y", "x")
    dialect = "Neuroglancer precomputed"

    def __init__(self, config: PrecomputedArrayConfig, root: StorePath, info: Info) -> None:
        self._config, self._root, self._info = config, root, info
        self._scale = scale = _find_scale(config, info)
        self.location = f"{root}/{scale.key}"
        require_encoding(info, scale)
        self._has_folder = self._find_folder()
        self.assumed = () if self._has_folder else ("none of its chunks exists: all voxels are 0",)
        self.nonspatial = (Axis(CHANNEL, info.channels),) if info.channels > 1 else ()
        leads = tuple(axis.size for axis in self.nonspatial)
        self.shape, self.chunks = (*leads, *scale.size), (*leads, *scale.chunk)
        self.codec = scale.encoding
        self.dtype = info.dtype.newbyteorder("=")
        sizes = in_unit(config.voxel_size or (), config.unit) or _voxel_size(scale, config.unit)
        corner = tuple(Quantity(s.value * b, s.unit) for s, b in zip(sizes, scale.begin, strict=False))
        self.voxel_size, self.offset = without_noise(sizes, in_unit(config.offset or (), config.unit) or corner)
        declared = interpolatable(self.dtype) and not info.is_labels
        self.interpolatable = declared if config.interpolatable is None else config.interpolatable
        self.attrs = {}
        self.is_remote = not isinstance(root, Path)
        self._asked = -math.inf

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        channels = index[0] if self.nonspatial else slice(0, 1)
        box = (channels, *index[len(self.nonspatial) :])
        voxels, complete = read_box(self._root, self._info, self._scale, box)
        if not complete and (not self.is_remote or is_due(self._asked)):
            self._require_unchanged()
            self._asked = time.monotonic()
        return (voxels if self.nonspatial else voxels[0]).astype(self.dtype, copy=False)

    def _find_folder(self) -> bool:
        """True if the chunks of the scale have a folder, or if the volume is behind a URL, where there are no folders."""
        return not isinstance(self._root, Path) or (self._root / self._scale.key).is_dir()

    def _require_unchanged(self) -> None:
        """Raises StoreError if the volume has changed. Otherwise absent chunks are 0."""
        if read_info(self._root) != self._info or self._find_folder() != self._has_folder:
            raise StoreError("the volume has changed since it was opened", found=self.location)

    def notices_damage(self) -> bool:
        return self._scale.has_checksums

    def coarser(self) -> Sequence[PrecomputedOpened]:
        config = self._config
        if config.voxel_size or config.offset:
            return ()  # the scales do not lie where the array does
        opened = []
        for scale in self._info.scales:
            with contextlib.suppress(StoreError):  # a scale that cannot be read is no level
                opened.append(PrecomputedOpened(config.with_fields(scale=scale.key), self._root, self._info))
        coarser = [volume for volume in opened if self.is_finer_than(volume)]
        return sorted(coarser, key=lambda volume: math.prod(size.to("m") for size in volume.voxel_size))

    def chunk_of(self, index: Sequence[int]) -> tuple[str, str]:
        spatial = index[len(self.nonspatial) :]
        position = tuple(i // n for i, n in zip(spatial, self._scale.chunk, strict=True))
        present = read_chunk(self._root, self._scale, position) is not None
        return self._scale.chunk_key(position), "present" if present else "absent: 0"

    def fingerprint(self) -> str:
        return digest(self.location, str(self._info))


def _voxel_size(scale: Scale, unit: str | None) -> tuple[Quantity, ...]:
    """The voxel size that a scale states. Raises StoreError."""
    try:
        sizes = tuple(Quantity.parse(size, unit or DEFAULT_UNIT) for size in scale.resolution)
    except ConfigError:
        sizes = ()
    if not sizes or any(size.value <= 0 for size in sizes):
        found = f"resolution {quoted(scale.resolution[::-1])} of scale {scale.key!r}"
        raise StoreError("cannot understand the voxel size", found, "`voxel_size=` overrides it")
    return sizes


def _find_scale(config: PrecomputedArrayConfig, info: Info) -> Scale:
    """The scale that a config names by number, key or voxel size. Raises StoreError."""
    wanted, keys = config.scale, [scale.key for scale in info.scales]
    if isinstance(wanted, str) and wanted.strip("/") in keys:
        return info.scales[keys.index(wanted.strip("/"))]
    try:
        wanted = fields.to_scale(wanted)
        if isinstance(wanted, VoxelSize):
            sizes = [_voxel_size(scale, config.unit) for scale in info.scales]
            wanted = level_of_size(sizes, wanted, config.unit or config.tree_unit or DEFAULT_UNIT)
    except ConfigError:  # a text that is no length
        wanted = -1
    if not 0 <= wanted < len(keys):
        allowed = f"0 to {len(keys) - 1}, {', '.join(keys)}, or a voxel size"
        raise StoreError("there is no such scale", quoted(config.scale), allowed)
    return info.scales[wanted]
