"""TIFF files: their documents load, their voxels cannot be read yet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import attrs

from ..errors import StoreError
from ..model import fields
from ..model.base import SourceConfig
from ..model.opened import Opened
from ..units import Quantity


@attrs.frozen(eq=False, repr=False)
class TiffArrayConfig(SourceConfig):
    """A TIFF file or a stack of them. Its documents load and are written; its voxels cannot be read yet.

    Args:
        name: The array's name.
        file_name: The file.
        offset, voxel_size: One length per spatial axis.
        axes: Names of all axes.
        units: The unit of each spatial axis.
    """

    file_name: Path = attrs.field(converter=fields.to_path)
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    axes: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    units: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)

    aliases: ClassVar[Mapping[str, str | None]] = {"axis_names": "axes"}

    def open(self, mode: str | None = None) -> Opened:
        raise StoreError("TIFF files cannot be read yet", found=str(self.file_name), allowed="a copy of it as Zarr")
