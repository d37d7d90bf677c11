"""Volumes of a DVID server, read over its HTTP API: grey values, colours and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from ..errors import ConfigError, StoreError, quoted
from ..model import fields
from ..model.base import SourceConfig
from ..model.meta import CHANNEL, Axis, interpolatable
from ..model.opened import Opened
from ..model.threads import cached_property
from ..storage.dvid.blocks import Blocks
from ..storage.dvid.http import NoSuchInstance, server_url
from ..storage.dvid.versions import Ref, is_locked, resolve
from ..storage.dvid.volumes import Instance, find_instance, get_instance, instance_url, read_box
from ..units import Quantity, in_unit, metres

Extent = tuple[tuple[int, ...], tuple[int, ...]]


def to_source(value: Any) -> tuple[str, str, str]:
    """attrs converter: (server, uuid, instance). Errors do not repeat the server, which may hold a password."""
    items = fields.items_of(value, "texts") if isinstance(value, (list, tuple)) else ()
    if len(items) != 3 or not all(isinstance(item, str) and item for item in items):
        raise ConfigError("not a DVID source", found=f"a {type(value).__name__}", allowed="(server, uuid, instance)")
    server, version, name = items
    try:
        return server_url(server), str(Ref.parse(version)), _instance_name(name)
    except ValueError as error:
        raise ConfigError("not a DVID source", found=str(error), allowed="(server, uuid, instance)") from None


def _instance_name(name: str) -> str:
    if not name.isprintable() or name in (".", ".."):
        raise ValueError(f"{name!r} names no instance")
    return name


def to_level(value: Any) -> int:
    """attrs converter: a scale, 0 or above."""
    level = fields.to_integer(value)
    if not 0 <= level < 64:
        raise ConfigError("not a scale", found=level, allowed="0 (the finest), 1, 2, ...")
    return level


def to_extent(value: Any) -> Extent | None:
    """attrs converter: ``[[first voxel], [shape]]``, or None."""
    if value is None:
        return None
    parts = fields.items_of(value, "two lists of integers")
    if len(parts) != 2:
        raise ConfigError("not an extent", found=quoted(value), allowed="[[first voxel], [shape]]")
    begin, shape = (tuple(map(fields.to_integer, fields.items_of(part, "integers"))) for part in parts)
    if (len(begin), len(shape)) != (3, 3) or min(shape) < 1:
        raise ConfigError("not an extent", found=quoted(value), allowed="[[first voxel], [shape]], each z, y, x")
    return begin, shape


@attrs.frozen(eq=False, repr=False)
class DVIDArrayConfig(SourceConfig):
    """A data instance of a DVID server: grey values, colours or labels.

    Axes are z, y, x, colours a channel axis before them. What the instance is follows from the
    server's type names: uint8blk, uint16blk, uint32blk, uint64blk, float32blk and rgba8blk,
    labelmap, labelarray and labelblk (uint64). Voxel i along an axis lies at i voxel sizes.

    A version is named by its UUID, by the beginning of it, or by a branch (``"3f8c:main"``, ``":main~2"``),
    which is looked up when the array is opened. A job looks it up when it starts, keeps the UUID
    and refuses to go on where the branch has moved. A token that the server wants is read
    from the environment variable ``DVID_TOKEN`` and sent to every server that a tree names; it cannot
    stand in a config.

    Blocks of a version that is locked are kept in memory, up to ``GP_ARRAYS_CACHE_BYTES`` bytes, and requested once.
    An open version may change at any time, so nothing of it is kept: each read asks the server.

    Args:
        name: The array's name.
        source: Server (``"emdata:8900"``, ``"https://..."``), version, and instance.
        scale: How often the voxels are halved. Of labelmap and labelarray the server has the levels;
            of grey values scale 1 is the instance ``<instance>_1``, and so on.
        supervoxels: Of a labelmap the ids before bodies were merged.
        extent: In voxels of that scale, ``[[first voxel], [shape]]``: the part of the instance that the
            array is. Needed where the instance says no extents.
        voxel_size, offset: One length per axis; the offset is the corner of the first voxel.
        unit: The unit of the lengths, bare ones here and those of the server.
        interpolatable: Overrides that grey values of floats and up to 16 bits are and labels are not.

    Raises:
        StoreError: The server does not reply, refuses, or does not deliver every byte; there is no
            such version, instance or scale; or its type cannot be read.

    >>> import gp_arrays as gpa
    >>> gpa.DVIDArrayConfig("raw", ("emdata:8900", "3F8C:main", "grayscale"))
    DVIDArrayConfig('raw', source=('http://emdata:8900', '3f8c:main', 'grayscale'))
    """

    source: tuple[str, str, str] = attrs.field(converter=to_source)
    scale: int = attrs.field(default=0, converter=to_level)
    supervoxels: bool = attrs.field(default=False, converter=fields.to_bool)
    extent: Extent | None = attrs.field(default=None, converter=to_extent)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    unit: str | None = attrs.field(default=None, converter=fields.to_unit)
    interpolatable: bool | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_bool))

    def check(self) -> None:
        for what in ("voxel_size", "offset"):
            lengths = getattr(self, what)
            if lengths is not None and len(lengths) != 3:
                raise ConfigError(f"{what} needs one length per axis", found=f"{len(lengths)}", allowed="3: z, y, x")

    def open(self, mode: str | None = None) -> DVIDOpened:
        return DVIDOpened(self)

    def pinned(self) -> DVIDArrayConfig:
        server, version, name = self.source
        try:
            return self.with_fields(source=(server, resolve(server, Ref.parse(version)), name))
        except StoreError as error:
            raise error.at(self.name) from None


class DVIDOpened(Opened):
    """An opened instance. Its metadata are requested when it is opened, its voxels when they are read."""

    spatial_axes = ("z", "y", "x")
    is_remote = True

    def __init__(self, config: DVIDArrayConfig, base: Instance | None = None) -> None:
        self._config = config
        self._server, version, name = config.source
        self._ref = Ref.parse(version)
        # a prefix names one version for ever, so the request for its full UUID can wait
        self._version = version if self._ref.branch is None else self.uuid
        self._base = base or find_instance(self._server, self._version, name)
        self._instance = instance = self._at_scale(self._base, config)
        self._by_server = config.scale if instance.is_labels else 0
        begin, shape = self._box(instance, config)
        self._begin = begin
        channels = instance.channels
        self.nonspatial = () if channels is None else (Axis(CHANNEL, len(channels), channels),)
        self.shape = (*instance.voxel_shape, *shape)
        self.chunks = (*instance.voxel_shape, *instance.block_size)
        self.dtype = instance.dtype.newbyteorder("=")
        self.voxel_size = self._voxel_size(instance, config)
        self.offset = in_unit(config.offset or (), config.unit) or tuple(
            Quantity(size.value * first, size.unit) for first, size in zip(begin, self.voxel_size, strict=True)
        )
        allowed = interpolatable(self.dtype) and not instance.is_labels and instance.interpolable
        self.interpolatable = allowed if config.interpolatable is None else config.interpolatable
        self.attrs = {}

    @cached_property
    def uuid(self) -> str:
        """The full UUID of the version, looked up once."""
        return resolve(self._server, self._ref)

    @cached_property
    def location(self) -> str:  # type: ignore[override]
        return instance_url(self._server, self.uuid, self._instance.name)

    @cached_property
    def _is_locked(self) -> bool:
        """True if the voxels of this version can never change. The server is asked once."""
        return is_locked(self._server, self.uuid)

    def _at_scale(self, base: Instance, config: DVIDArrayConfig) -> Instance:
        if config.supervoxels and base.kind != "labelmap":
            raise StoreError("has no supervoxels", found=f"{base.name!r} is {base.kind}", allowed="a labelmap")
        if not config.scale:
            return base
        if base.is_labels:
            # the server does not refuse a scale that it does not have: it delivers 0
            if config.scale > base.scales:
                raise NoSuchInstance("there is no such scale", config.scale, f"0 to {base.scales} of {base.name!r}")
            return base
        name = f"{base.name}_{config.scale}"
        try:
            return get_instance(self._server, self._version, name)
        except NoSuchInstance:
            raise NoSuchInstance("there is no such scale", config.scale, f"those with an instance {name!r}") from None

    def _box(self, instance: Instance, config: DVIDArrayConfig) -> Extent:
        if config.extent is not None:
            return config.extent
        if instance.begin is None or instance.end is None:
            raise StoreError(
                "the instance says no extents",
                found=f"{instance.name!r} is empty",
                allowed="`extent=`, in voxels, to read it",
            )
        first = tuple(b >> self._by_server for b in instance.begin)
        last = tuple((e - 1) >> self._by_server for e in instance.end)
        return first, tuple(b - a + 1 for a, b in zip(first, last, strict=True))

    def _voxel_size(self, instance: Instance, config: DVIDArrayConfig) -> tuple[Quantity, ...]:
        if config.voxel_size is not None:
            return in_unit(config.voxel_size, config.unit)
        try:
            units = [config.unit] * 3 if config.unit else list(instance.units or ["nm"] * 3)
            sizes = [Quantity.parse(size, unit) for size, unit in zip(instance.voxel_size, units, strict=True)]
            for unit in units:
                metres(unit)
            if len(sizes) != 3 or any(size.value <= 0 for size in sizes):
                raise ValueError
        except (ConfigError, ValueError, TypeError, AttributeError):
            raise StoreError(
                "cannot understand the voxel size (z, y, x)",
                found=f"VoxelSize {instance.voxel_size}, VoxelUnits {instance.units} of {instance.name!r}",
                allowed="`voxel_size=` and `unit=` override it",
            ) from None
        return tuple(Quantity(size.value * 2**self._by_server, size.unit) for size in sizes)

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        instance = self._instance
        box = index[len(self.nonspatial) :]
        begin = [first + part.start for first, part in zip(self._begin, box, strict=True)]
        end = [first + part.stop for first, part in zip(self._begin, box, strict=True)]
        query = {}
        if instance.is_labels:
            query["compression"] = "gzip"
        if self._by_server:
            query["scale"] = str(self._by_server)
        if self._config.supervoxels:
            query["supervoxels"] = "true"
        last = [first + size for first, size in zip(self._begin, self.shape[len(self.nonspatial) :], strict=True)]
        blocks = Blocks(self.location, instance, query, (tuple(self._begin), tuple(last)))
        if blocks.may_keep(begin, end) and self._is_locked:
            data: np.ndarray[Any, Any] = blocks.read(begin, end)
        else:
            data = read_box(self.location, instance, begin, end, query)
        if self.nonspatial:
            data = np.moveaxis(data, -1, 0)[index[0]]
        return data.astype(self.dtype, copy=False)

    def coarser(self) -> Sequence[DVIDOpened]:
        """The coarser scales. Of grey values they are requested until the server has no further one."""
        config, base = self._config, self._base
        if config.voxel_size or config.offset or config.extent:
            return ()  # the scales do not lie where the array does
        config = config.with_fields(source=(self._server, self._version, base.name))
        opened: list[DVIDOpened] = []
        try:
            while True:
                opened.append(DVIDOpened(config.with_fields(scale=config.scale + 1 + len(opened)), base))
        except NoSuchInstance:
            return [instance for instance in opened if self.is_finer_than(instance)]

    def fingerprint(self) -> str:
        return f"{self.uuid} {self._instance.name} {self._instance.data_uuid}"
