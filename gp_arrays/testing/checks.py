"""The laws, each as a check of one config. A check raises AssertionError where the law is broken."""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import attrs
import gunpowder as gp
import numpy as np
from funlib.geometry import Roi

from ..errors import ComputeError, GpArraysError, StoreError
from ..model.array import Array
from ..model.base import ArrayConfig, SourceConfig
from ..model.config import all_configs
from ..model.meta import Block, Meta, Region
from ..sources.numpy_ import NumpyArrayConfig
from ..train.pipeline import compile_pipeline
from ..train.shift import common_shift
from ..trees.tree import load_tree
from .oracle import evaluate_naively

Voxels = np.ndarray[Any, Any]


def assert_same(got: Voxels, want: Voxels, what: str, signs: bool = True) -> None:
    """Same dtype, shape and voxels; NaN is NaN whatever its payload.

    Args:
        got, want: Voxels.
        what: What is compared, for the message.
        signs: Whether the sign of a zero counts.
    """
    assert (got.dtype, got.shape) == (want.dtype, want.shape), (
        f"{what}: {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
    )
    equal = got == want
    if got.dtype.kind == "f":
        both = np.isnan(got) & np.isnan(want)
        equal = (equal & (np.signbit(got) == np.signbit(want)) if signs else equal) | both
    if not np.all(equal):
        place = tuple(int(i) for i in np.argwhere(~np.asarray(equal))[0])
        raise AssertionError(
            f"{what}: {got[place]!r} at {place}, not {want[place]!r}; {int((~equal).sum())} voxels differ"
        )


def check_meaning(config: Any) -> None:
    """Laws 1 and 3: what is announced, and every voxel, are what the oracle says."""
    array: Array = config.array()
    try:
        want = evaluate_naively(config)
    except ComputeError:
        try:
            array.to_ndarray()
        except ComputeError:
            return
        raise AssertionError(f"{config!r}: voxels that cannot be computed were delivered") from None
    announced = {
        "shape": array.shape,
        "dtype": array.dtype,
        "begin": tuple(array.roi.begin),
        "end": tuple(array.roi.end),
        "voxel_size": tuple(array.voxel_size),
        "non-spatial axes": array.axes[: array.ndim - array.dims],
        "channels": array.channels,
        "interpolatable": array.interpolatable,
        "averaged": array.meta.averaged,
    }
    meant = {
        "shape": want.data.shape,
        "dtype": want.data.dtype,
        "begin": want.begin,
        "end": want.end,
        "voxel_size": want.voxel_size,
        "non-spatial axes": want.nonspatial,
        "channels": want.channels,
        "interpolatable": want.interpolatable,
        "averaged": want.averaged,
    }
    for key, value in meant.items():
        assert announced[key] == value, f"{config!r}: {key} is {announced[key]}, not {value}"
    assert_same(array.to_ndarray(), want.data, repr(config), signs=False)


def check_blocks(config: Any, roi: Roi, parts: Sequence[Roi]) -> None:
    """Law 2: parts of a roi, read one by one, stitch to exactly the roi read at once."""
    array: Array = config.array()
    whole = array[roi]
    stitched = np.zeros_like(whole)
    covered = np.zeros(whole.shape, np.uint8)
    lead = (slice(None),) * (array.ndim - array.dims)
    for part in parts:
        place = tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(part.begin, part.end, roi.begin, array.voxel_size, strict=True)
        )
        stitched[lead + place] = array[part]
        covered[lead + place] += 1
    assert (covered == 1).all(), "the parts are no partition"
    assert_same(stitched, whole, f"{config!r} in {len(parts)} parts of {roi}")


def check_indexing(config: Any) -> None:
    """Law 2 for entries of non-spatial axes and for numpy-like keys."""
    array: Array = config.array()
    whole = array.to_ndarray()
    keys: list[Any] = [(), (..., slice(None, None, -2)), (..., -1), tuple(n // 2 for n in array.shape)]
    for axis in range(array.ndim - array.dims):
        before = (slice(None),) * axis
        keys += [(*before, i) for i in range(array.shape[axis])]
        keys += [(*before, slice(a, a + 2)) for a in range(0, array.shape[axis], 2)]
        keys.append((*before, slice(None, None, -1)))
    for key in keys:
        got = np.asarray(array[key])
        assert_same(got, np.asarray(whole[key]), f"{config!r}[{key}]")


def pipeline_voxels(configs: Sequence[Any], rois: Sequence[Roi]) -> list[Any]:
    """The gunpowder arrays of some configs of one tree, asked for in one request."""
    keys = [gp.ArrayKey(f"LAW{i}") for i in range(len(configs))]
    tree = dict(zip(keys, configs, strict=True))
    shift = common_shift([tree])
    pipeline = compile_pipeline(tree, shift=shift)
    request = gp.BatchRequest()
    for key, roi in zip(keys, rois, strict=True):
        request[key] = gp.ArraySpec(roi=roi.shift(-shift))
    with gp.build(pipeline):
        batch = pipeline.request_batch(request)
    found = []
    for key, roi in zip(keys, rois, strict=True):
        assert batch[key].spec.roi == roi.shift(-shift), f"{batch[key].spec.roi} for {roi}"
        found.append(batch[key])
    return found


def check_pipeline(configs: Sequence[Any], rois: Sequence[Roi]) -> None:
    """Law 3: the gunpowder pipeline delivers what ``array[roi]`` delivers."""
    arrays = [config.array() for config in configs]
    found = pipeline_voxels(configs, rois)
    for config, array, roi, made in zip(configs, arrays, rois, found, strict=True):
        assert_same(made.data, array[roi], f"{config!r} of the pipeline in {roi}")
        spec = made.spec
        assert (spec.dtype, spec.voxel_size) == (array.dtype, array.voxel_size), f"{config!r}: spec {spec}"
        assert spec.interpolatable == array.interpolatable, f"{config!r}: spec {spec}"
        assert made.data.flags.writeable, f"{config!r}: read-only"
    for one, other in itertools.combinations(found, 2):
        assert not np.may_share_memory(one.data, other.data), "two arrays of a batch share memory"


@attrs.define
class Record:
    """What a request reads and computes: ``(array, its chunks, index)`` and ``(config, region)``."""

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
    """Law 4: no chunk was read twice, no region computed that lies within another."""
    seen: set[tuple[Any, ...]] = set()
    for opened, index in record.reads:
        sizes = opened.chunks or (1,) * len(index)
        for chunk in itertools.product(
            *(range(part.start // size, -(-part.stop // size)) for part, size in zip(index, sizes, strict=True))
        ):
            assert (id(opened), chunk) not in seen, f"{opened.place}: chunk {chunk} was read twice"
            seen.add((id(opened), chunk))
    for (one, region), (other, second) in itertools.permutations(record.computed, 2):
        if one.content == other.content:
            assert not region.contains(second), f"{one.name} was computed for {region} and for {second}"


def check_read_once(config: Any, roi: Roi) -> None:
    """Law 4, of ``array[roi]`` and of the pipeline."""
    array: Array = config.array()
    with recorded(config) as record:
        array[roi]
    check_once(record)
    with recorded(config) as record:
        pipeline_voxels([config], [roi])
    check_once(record)


def check_purity(config: Any, roi: Roi) -> None:
    """Law 5: inputs stay as they are, random states too, and a result is nobody else's."""
    leaves = [leaf.data.data for leaf in all_configs([config]) if isinstance(leaf, NumpyArrayConfig)]
    before = [leaf.tobytes() for leaf in leaves]
    array: Array = config.array()
    states = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    first = array[roi]
    assert (random.getstate(), repr(np.random.get_state())) == states, f"{config!r} touched the random state"  # noqa: NPY002
    assert first.flags.writeable, f"{config!r} delivers read-only voxels"
    assert first.flags.c_contiguous, f"{config!r} delivers voxels that are not contiguous"
    assert not any(np.may_share_memory(first, leaf) for leaf in leaves), f"{config!r} delivers its source's memory"
    kept = first.copy()
    with contextlib.ExitStack() as stack:
        for kind in {type(each) for each in all_configs([config])}:
            assert issubclass(kind, ArrayConfig)
            stack.enter_context(mock.patch.object(kind, "compute", _guarding(kind.compute)))
        assert_same(array[roi], kept, f"{config!r}, read again")
    first.view(np.uint8)[...] = 0xA5
    assert_same(array[roi], kept, f"{config!r}, read after the first result was written to")
    pipeline_voxels([config], [roi])[0].data.view(np.uint8)[...] = 0xA5
    assert [leaf.tobytes() for leaf in leaves] == before, f"{config!r} modified its source"


def _guarding(compute: Any) -> Any:
    def guarding(self: Any, region: Region, meta: Meta, sources: Any, blocks: Sequence[Block | None]) -> Any:
        before = [None if block is None else block.data.tobytes() for block in blocks]
        made = compute(self, region, meta, sources, blocks)
        after = [None if block is None else block.data.tobytes() for block in blocks]
        assert after == before, f"{self!r} modified its input"
        return made

    return guarding


def check_threads(config: Any, rois: Sequence[Roi], threads: int = 4, rounds: int = 3) -> None:
    """Law 9: several threads that read different parts of one array get what one thread gets.

    Threads take turns after every line of the module that defines the type, so that what they share by
    mistake, such as a buffer of the module, shows.
    """
    array: Array = config.array()
    expected = [array[roi] for roi in rois]
    module = type(config).__module__
    start = threading.Barrier(threads)

    def take_turns(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_globals.get("__name__") != module:
            return None
        time.sleep(0)
        return take_turns

    def read(first: int) -> None:
        start.wait()
        sys.settrace(take_turns)
        try:
            for turn in range(rounds * len(rois)):
                number = (first + turn) % len(rois)
                assert_same(array[rois[number]], expected[number], f"{config!r} in {rois[number]}, read by threads")
        finally:
            sys.settrace(None)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as executor:
            for future in [executor.submit(read, first) for first in range(threads)]:
                future.result()
    finally:
        sys.setswitchinterval(interval)


def check_moved(config: Any, folder: Path) -> None:
    """Law 10: a tree file in a folder, moved with it, gives the same voxels. The stores are below the folder."""
    expected = config.array().to_ndarray()
    config.to_toml(folder / "tree.toml")
    moved = folder.rename(folder.with_name(f"{folder.name}-moved"))
    try:
        voxels = load_tree(moved / "tree.toml")[config.name].array().to_ndarray()
    except GpArraysError as error:
        raise AssertionError(f"{config!r} is not found after its folder was moved: {error}") from error
    finally:
        moved.rename(folder)
    assert_same(voxels, expected, f"{config!r}, moved")


def check_lost_stores(config: Any) -> None:
    """Law 8: a store that goes away while it is open is an error, whenever it goes."""
    places = {
        # of a pattern of files their folder
        leaf.file_name if leaf.file_name.exists() else leaf.file_name.parent
        for leaf in all_configs([config])
        if isinstance(leaf, SourceConfig) and hasattr(leaf, "file_name")
    }
    with recorded(config) as record:
        config.array().to_ndarray()
    if not places or not record.reads:
        return
    for read_before in (False, True):
        array: Array = config.array()
        known = array.to_ndarray() if read_before else None
        moved = [(place, place.rename(place.with_name(f"{place.name}-gone"))) for place in map(Path, places)]
        try:
            found = array.to_ndarray()
        except StoreError as error:
            if not error.path:
                raise AssertionError(f"{config!r}: the error does not say where in the tree") from error
        except GpArraysError as error:
            raise AssertionError(f"{config!r}: a lost store is a {type(error).__name__}") from error
        else:
            # voxels that were read already may be remembered, not made up
            assert known is not None, f"{config!r}: a lost store was read"
            assert_same(found, known, f"{config!r} of a lost store")
        finally:
            for place, now in moved:
                now.rename(place)
