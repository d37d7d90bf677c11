"""Records of what a request reads and computes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any
from unittest import mock

import attrs

from ..model.base import ArrayConfig
from ..model.config import all_configs
from ..model.meta import Region


@attrs.define
class Record:
    """What a request read and computed.

    Attributes:
        reads: The opened source and the index of each read.
        computed: The config and the region of each run of a kernel.
    """

    reads: list[tuple[Any, tuple[slice, ...]]] = attrs.field(factory=list)
    computed: list[tuple[Any, Region]] = attrs.field(factory=list)


@contextlib.contextmanager
def recorded(config: Any) -> Iterator[Record]:
    """Records every read of a source and every run of a kernel below a config."""
    record = Record()
    opened = {type(step.opened) for step in config.array().plan.steps if step.opened is not None}
    kinds = {type(each) for each in all_configs([config])}
    with contextlib.ExitStack() as stack:
        for kind in opened:
            stack.enter_context(mock.patch.object(kind, "read", _recording_read(kind.read, record)))
        for rules in kinds:
            assert issubclass(rules, ArrayConfig)
            stack.enter_context(mock.patch.object(rules, "compute", _recording_compute(rules.compute, record)))
        yield record


def _recording_read(read: Any, record: Record) -> Any:
    def recording(self: Any, index: tuple[slice, ...]) -> Any:
        record.reads.append((self, index))
        return read(self, index)

    return recording


def _recording_compute(compute: Any, record: Record) -> Any:
    def recording(self: Any, region: Region, *rest: Any) -> Any:
        record.computed.append((self, region))
        return compute(self, region, *rest)

    return recording


def check_once(record: Record) -> None:
    """Law 4: no chunk was read twice, and no computed region lies within another one."""
    seen: set[tuple[Any, ...]] = set()
    for opened, index in record.reads:
        sizes = opened.chunks or (1,) * len(index)
        for chunk in itertools.product(
            *(range(part.start // size, -(-part.stop // size)) for part, size in zip(index, sizes, strict=True))
        ):
            assert (id(opened), chunk) not in seen, f"{opened.location}: chunk {chunk} was read twice"
            seen.add((id(opened), chunk))
    for (one, region), (other, second) in itertools.permutations(record.computed, 2):
        if one.content == other.content:
            assert not region.contains(second), f"{one.name} was computed for {region} and again for {second}"
