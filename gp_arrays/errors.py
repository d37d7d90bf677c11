"""Errors that say where in the tree, what was found and what is allowed."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator
from typing import Any

PATH_SEPARATOR = " > "


#: Characters that each part of a message is shortened to.
LONGEST = 400


def one_line(text: str, limit: int = LONGEST) -> str:
    r"""A text in one line of bounded length: control characters escaped, its middle left out if it is long.

    >>> print(one_line("two" + chr(10) + "lines"), one_line("ab" * 1000, 40))
    two\nlines abababab...(2000 characters)...abababab
    """
    ends = text if len(text) <= limit else text[:limit] + text[-limit:]
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in ends)
    if len(line) <= limit:
        return line
    left_out = f"...({len(text)} characters)..."
    half = (limit - len(left_out)) // 2
    return line[:half] + left_out + line[-half:]


def quoted(value: Any) -> str:
    """A value for a message, as Python would write it.

    >>> quoted("raw"), quoted(float("nan"))
    ("'raw'", 'nan')
    """
    try:
        return one_line(repr(value))
    except Exception:  # of any kind: what a caller passed may be too deep, too long a number, or have a faulty repr
        return f"<{type(value).__name__}>"


def size_text(count: int, digits: int = 4) -> str:
    """A number of bytes as people read it.

    >>> size_text(10), size_text(2**31), size_text(2**20 + 2**14, 6)
    ('10 B', '2 GiB', '1.01562 MiB')
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.{digits}g} {unit}"
        size /= 1024
    return f"{size:.{digits}g} TiB" if size < 1024 else f"{size / 1024:.{digits}g} PiB"


def sizes_apart(one: int, other: int) -> tuple[str, str]:
    """Two numbers of bytes as people read them, in as many digits as tell them apart.

    >>> sizes_apart(2**28, 2**28 + 1000)
    ('256 MiB', '256.001 MiB')
    """
    for digits in range(4, 20):
        texts = size_text(one, digits), size_text(other, digits)
        if one == other or texts[0] != texts[1]:
            return texts
    return f"{one} B", f"{other} B"


class GpArraysError(Exception):
    """Base of every error that this library raises on purpose.

    Its message is one line of bounded length, whatever the values are.

    Args:
        problem: One phrase that says what is wrong.
        found: What was found; a text is shown as it is.
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
        self.problem = one_line(problem)
        self.found = None if found is None else one_line(found if isinstance(found, str) else quoted(found))
        self.allowed = None if allowed is None else one_line(allowed if isinstance(allowed, str) else quoted(allowed))
        self.path = tuple(one_line(name, 100) for name in path)
        super().__init__(self.problem, self.found, self.allowed, self.path)

    def __str__(self) -> str:
        text = self.problem
        if self.path:
            text = f"{one_line(PATH_SEPARATOR.join(self.path))}: {text}"
        if self.found is not None:
            text += f"; found {self.found}"
        if self.allowed is not None:
            text += f"; allowed: {self.allowed}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.found, self.allowed, self.path)

    def at(self, *path: str) -> GpArraysError:
        """The same error with ``path``, if it has no path yet."""
        if self.path:
            return self
        return type(self)(self.problem, self.found, self.allowed, path)


@contextlib.contextmanager
def errors_at(*path: str) -> Iterator[None]:
    """Errors of this library that the block raises get ``path``, if they have no path yet.

    >>> with errors_at("masks", "labels"):
    ...     raise TreeError("no such dataset")
    Traceback (most recent call last):
    gp_arrays.errors.TreeError: masks > labels: no such dataset
    """
    try:
        yield
    except GpArraysError as error:
        raise error.at(*path) from None


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


def nearest(name: str, names: Iterable[str], count: int = 3, cutoff: float = 0.5) -> str | None:
    """The existing names that look most like ``name``, for an error message.

    >>> nearest("nuerons", ["neurons", "raw"])
    'neurons'
    """
    # a text that is much longer than every name is like none of them, and slow to compare
    close = difflib.get_close_matches(name[:200], list(names), n=count, cutoff=cutoff)
    return ", ".join(close) if close else None
