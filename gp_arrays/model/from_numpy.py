"""Configs of voxels in memory, from what is known of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from funlib.geometry import Roi

from ..errors import RequestError
from .base import ArrayConfig
from .indexing import require_roi

#: Numbers for the names of arrays that are made without a name.
_COUNTER = itertools.count()


def numpy_config(
    data: Any, roi: Roi | None, voxel_size: Sequence[Any] | None, axes: Sequence[str] | None, name: str | None
) -> ArrayConfig:
    """The config of voxels at a roi. Raises RequestError where the roi does not suit the voxels.

    The arguments are those of ``Array.from_numpy``.
    """
    from ..sources.numpy_ import NumpyArrayConfig

    data = np.asarray(data)
    offset = None
    if roi is not None:
        require_roi(roi, "from_numpy")
        offset = tuple(roi.offset)
        if voxel_size is None:
            shape = data.shape[data.ndim - roi.dims :]
            if len(shape) != roi.dims or any(s % max(n, 1) for s, n in zip(roi.shape, shape, strict=True)):
                raise RequestError("the roi is not a whole number of voxels", found=f"{roi}, shape {data.shape}")
            voxel_size = [s // n for s, n in zip(roi.shape, shape, strict=True)]
    return NumpyArrayConfig(
        name or f"numpy-{next(_COUNTER)}", data=data, offset=offset, voxel_size=voxel_size, axes=axes
    )
