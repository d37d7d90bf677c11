"""Random trees, and how each array type takes part in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
from hypothesis import strategies as st

from gp_arrays.errors import ComputeError
from gp_arrays.testing.oracle import Naive, Volume

Draw = st.DrawFn


@attrs.frozen(eq=False)
class Grown:
    """An array of a random tree: its config and its volume."""

    config: Any
    volume: Volume


@attrs.define(eq=False)
class Pool:
    """The arrays that a random tree has so far, on one voxel grid.

    Attributes:
        draw: Draws from a Hypothesis strategy.
        folder: Where sources may write stores.
        voxel_size, phase: The grid that sources lie on.
        members: The arrays, sources before what is made of them.
    """

    draw: Draw
    folder: Path
    voxel_size: tuple[int, ...]
    phase: tuple[int, ...]
    members: list[Grown] = attrs.field(factory=list)

    @property
    def dims(self) -> int:
        """The number of spatial axes."""
        return len(self.voxel_size)

    def pick(self, fits: Callable[[Volume], bool] = lambda volume: True) -> Grown | None:
        """One of the arrays whose volume fits, or None."""
        fitting = [member for member in self.members if fits(member.volume)]
        return self.draw(st.sampled_from(fitting)) if fitting else None

    def pick_several(self, least: int, most: int, fits: Callable[[Volume], bool] = lambda volume: True) -> list[Grown]:
        """Some arrays that overlap and lie on one grid; one array may occur twice."""
        first = self.pick(fits)
        if first is None:
            return []
        begin, end, chosen = first.volume.begin, first.volume.end, [first]
        for _ in range(self.draw(st.integers(least, most)) - 1):

            def joins(volume: Volume, begin: Any = begin, end: Any = end) -> bool:
                same = volume.voxel_size == first.volume.voxel_size
                grid = zip(volume.begin, first.volume.begin, volume.voxel_size, strict=True)
                overlap = zip(volume.begin, volume.end, begin, end, strict=True)
                return (
                    fits(volume)
                    and same
                    and all((a - b) % v == 0 for a, b, v in grid)
                    and all(max(a, c) < min(b, d) for a, b, c, d in overlap)
                )

            other = self.pick(joins)
            assert other is not None, "the first joins itself"
            begin = tuple(map(max, begin, other.volume.begin))
            end = tuple(map(min, end, other.volume.end))
            chosen.append(other)
        return chosen

    def place(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A begin for a source of that shape: on the grid, and so that any two sources overlap."""
        return tuple(
            p + v * self.draw(st.integers(-(n - 1) // 2, (n - 1) // 2))
            for p, v, n in zip(self.phase, self.voxel_size, shape, strict=True)
        )


Grow = Callable[[Pool, str], Any]
_GROWN: dict[type[Any], Grow] = {}
_SOURCES: dict[type[Any], Grow] = {}

F = TypeVar("F", bound=Grow)


def grows(kind: type[Any], source: bool = False) -> Callable[[F], F]:
    """Register how a config of an array type is made for a random tree.

    The function gets the ``Pool`` of arrays so far and a name. It picks sources that fit,
    draws the parameters, and returns a config that must compile; or None where no array
    of the pool fits. Voxels that cannot be computed (a sum that overflows) are fine.

    Args:
        kind: The array type.
        source: Whether it needs no other arrays. At least one of a tree does not.

    >>> import gp_arrays as gpa
    >>> @grows(gpa.OnesArrayConfig)
    ... def ones(pool, name):
    ...     source = pool.pick()
    ...     return None if source is None else gpa.OnesArrayConfig(name, source.config)
    """

    def register(function: F) -> F:
        (_SOURCES if source else _GROWN)[kind] = function
        return function

    return register


def growing() -> Mapping[type[Any], Grow]:
    """The registered functions that create configs, by array type."""
    return {**_SOURCES, **_GROWN}


@st.composite
def trees(
    draw: Draw,
    folder: str | Path,
    most: int = 6,
    types: Sequence[type[Any]] | None = None,
    unit: str = "nm",
    source_types: Sequence[type[Any]] | None = None,
) -> Any:
    """The root of a small random tree over all registered array types.

    Args:
        folder: Where stored sources are written; kept by the caller.
        most: How many arrays the tree has at most.
        types: Array types other than sources to make it of; all by default.
        unit: The unit of the tree.
        source_types: Types of its sources; all by default.
    """
    dims = draw(st.integers(2, 3))
    voxel_size = tuple(draw(st.integers(1, 4)) for _ in range(dims))
    phase = tuple(draw(st.integers(0, v - 1)) for v in voxel_size)
    pool, naive = Pool(draw, Path(folder), voxel_size, phase), Naive(unit)
    names = (f"a{i}" for i in itertools.count())
    kinds = [kind for kind in _GROWN if types is None or kind in types]
    config: Any = None
    sources = draw(st.integers(1, 3))
    for step in range(sources + draw(st.integers(1, most))):
        kind = draw(st.sampled_from(list(source_types or _SOURCES) if step < sources else kinds))
        made = growing()[kind](pool, next(names))
        if made is None:
            continue
        config = made
        try:
            pool.members.append(Grown(config, naive(config)))
        except ComputeError:
            break  # nothing can be made of it
    return config
