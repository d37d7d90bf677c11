"""Datasets of HDF5 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np

from ..model import fields
from ..model.base import SourceConfig
from ..model.nested import digest
from ..storage.access.files import File
from ..storage.hdf5 import Dataset
from ..storage.metadata.documents import require_on_disk
from ..units import Quantity
from .stored_opened import NodeOpened


@attrs.frozen(eq=False, repr=False)
class HDF5ArrayConfig(SourceConfig):
    """A dataset of an HDF5 file.

    Voxel size, offset and axes come from its attributes: ``resolution`` or ``voxel_size`` and ``offset``
    along z, y, x (CREMI), ``element_size_um``, ``axistags`` of ilastik, labels of its dimensions. What is given
    here wins. Channels and other non-spatial axes are moved first. Needs ``pip install 'gp_arrays[hdf5]'``.

    Args:
        name: The array's name.
        file_name: The file.
        dataset: The dataset's path in it.
        axes: Names of all axes in the dataset's order, where its attributes do not say.
        voxel_size, offset: One length per spatial axis; the offset is a voxel corner. Where neither ``voxel_size``
            nor the file says one, it is 1 nm, with a warning.
        unit: The unit of the lengths, bare ones here and those of the attributes.
        interpolatable: Overrides the default, which follows from the dtype and from declared labels.

    Raises:
        StoreError: A file or dataset that is missing or damaged; attributes that are not understood.

    >>> import gp_arrays as gpa, h5py, numpy as np, tempfile
    >>> path = tempfile.mkdtemp() + "/sample.hdf"
    >>> with h5py.File(path, "w") as file:
    ...     file["volumes/raw"] = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    ...     file["volumes/raw"].attrs["resolution"] = (40.0, 4.0, 4.0)
    >>> raw = gpa.HDF5ArrayConfig("raw", path, "volumes/raw").array()
    >>> raw
    <gp_arrays.Array 'raw' uint8[2, 3, 4] axes=z,y,x roi=[0:80, 0:12, 0:16] voxel_size=(40, 4, 4) nm>
    >>> raw[1, 1:, :2]
    array([[16, 17],
           [20, 21]], dtype=uint8)
    """

    file_name: Path = attrs.field(converter=fields.to_path)
    dataset: str = attrs.field(converter=fields.to_text)
    axes: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    unit: str | None = attrs.field(default=None, converter=fields.to_unit)
    interpolatable: bool | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_bool))

    def open(self, mode: str | None = None) -> HDF5Opened:
        return HDF5Opened(self)


class HDF5Opened(NodeOpened):
    """An opened dataset. Its attributes are read when it is opened, its voxels when they are requested."""

    def __init__(self, config: HDF5ArrayConfig) -> None:
        require_on_disk(config.file_name)
        self._dataset = Dataset(config.file_name, config.dataset.strip("/"))
        super().__init__(config, config.file_name, self._dataset.node, self._dataset.chunks)
        self.codec = self._dataset.codec

    def read(self, index: tuple[slice, ...]) -> np.ndarray[Any, Any]:
        voxels = self._dataset.read(self.box_in_store(index))
        return self.as_delivered(voxels).astype(self.dtype, copy=False)

    def notices_damage(self) -> bool:
        return self._dataset.has_checksums

    def fingerprint(self) -> str:
        file = File.of(self._dataset.file.path.resolve())
        return digest(str(file), self._dataset.name)
