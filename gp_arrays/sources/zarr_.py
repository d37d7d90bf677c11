"""Arrays of Zarr v2, v3 and N5, on disk and remote, alone or as a level of a pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from ..model import fields
from ..model.base import SourceConfig
from ..model.plan import MODES
from ..model.urls import Url, to_store, to_store_options
from ..storage.access.chunk_files import documents_read_once
from ..units import Quantity
from .zarr_opened import ZarrOpened


@attrs.frozen(eq=False, repr=False)
class ZarrArrayConfig(SourceConfig):
    """A chunked array in a store on disk or at a URL: Zarr v2, v3 or N5, which is read only.

    Voxel size, offset, unit and axes come from its metadata, in each dialect of
    ``gp_arrays.storage.metadata.dialects``: funlib.persistence and DaCapo, OME-NGFF 0.1 to 0.6, COSEM, Paintera, pybdv,
    n5-viewer, TensorStore, xarray, an XML file of BigDataViewer. ``gp-arrays info`` shows which. The arguments
    here win, also over metadata that are malformed, contradict each other or are not understood,
    which are errors. Where nothing says a voxel size, it is 1 nm, with a warning.
    Channels and other non-spatial axes are moved first. Those of one entry are left out in pyramids.

    Args:
        name: The array's name.
        file_name: The store's folder, a zip file of it (``.zip``, ``.ozx``; read only), or a URL that
            fsspec reads: ``s3://``, ``gs://``, ``https://``, ...
        dataset: The array's path in it, or that of a pyramid.
        snap_to_grid: The roi shrinks to multiples of it, one length per spatial axis.
        axes: Names of all axes in the store's order (of N5 in the reverse, z first), where its metadata do not say.
        mode: ``"r"``, or ``"r+"`` (``"a"``) to write. No mode creates or erases.
        scale: The level, where ``dataset`` is a pyramid: its number, by default 0, the finest. A voxel size, such as
            ``"16 nm"`` or one length per spatial axis, is the level with the largest voxels that are no larger on any axis.
        storage_options: Options of fsspec for the URL, such as ``{"anon": True}``. Never secrets, which belong
            in the environment or in fsspec's own configuration. A store on disk has none.
        voxel_size, offset: One length per spatial axis; the offset is a voxel corner.
        unit: The unit of the lengths, bare ones here and those of the metadata.
        interpolatable: Overrides the default, which follows from the dtype and from declared labels.

    >>> import gp_arrays as gpa, numpy as np, tempfile
    >>> store = tempfile.mkdtemp() + "/a.zarr"
    >>> array = gpa.create_zarr(store, "raw", roi=gpa.Roi((0, 0), (40, 40)), voxel_size=(10, 10), dtype="uint8")
    >>> array[:, :] = 7
    >>> gpa.ZarrArrayConfig("raw", store, "raw").array()[gpa.Roi((10, 10), (20, 10))]
    array([[7],
           [7]], dtype=uint8)
    """

    file_name: Path | Url = attrs.field(converter=to_store)
    dataset: str = attrs.field(converter=fields.to_text)
    snap_to_grid: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    axes: tuple[str, ...] | None = attrs.field(default=None, converter=fields.to_names)
    mode: str = attrs.field(default="r", validator=fields.one_of(*MODES))
    scale: int | fields.VoxelSize | None = attrs.field(
        default=None, converter=attrs.converters.optional(fields.to_scale)
    )
    storage_options: dict[str, Any] | None = attrs.field(default=None, converter=to_store_options)
    voxel_size: tuple[Quantity, ...] | None = attrs.field(
        default=None, converter=fields.to_lengths, validator=fields.positive_lengths
    )
    offset: tuple[Quantity, ...] | None = attrs.field(default=None, converter=fields.to_lengths)
    unit: str | None = attrs.field(default=None, converter=fields.to_unit)
    interpolatable: bool | None = attrs.field(default=None, converter=attrs.converters.optional(fields.to_bool))

    # DaCapo's ome_metadata says which metadata to read; here the store does
    aliases: ClassVar[Mapping[str, str | None]] = {"_axes": "axes", "ome_metadata": None}

    def reason(self) -> str | None:
        unfinished = self.open().unfinished
        return None if unfinished is None else f"the job that writes this array is not done; {unfinished.progress()}"

    def open(self, mode: str | None = None) -> ZarrOpened:
        with documents_read_once():
            return ZarrOpened(self, (mode or self.mode) != "r")
