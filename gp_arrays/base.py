"""The base classes that array types derive from: rules, plus what a user does with a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs
import numpy as np

from .array import Array
from .document import to_file
from .errors import GpArraysError
from .meta import Block, Meta, Region
from .plan import compile_plan
from .rules import ArrayRules, SourceRules
from .tree import from_file


class _Usable:
    """What every config offers its user."""

    __slots__ = ()

    def array(self: Any, mode: str | None = None, unit: str | None = None) -> Array:
        """The array, ready to be indexed.

        Args:
            mode: How sources are opened (``"r"`` or ``"r+"``), where not as their config says.
            unit: The unit of the tree; by default what its file says, else nm.
        """
        return Array(self, mode, unit)

    def verify(self: Any, unit: str | None = None) -> tuple[bool, str]:
        """Whether the array can be delivered, and why not.

        Opens every source and checks every combination; reads no voxel.
        """
        try:
            plan = compile_plan({self.name: self}, unit)
        except GpArraysError as error:
            return False, str(error)
        for index, step in enumerate(plan.steps):
            reason = step.config.reason()
            if reason is not None:
                return False, f"{' > '.join(plan.path(index))}: {reason}"
        return True, "ok"

    def to_toml(self: Any, path: str | Path) -> None:
        """Write the tree below this config to a TOML file (YAML or JSON by its suffix)."""
        to_file([self], path)

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read such a file. It holds one tree of this type."""
        return from_file(path, cls)


@attrs.frozen(eq=False, repr=False)
class ArrayConfig(_Usable, ArrayRules):
    """Base of the array types that are computed from other arrays."""

    abstract: ClassVar[bool] = True


@attrs.frozen(eq=False, repr=False)
class SourceConfig(_Usable, SourceRules):
    """Base of the array types that are read from somewhere."""

    abstract: ClassVar[bool] = True


@attrs.frozen(eq=False, repr=False)
class PointwiseConfig(ArrayConfig):
    """Base of the array types whose every voxel depends on the same voxel of the sources."""

    abstract: ClassVar[bool] = True
    keeps_constant: ClassVar[bool] = True

    def compute(
        self, region: Region, meta: Meta, sources: Sequence[Meta], blocks: Sequence[Block | None]
    ) -> np.ndarray[Any, Any]:
        assert meta.dtype is not None
        return self.kernel(meta.dtype, *(block.data for block in blocks if block is not None))

    def kernel(self, dtype: np.dtype[Any], *sources: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The voxels, of ``dtype``, from those of the sources, which are of one spatial shape."""
        raise NotImplementedError(f"{type(self).__name__} states no kernel")
