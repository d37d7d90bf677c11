"""Plan: a compiled tree, each distinct array once, sources before the arrays computed from them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..errors import GpArraysError, TreeError, one_line, quoted
from ..units import DEFAULT_UNIT, NotWhole, Quantity, coarsest_unit, parse_unit
from .base import ArrayConfig, SourceConfig
from .config import Config, all_configs, require_config
from .meta import Meta
from .opened import Opened

logger = logging.getLogger(__name__)

#: How sources may be opened. None of them creates or erases.
MODES = ("r", "r+", "a")


@attrs.frozen(eq=False)
class Step:
    """One array of a plan.

    Attributes:
        config: What the array is.
        meta: What is known of it without reading a voxel.
        sources: The indices of the steps that it is computed from.
        source_metas: Their metas.
        opened: The opened store of a source; None for a computed array.
    """

    config: ArrayConfig
    meta: Meta
    sources: tuple[int, ...] = ()
    source_metas: tuple[Meta, ...] = ()
    opened: Opened | None = None

    @property
    def key(self) -> str:
        """The identifier of its gunpowder key. No user's key looks like it."""
        return f"gp_arrays/{self.config.name}/{self.config.content}"


@attrs.frozen(eq=False)
class Plan:
    """A compiled tree: steps in topological order, and which of them are its outputs."""

    steps: tuple[Step, ...]
    outputs: Mapping[str, int]
    roots: Mapping[str, ArrayConfig]
    unit: str
    mode: str | None = None

    def path(self, index: int) -> tuple[str, ...]:
        """Names from an output down to a step."""
        return path_to(self.steps[index].config.content, self.roots.values())

    def shared(self) -> dict[int, int]:
        """Indices of the steps that several arrays are computed from, and how many arrays these are."""
        uses: dict[int, int] = {}
        for step in self.steps:
            for source in set(step.sources):
                uses[source] = uses.get(source, 0) + 1
        return {index: count for index, count in uses.items() if count > 1}

    def __reduce__(self) -> tuple[Any, ...]:
        return compile_plan, (dict(self.roots), self.unit, self.mode)


def compile_plan(outputs: Mapping[str, ArrayConfig], unit: str | None = None, mode: str | None = None) -> Plan:
    """Compile trees into one plan, without reading a voxel.

    Equal subtrees become one step. Sources are opened, metas inferred, and every
    combination checked.

    Args:
        outputs: The arrays to compute, by name.
        unit: The unit of the tree; by default what its file says, else nm.
        mode: How sources are opened; by default as their config says.

    Raises:
        TreeError: Arrays that do not fit together, with the path of the array.
        StoreError: A source that cannot be opened.

    >>> import gp_arrays as gpa
    >>> zeros = gpa.DummyArrayConfig("zeros")
    >>> low = gpa.ThresholdArrayConfig("low", zeros, threshold=1, above=False)
    >>> plan = gpa.compile_plan({"low": low, "either": gpa.LogicalOrArrayConfig("any", low)})
    >>> [step.config.name for step in plan.steps], dict(plan.outputs)
    (['zeros', 'low', 'any'], {'low': 1, 'either': 2})
    >>> plan.steps[1].meta.dtype, plan.steps[1].meta.shape, plan.unit
    (dtype('uint8'), (100, 50, 50), 'nm')
    """
    if not isinstance(outputs, Mapping):
        raise TreeError("the outputs are not array configs by name", found=quoted(outputs))
    for name, root in outputs.items():
        require_config(root, str(name))
    if mode is not None and not (isinstance(mode, str) and mode in MODES):
        raise TreeError("unknown mode", found=quoted(mode), allowed=f"{', '.join(MODES)}; create_zarr creates")
    configs = all_configs(outputs.values())
    refuse_ambiguous_names(configs, outputs.values())
    unit = tree_unit(configs, unit)
    steps: list[Step] = []
    index: dict[str, int] = {}
    for config in configs:
        if config.content in index:
            continue
        sources = tuple(index[child.content] for child in config.children())
        source_metas = tuple(steps[i].meta for i in sources)
        try:
            meta, opened = _infer(config, source_metas, unit, mode)
        except GpArraysError as error:
            if isinstance(error, NotWhole):
                error = _with_unit_that_suits(error, configs, unit)
            raise error.at(*path_to(config.content, outputs.values())) from None
        index[config.content] = len(steps)
        assert isinstance(config, ArrayConfig)
        steps.append(Step(config, meta, sources, source_metas, opened))
    return Plan(
        tuple(steps),
        {name: index[config.content] for name, config in outputs.items()},
        dict(outputs),
        unit,
        mode,
    )


def _infer(config: Config, sources: Sequence[Meta], unit: str, mode: str | None) -> tuple[Meta, Opened | None]:
    if isinstance(config, SourceConfig):
        opened = config.in_unit(unit).open(mode)
        return opened.meta(unit), opened
    assert isinstance(config, ArrayConfig)
    meta = config.infer(*sources)
    if meta.roi is not None and not meta.on_grid(meta.region):
        raise TreeError(
            "its roi does not lie on its voxel grid", found=f"roi {meta.region}, voxel size {meta.voxel_size}"
        )
    return meta, None


def tree_unit(configs: Sequence[Config], unit: str | None) -> str:
    """The one unit of a tree. Raises TreeError where its parts disagree."""
    units = {config.tree_unit: config.name for config in configs if config.tree_unit is not None}
    if unit is not None:
        units.setdefault(parse_unit(unit), "unit=")
    if len(units) > 1:
        parts = ", ".join(f"{name}: {unit_name}" for unit_name, name in units.items())
        raise TreeError("the parts of a tree have different units", found=parts)
    return next(iter(units), None) or DEFAULT_UNIT


def path_to(content: str, roots: Iterable[Config]) -> tuple[str, ...]:
    """Names from the nearest root down to the array of that content."""
    frontier: list[tuple[Config, tuple[str, ...]]] = [(root, (root.name,)) for root in roots]
    seen = {root.content for root in roots}
    for config, path in frontier:
        if config.content == content:
            return path
        for child in config.children():
            if child.content not in seen:
                seen.add(child.content)
                frontier.append((child, (*path, child.name)))
    return ()


def refuse_ambiguous_names(configs: Iterable[Config], roots: Iterable[Config]) -> None:
    """Raises TreeError if two of the configs below the roots have one name and different contents."""
    by_name: dict[str, Config] = {}
    for config in configs:
        other = by_name.setdefault(config.name, config)
        if other.content != config.content:
            raise TreeError(
                f"two different arrays are named {quoted(config.name)}",
                found=f"{one_line(repr(other), 160)} and {one_line(repr(config), 160)}",
                allowed="one name for one content",
                path=path_to(config.content, roots),
            )


def _with_unit_that_suits(error: NotWhole, configs: Sequence[Config], unit: str) -> NotWhole:
    suits = coarsest_unit([length for lengths in lengths_of(configs) for length in lengths], unit)
    allowed = f'set unit = "{suits}"' if suits else "lengths that are whole in an SI unit"
    return NotWhole(error.problem, error.found, allowed)


def lengths_of(configs: Iterable[Config]) -> Iterator[tuple[Quantity, ...]]:
    """Voxel size and offset of each source among some configs that can be opened."""
    for config in configs:
        if isinstance(config, SourceConfig):
            with contextlib.suppress(GpArraysError):  # it has an error of its own, met when it is compiled
                yield config.open().quantities()
