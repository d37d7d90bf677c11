"""The base classes that array types derive from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs
import numpy as np

from ..errors import PATH_SEPARATOR, GpArraysError, TreeError
from .checks import alike
from .config import SOURCE, Config
from .meta import Block, Meta, Region, Voxels
from .opened import Opened

if TYPE_CHECKING:
    from .array import Array


@attrs.frozen(eq=False, repr=False)
class ArrayConfig(Config):
    """Base of all array types. A type that is computed from several arrays derives from it directly.

    A type is declared with ``@attrs.frozen(eq=False, repr=False)``. Its fields are its
    parameters; one that holds arrays has ``metadata=SOURCE``, of ``gp_arrays.model.config``. A
    field's converter or validator, or ``check`` across fields, raises ConfigError. It implements

    - ``infer(*sources)``: the meta of the result from the metas of the sources: roi, voxel
      size, axes, dtype. Raises TreeError where they do not fit.
    - ``context(region, meta, sources)``: which region of each source a region of the result
      needs, on that source's voxel grid. By default the region itself.
    - ``compute(region, meta, sources, blocks)``: the voxels of the region, of ``meta.dtype``
      and shape ``meta.shape_of(region)``, non-spatial axes first; the same voxel whatever region
      it is computed in.

    ``examples/own_type.py`` is a complete type, and ``gp_arrays.testing.ArrayTypeLaws`` tests that it keeps the
    rules. A type that is computed from one array derives from OneSourceConfig, one whose voxels each depend only on
    the voxel at the same position from PointwiseConfig: both need less code.
    """

    abstract: ClassVar[bool] = True

    #: True if ``context`` and ``compute`` support a region that has only part of the non-spatial axes. If not,
    #: they are asked for all of these axes, and the result is cropped.
    supports_channel_subset: ClassVar[bool] = False
    #: True if values other than 0 mean yes and 0 means no: with dtype uint8 they could also be ids.
    is_mask: ClassVar[bool] = False
    #: True if sources with one value each in a whole context give one value in the whole region, which does not
    #: depend on its position. Blocks over absent chunks are then not computed.
    keeps_constant: ClassVar[bool] = False
    #: True if it looks about like its one source, with the same dtype and non-spatial axes: a view that is zoomed
    #: far out may then show the source instead.
    viewable_as_source: ClassVar[bool] = False
    #: True if each entry of the non-spatial axes is computed by itself: what these axes mean does
    #: not matter then.
    any_nonspatial_axes: ClassVar[bool] = False
    #: The name of its gunpowder node, where it is not that of the class without "ArrayConfig".
    node_name: ClassVar[str | None] = None
    #: Attributes of the source that ``infer`` reads. Array keys of gunpowder carry none, so the
    #: node takes each as an argument of that name.
    node_attributes: ClassVar[tuple[str, ...]] = ()
    #: Fields that may be left out of the node's arguments: their values, from the other fields.
    node_defaults: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {}

    def release(self) -> None:
        """Free what this process keeps for the array, such as pipelines and their processes."""

    def reason(self) -> str | None:
        """Why ``verify`` returns False although the tree compiles, or None."""
        return None

    def remarks(self, *sources: Meta) -> Sequence[str]:
        """What a user should know of an array that can be delivered, for ``verify`` and ``explain``."""
        return ()

    def first_tile(self, meta: Meta, sources: Sequence[Meta]) -> Region | None:
        """The first tile of an array that is only computed in whole tiles on one grid; None for any other.

        Blocks of a job are whole tiles, and a view that is zoomed out computes no single voxels.
        """
        return None

    def fingerprints(self) -> dict[str, str]:
        """Hashes of the files and functions that decide the voxels beside the fields, by their names.

        A job keeps them and refuses to go on where one has changed. What a source says of its
        store's metadata is not among them: see ``Opened.fingerprint``.
        """
        return {}

    def array(self, mode: str | None = None, unit: str | None = None) -> Array:
        """The array, ready to be indexed.

        Args:
            mode: How sources are opened (``"r"`` or ``"r+"``), where not as their config says.
            unit: The unit of the tree; by default what its file says, else nm.
        """
        from .array import Array

        return Array(self, mode, unit)

    def verify(self, unit: str | None = None) -> tuple[bool, str]:
        """Whether the array can be delivered, and why not: ``(True, "ok")`` or ``(False, reason)``.

        Of an array that can be delivered, and may still not be what was meant, the text says more:
        ``"ok, but mask: channel 'mito' is 0 throughout: ..."``. Opens every source and checks every combination; reads no voxel.
        """
        from .plan import compile_plan

        try:
            plan = compile_plan({self.name: self}, unit)
        except GpArraysError as error:
            return False, str(error)
        for index, step in enumerate(plan.steps):
            reason = step.config.reason()
            if reason is not None:
                return False, str(TreeError(reason, path=plan.path(index)))
            if step.opened is not None:
                try:
                    step.opened.require_readable()
                except GpArraysError as error:
                    return False, str(error.at(*plan.path(index)))
        remarks = [
            f"{PATH_SEPARATOR.join(plan.path(index))}: {remark}"
            for index, step in enumerate(plan.steps)
            for remark in (*(step.opened.assumed if step.opened else ()), *step.config.remarks(*step.source_metas))
        ]
        return True, f"ok, but {'; '.join(remarks)}" if remarks else "ok"

    def to_toml(self, path: str | Path) -> None:
        """Write the tree below this config to a TOML file (YAML or JSON by its suffix)."""
        from ..trees.tree import save_tree

        save_tree([self], path)

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read such a file. It holds one tree of this type."""
        from ..trees.tree import from_file

        return from_file(path, cls)

    def infer(self, *sources: Meta) -> Meta:
        """The meta of the result. Raises TreeError where the sources do not fit."""
        raise NotImplementedError(f"{type(self).__name__} states no meta rule")

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region | None]:
        """The region of each source that ``region`` needs; None for one that is not read."""
        return [
            region if self.supports_channel_subset and alike(source.nonspatial, meta.nonspatial) else region.whole()
            for source in sources
        ]

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        """The voxels of ``region``, of ``meta.dtype``, from blocks that cover its context.

        A source that ``context`` does not read has None for a block. Blocks are not to
        be modified.
        """
        raise NotImplementedError(f"{type(self).__name__} states no kernel")


@attrs.frozen(eq=False, repr=False)
class SourceConfig(ArrayConfig):
    """Base of the array types that are read from somewhere.

    A type is declared as in ArrayConfig, without fields that hold arrays. It implements
    ``open(mode)``, which reads no voxel and returns a ``gp_arrays.model.opened.Opened``: shape, dtype,
    axes, voxel size and offset as the store tells them, and ``read(index)`` for the voxels of
    a box. What cannot be opened or read is a StoreError. ``located(base)`` is for types with
    paths in their fields: relative ones in a tree file are taken from its folder.

    >>> import gp_arrays as gpa
    >>> from gp_arrays.model.opened import Opened
    >>> from gp_arrays.units import Quantity
    >>> class Ramp(Opened):
    ...     shape, dtype, nonspatial, spatial_axes = (4, 3), np.dtype("uint8"), (), ("y", "x")
    ...     voxel_size = offset = (Quantity.parse(8), Quantity.parse(8))
    ...     interpolatable, attrs, location = True, {}, "a ramp"
    ...
    ...     def read(self, index):
    ...         return np.arange(12, dtype=np.uint8).reshape(4, 3)[index]
    >>> @attrs.frozen(eq=False, repr=False)
    ... class RampArrayConfig(gpa.SourceConfig):
    ...     def open(self, mode=None):
    ...         return Ramp()
    >>> ramp = RampArrayConfig("ramp").array()
    >>> ramp
    <gp_arrays.Array 'ramp' uint8[4, 3] axes=y,x roi=[8:40, 8:32] voxel_size=(8, 8) nm>
    >>> ramp[1]
    array([3, 4, 5], dtype=uint8)
    """

    abstract: ClassVar[bool] = True
    supports_channel_subset: ClassVar[bool] = True

    def open(self, mode: str | None = None) -> Opened:
        """Open it without reading a voxel. Raises StoreError."""
        raise NotImplementedError(f"{type(self).__name__} opens nothing")


@attrs.frozen(eq=False, repr=False)
class OneSourceConfig(ArrayConfig):
    """Base of the array types that are computed from one other array.

    A type is declared as in ArrayConfig. Its first field is ``source_array_config``, and its rules get that array's
    meta and block alone: it implements ``infer_from`` and ``compute_from``, and ``context_of`` where a region
    needs more of the source than itself.

    >>> import gp_arrays as gpa
    >>> @attrs.frozen(eq=False, repr=False)
    ... class ReversedArrayConfig(OneSourceConfig):
    ...     def infer_from(self, source):
    ...         return source
    ...
    ...     def context_of(self, region, meta, source):
    ...         return source.region
    ...
    ...     def compute_from(self, region, meta, block):
    ...         reversed = Block(block.data[:, ::-1], block.region, block.meta)
    ...         return reversed.crop(region)
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.array([[1, 2, 3]], np.uint8))
    >>> ReversedArrayConfig("reversed", raw).array()[0, :2]
    array([3, 2], dtype=uint8)
    """

    abstract: ClassVar[bool] = True

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)

    def infer(self, *sources: Meta) -> Meta:
        return self.infer_from(sources[0])

    def infer_from(self, source: Meta) -> Meta:
        """The meta of the result. Raises TreeError where the source does not fit."""
        raise NotImplementedError(f"{type(self).__name__} states no meta rule")

    def context(self, region: Region, meta: Meta, sources: Sequence[Meta]) -> Sequence[Region | None]:
        return [self.context_of(region, meta, sources[0])]

    def context_of(self, region: Region, meta: Meta, source: Meta) -> Region | None:
        """The region of the source that ``region`` needs; None if no voxel of it is read."""
        return super().context(region, meta, [source])[0]

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        (block,) = blocks
        assert block is not None
        return self.compute_from(region, meta, block)

    def compute_from(self, region: Region, meta: Meta, block: Block) -> Voxels:
        """The voxels of ``region``, of ``meta.dtype``, from a block that covers its context."""
        raise NotImplementedError(f"{type(self).__name__} states no kernel")


@attrs.frozen(eq=False, repr=False)
class PointwiseConfig(ArrayConfig):
    """Base of the array types whose every voxel depends on the same voxel of the sources.

    A type is declared as in ArrayConfig and implements ``infer`` and ``kernel`` alone. Sources
    that have one value everywhere give one value everywhere, so blocks over absent chunks may
    be skipped; a type for which this is not true says ``keeps_constant = False``.

    >>> import gp_arrays as gpa
    >>> from gp_arrays.model.config import SOURCE
    >>> @attrs.frozen(eq=False, repr=False)
    ... class InvertedArrayConfig(gpa.PointwiseConfig):
    ...     source_array_config: gpa.ArrayConfig = attrs.field(metadata=SOURCE)
    ...
    ...     def infer(self, *sources):
    ...         if sources[0].dtype != np.uint8:
    ...             raise gpa.TreeError("inverts uint8", found=f"dtype {sources[0].dtype}")
    ...         return sources[0]
    ...
    ...     def kernel(self, dtype, *sources):
    ...         return 255 - sources[0]
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.array([[0, 200]], np.uint8))
    >>> InvertedArrayConfig("inverted", raw).array()[:]
    array([[255,  55]], dtype=uint8)
    """

    abstract: ClassVar[bool] = True
    keeps_constant: ClassVar[bool] = True
    any_nonspatial_axes: ClassVar[bool] = True

    def compute(self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]) -> Voxels:
        assert meta.dtype is not None
        return self.kernel(meta.dtype, *(block.data for block in blocks if block is not None))

    def kernel(self, dtype: np.dtype[Any], *sources: Voxels) -> Voxels:
        """The voxels, of ``dtype``, from those of the sources, which are of one spatial shape."""
        raise NotImplementedError(f"{type(self).__name__} states no kernel")
