"""The dialects in which tools write where the voxels of an array are, in the order in which they are tried."""

from __future__ import annotations

from .arrays import FIJI_HDF5, FUNLIB, ILASTIK, TENSORSTORE
from .bigdataviewer import BIGDATAVIEWER
from .n5 import N5_VIEWER, PAINTERA
from .ngff import COSEM, NGFF_04, NGFF_06, NGFF_OLD
from .reading import Dialect
from .xarray_ import MULTISCALE_SPATIAL_IMAGE, XARRAY

DIALECTS: tuple[Dialect, ...] = (
    PAINTERA,
    FUNLIB,
    MULTISCALE_SPATIAL_IMAGE,
    NGFF_06,
    NGFF_04,
    COSEM,
    N5_VIEWER,
    FIJI_HDF5,
    TENSORSTORE,
    BIGDATAVIEWER,
    ILASTIK,
    XARRAY,
    NGFF_OLD,
)

#: Attributes that dialects understand; they are no attributes of an opened array.
GEOMETRY_KEYS = frozenset(key for dialect in DIALECTS for key in (*dialect.keys, *dialect.shared_keys))
