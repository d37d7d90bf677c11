"""What opened arrays of several formats have in common: the order of axes, and metadata as in Zarr stores."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..errors import quoted
from ..model.meta import CHANNEL, Axis, interpolatable
from ..model.opened import Opened
from ..storage.access.remote import StorePath
from ..storage.metadata.dialects import GEOMETRY_KEYS
from ..storage.metadata.documents import ArrayNode
from ..storage.metadata.geometry import Override, read_geometry
from ..storage.metadata.labels import channel_names, declared_labels

logger = logging.getLogger(__name__)


class StoredOpened(Opened):
    """An opened array whose axes may have another order in the store, where it may also have axes of length 1 that are left out."""

    def arrange(
        self,
        axes: Sequence[str],
        nonspatial: Sequence[bool],
        shape: Sequence[int],
        chunks: Sequence[int] | None,
        names: Sequence[str] | None = None,
        left_out: Collection[int] = (),
    ) -> None:
        """Set axes, shape and chunks from those of the store.

        Args:
            axes, nonspatial, shape, chunks: One entry for each axis of the store.
            names: Names of the channels. They are left out, with a warning, unless each channel has one of its own.
            left_out: The numbers of axes that are not delivered.
        """
        nonspatial_numbers = [i for i, is_nonspatial in enumerate(nonspatial) if is_nonspatial and i not in left_out]
        self._order = [*nonspatial_numbers, *(i for i, is_nonspatial in enumerate(nonspatial) if not is_nonspatial)]
        self._all_axes = [*self._order, *left_out]
        count = dict(zip(axes, shape, strict=True)).get(CHANNEL)
        if names and count and (len(names) != count or len(set(names)) != count):
            remark = f"channels without names: {quoted(list(names))} for {count} channels"
            logger.warning("%s: %s", self.location, remark)
            names, self.assumed = None, (*self.assumed, remark)
        named = {CHANNEL: tuple(names)} if names else {}
        self.nonspatial = tuple(Axis(axes[i], shape[i], named.get(axes[i])) for i in nonspatial_numbers)
        self.spatial_axes = tuple(axes[i] for i in self._order[len(nonspatial_numbers) :])
        self.shape = tuple(shape[i] for i in self._order)
        self.chunks = None if chunks is None else tuple(chunks[i] for i in self._order)

    def box_in_store(self, index: Sequence[slice]) -> tuple[slice, ...]:
        """A box of voxels along the axes of the store."""
        parts = dict(zip(self._order, index, strict=True))
        return tuple(parts.get(axis, slice(0, 1)) for axis in range(len(self._all_axes)))

    def as_stored(self, voxels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A view of voxels of this array, with the axes of the store."""
        ones = (1,) * (len(self._all_axes) - len(self._order))
        return voxels.reshape(voxels.shape + ones).transpose(np.argsort(self._all_axes))

    def as_delivered(self, voxels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """A view of voxels that have the axes of the store, with the axes of this array."""
        return voxels.transpose(self._all_axes).reshape([voxels.shape[axis] for axis in self._order])


class NodeOpened(StoredOpened):
    """An opened array whose metadata are read as those of Zarr arrays.

    Args:
        config: Its overrides are ``voxel_size``, ``offset``, ``axes``, ``unit`` and ``interpolatable``.
        root: The store, or the file.
        node: The array in it.
        chunks: Voxels of a chunk in the store's order of axes, None where it has none.
    """

    def __init__(self, config: Any, root: StorePath, node: ArrayNode, chunks: Sequence[int] | None) -> None:
        self.root, self.node = root, node
        self.location = f"{root}/{node.path}"
        override = Override(config.voxel_size, config.offset, config.axes, config.unit)
        geometry = read_geometry(root, node, override)
        self.dialect, self.assumed = geometry.dialect, geometry.assumed
        self.voxel_size, self.offset = geometry.voxel_size, geometry.offset
        single = [i for i, is_nonspatial in enumerate(geometry.nonspatial) if is_nonspatial and node.shape[i] == 1]
        left_out = single if geometry.squeeze else []
        self.arrange(geometry.axes, geometry.nonspatial, node.shape, chunks, channel_names(root, node), left_out)
        self.dtype = node.dtype.newbyteorder("=")
        declared = interpolatable(self.dtype) and not declared_labels(root, node)
        self.interpolatable = declared if config.interpolatable is None else config.interpolatable
        self.attrs = {key: value for key, value in node.attrs.items() if key not in GEOMETRY_KEYS}
