"""The computed voxels of an array as a volume that Neuroglancer asks chunk by chunk."""

from __future__ import annotations

import io
import logging
import threading
import zlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import neuroglancer
import numpy as np
from neuroglancer import local_volume

from ..errors import GpArraysError
from ..model.array import Array
from ..model.meta import CHANNEL, Voxels
from .sampling import Sampler

logger = logging.getLogger(__name__)

#: Dtypes that the browser does not know, and the dtypes that they are shown as.
CAST = {"bool": "uint8", "float16": "float32", "float64": "float32", "int64": "uint64"}
#: The largest factor between levels: no limit, since the length of the coarsest level decides.
LARGEST_FACTOR = 2**60
#: The most voxels of the coarsest level along an axis. The browser also asks for all levels that are coarser
#: than the one that it shows, and a panel shows about as many voxels.
COARSEST = 512
#: The level of compression. Neuroglancer's own takes five times as long for floats and labels.
FAST = 1


class Volume(local_volume.LocalVolume):  # type: ignore[misc]
    """Serves the visible voxels of an array, at the zoom at which they are visible.

    Args:
        array: What to show.
        labels: True if its values are ids, which are coloured and have no order.
        mixed: True if a shader mixes its channels; else a slider picks one.
    """

    def __init__(self, array: Array, labels: bool = False, mixed: bool = False) -> None:
        self.array = array
        self.sampler = Sampler(array)
        name = array.dtype.name
        #: The dtype of the voxels that are served.
        self.served_dtype = np.dtype("float32" if name == "int64" and not labels else CAST.get(name, name))
        super().__init__(
            SimpleNamespace(shape=array.shape, dtype=self.served_dtype),
            dimensions=space(array, mixed),
            volume_type="segmentation" if labels else "image",
            chunk_layout="flat" if self.sampler.planes else "isotropic",
            max_downsampling=LARGEST_FACTOR,
            max_downsampled_size=COARSEST,
        )
        #: The messages of all failures so far.
        self.problems: list[str] = []
        #: Called with a key and the message of the first failure of each cause.
        self.on_failure: Callable[[str, str], None] = lambda cause, text: None
        self._lock = threading.Lock()

    def get_encoded_subvolume(
        self, data_format: str, start: Sequence[int], end: Sequence[int], scale_key: str
    ) -> tuple[bytes, str]:
        """The voxels of a chunk, as the browser reads them. Raises ValueError; its text is the server's answer."""
        try:
            factors = [int(factor) for factor in scale_key.split(",")]
            data = self.chunk([int(i) for i in start], [int(i) for i in end], factors)
        except Exception as error:
            self._report(error)
            raise ValueError(str(error)) from None
        if data_format != "npz":
            raise ValueError(f"format {data_format!r}: only npz is served")
        file = io.BytesIO()
        np.save(file, np.asfortranarray(data))
        return zlib.compress(file.getvalue(), FAST), "application/octet-stream"

    def chunk(self, start: Sequence[int], stop: Sequence[int], factors: Sequence[int]) -> Voxels:
        """The voxels ``start:stop`` of the array zoomed out by ``factors``, as they are served."""
        shape = self.array.shape
        if not len(start) == len(stop) == len(factors) == len(shape) or any(f < 1 for f in factors):
            raise ValueError(f"a chunk has {len(shape)} axes and factors above zero")
        if any(not 0 <= a < b <= -(-n // f) for a, b, n, f in zip(start, stop, shape, factors, strict=True)):
            raise ValueError(f"chunk {list(start)}:{list(stop)} reaches outside")
        data = self.sampler.read(start, stop, factors)
        # negative ids become large unsigned ones, and floats that are too large become infinite
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(data.astype(self.served_dtype, casting="unsafe", copy=False))

    def _report(self, error: Exception) -> None:
        """Log a failure with its path in the tree. Each text is logged once, and each cause passed on once.

        A cause is a problem at a path in the tree: if a store is missing, all chunks fail for this one cause.
        """
        text = str(error.at(self.array.name) if isinstance(error, GpArraysError) else f"{self.array.name}: {error!r}")
        with self._lock:
            if text in self.problems:
                return
            cause = _cause(text)
            new = cause not in map(_cause, self.problems)
            self.problems.append(text)
        if new:
            self.on_failure(cause, text)
        logger.error("%s", text, exc_info=None if isinstance(error, GpArraysError) else error)

    def get_object_mesh(self, object_id: int) -> bytes:
        """Refuses: a mesh would need every voxel of the array."""
        raise local_volume.MeshesNotSupportedForVolume


def _cause(text: str) -> str:
    """The beginning of a message: the path in the tree and the problem."""
    return text.partition("; found")[0]


def volumes_of(viewer: neuroglancer.Viewer) -> list[Volume]:
    """The volumes of all layers of a viewer."""
    return [volume for volume in list(viewer.volume_manager.volumes.values()) if isinstance(volume, Volume)]


def space(array: Array, mixed: bool) -> neuroglancer.CoordinateSpace:
    """The axes of an array with their scales. Non-spatial axes are local; mixed channels come in one chunk."""
    nonspatial = array.ndim - array.dims
    names = [f"{name}^" if mixed and name == CHANNEL else f"{name}'" for name in array.axes[:nonspatial]]
    return neuroglancer.CoordinateSpace(
        names=[*names, *array.spatial_axes],
        units=[""] * nonspatial + [array.unit] * array.dims,
        scales=[1] * nonspatial + [int(v) for v in array.voxel_size],
    )


def source(volume: Volume) -> neuroglancer.LayerDataSource:
    """The volume at its position in the world, which need not be a whole number of voxels."""
    array = volume.array
    nonspatial = array.ndim - array.dims
    matrix = np.eye(array.ndim, array.ndim + 1)
    # dividing integers rounds once, so that a begin is as exact as a float can be
    matrix[nonspatial:, -1] = [int(b) / int(v) for b, v in zip(array.roi.begin, array.voxel_size, strict=True)]
    return neuroglancer.LayerDataSource(
        url=volume,
        transform=neuroglancer.CoordinateSpaceTransform(output_dimensions=volume.dimensions, matrix=matrix),
        # without meshes: they would need all voxels of the array
        enable_default_subsources=False,
        subsources={"default": True, "bounds": True},
    )
