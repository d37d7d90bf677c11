"""Errors that say where in the tree, what was found and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

PATH_SEPARATOR = " > "


class GpArraysError(Exception):
    """Base of every error that this library raises on purpose.

    Args:
        problem: One phrase that says what is wrong.
        found: What was found, shown as it is.
        allowed: What would have been accepted, or what to do.
        path: Names from the root of the tree down to the array concerned.

    >>> print(TreeError("voxel sizes differ", found="(4, 4) and (8, 8)", path=("sum", "raw")))
    sum > raw: voxel sizes differ; found (4, 4) and (8, 8)
    """

    def __init__(
        self,
        problem: str,
        found: Any = None,
        allowed: Any = None,
        path: tuple[str, ...] = (),
    ) -> None:
        super().__init__(problem, found, allowed, path)
        self.problem = problem
        self.found = found
        self.allowed = allowed
        self.path = tuple(path)

    def __str__(self) -> str:
        text = self.problem
        if self.path:
            text = f"{PATH_SEPARATOR.join(self.path)}: {text}"
        if self.found is not None:
            text += f"; found {self.found}"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.found, self.allowed, self.path)

    def at(self, *path: str) -> GpArraysError:
        """The same error, placed at ``path`` where it does not say a place yet."""
        if self.path:
            return self
        return type(self)(self.problem, self.found, self.allowed, path)


class ConfigError(GpArraysError, ValueError):
    """A value that no array of this type can have: raised when the config is made."""


class TreeError(GpArraysError, ValueError):
    """Arrays that do not fit together: raised when the tree is compiled."""


class StoreError(GpArraysError, OSError):
    """A store that is missing, unreadable, or does not deliver what it holds."""


class RequestError(GpArraysError, IndexError):
    """A region that an array does not have."""


class ComputeError(GpArraysError, RuntimeError):
    """Voxels that could not be computed (a sum too large for its dtype, say)."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> str | None:
    """The existing names that look most like ``name``, for an error message.

    >>> nearest("nuerons", ["neurons", "raw"])
    'neurons'
    """
    names = list(names)
    close = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    return ", ".join(close) if close else None
