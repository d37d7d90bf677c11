"""The laws, each as a check of one config. A check raises AssertionError where the law is broken."""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import gunpowder as gp
import numpy as np
from funlib.geometry import Roi

from ..errors import ComputeError, GpArraysError, StoreError
from ..model.array import Array
from ..model.base import ArrayConfig, SourceConfig
from ..model.config import all_configs
from ..model.meta import Block, Meta, Region
from ..sources.numpy_ import NumpyArrayConfig
from ..train.pipeline import common_shift, compile_pipeline
from ..trees.tree import load_tree
from .oracle import evaluate_naively
from .recording import check_once, recorded

Voxels = np.ndarray[Any, Any]


def assert_same(got: Voxels, want: Voxels, what: str, signs: bool = True) -> None:
    """Check that two arrays have the same dtype, shape and voxels. All NaN are equal.

    Args:
        got: The voxels to check.
        want: The voxels that are expected.
        what: What is compared, for the message.
        signs: True if 0.0 and -0.0 differ.
    """
    assert (got.dtype, got.shape) == (want.dtype, want.shape), (
        f"{what}: {got.dtype}{got.shape}, not {want.dtype}{want.shape}"
    )
    equal = got == want
    if got.dtype.kind == "f":
        both = np.isnan(got) & np.isnan(want)
        equal = (equal & (np.signbit(got) == np.signbit(want)) if signs else equal) | both
    if not np.all(equal):
        first = tuple(int(i) for i in np.argwhere(~np.asarray(equal))[0])
        raise AssertionError(
            f"{what}: {got[first]!r} at {first}, not {want[first]!r}; {int((~equal).sum())} voxels differ"
        )


def check_meaning(config: Any) -> None:
    """Laws 1 and 3: the announced meta and every voxel are those of the naive evaluation."""
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
    expected = {
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
    for key, value in expected.items():
        assert announced[key] == value, f"{config!r}: {key} is {announced[key]}, not {value}"
    assert_same(array.to_ndarray(), want.data, repr(config), signs=False)


def check_blocks(config: Any, roi: Roi, parts: Sequence[Roi]) -> None:
    """Law 2: the parts of a roi, read one by one, have the voxels of the roi read at once."""
    array: Array = config.array()
    at_once = array[roi]
    stitched = np.zeros_like(at_once)
    covered = np.zeros(at_once.shape, np.uint8)
    nonspatial = (slice(None),) * (array.ndim - array.dims)
    for part in parts:
        spatial = tuple(
            slice((b - o) // v, (e - o) // v)
            for b, e, o, v in zip(part.begin, part.end, roi.begin, array.voxel_size, strict=True)
        )
        stitched[nonspatial + spatial] = array[part]
        covered[nonspatial + spatial] += 1
    assert (covered == 1).all(), "the parts do not cover each voxel of the roi once"
    assert_same(stitched, at_once, f"{config!r} in {len(parts)} parts of {roi}")


def check_indexing(config: Any) -> None:
    """Law 2 for entries of non-spatial axes and for numpy-like keys."""
    array: Array = config.array()
    voxels = array.to_ndarray()
    keys: list[Any] = [(), (..., slice(None, None, -2)), (..., -1), tuple(n // 2 for n in array.shape)]
    for axis in range(array.ndim - array.dims):
        before = (slice(None),) * axis
        keys += [(*before, i) for i in range(array.shape[axis])]
        keys += [(*before, slice(a, a + 2)) for a in range(0, array.shape[axis], 2)]
        keys.append((*before, slice(None, None, -1)))
    for key in keys:
        got = np.asarray(array[key])
        assert_same(got, np.asarray(voxels[key]), f"{config!r}[{key}]")


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
    arrays = []
    for key, roi in zip(keys, rois, strict=True):
        assert batch[key].spec.roi == roi.shift(-shift), f"{batch[key].spec.roi} for {roi}"
        arrays.append(batch[key])
    return arrays


def check_pipeline(configs: Sequence[Any], rois: Sequence[Roi]) -> None:
    """Law 3: the gunpowder pipeline delivers what ``array[roi]`` delivers."""
    arrays = [config.array() for config in configs]
    delivered = pipeline_voxels(configs, rois)
    for config, array, roi, result in zip(configs, arrays, rois, delivered, strict=True):
        assert_same(result.data, array[roi], f"{config!r} of the pipeline in {roi}")
        spec = result.spec
        assert (spec.dtype, spec.voxel_size) == (array.dtype, array.voxel_size), f"{config!r}: spec {spec}"
        assert spec.interpolatable == array.interpolatable, f"{config!r}: spec {spec}"
        assert result.data.flags.writeable, f"{config!r}: read-only"
    for one, other in itertools.combinations(delivered, 2):
        assert not np.may_share_memory(one.data, other.data), "two arrays of a batch share memory"


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
    """Law 5: inputs and random states do not change, and a result shares no memory with anything."""
    leaves = [leaf.data.data for leaf in all_configs([config]) if isinstance(leaf, NumpyArrayConfig)]
    before = [leaf.tobytes() for leaf in leaves]
    array: Array = config.array()
    states = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    first = array[roi]
    assert (random.getstate(), repr(np.random.get_state())) == states, f"{config!r} touched the random state"  # noqa: NPY002
    assert first.flags.writeable, f"{config!r} delivers read-only voxels"
    assert first.flags.c_contiguous, f"{config!r} delivers voxels that are not contiguous"
    assert not any(np.may_share_memory(first, leaf) for leaf in leaves), f"{config!r} delivers its source's memory"
    expected = first.copy()
    with contextlib.ExitStack() as stack:
        for kind in {type(each) for each in all_configs([config])}:
            assert issubclass(kind, ArrayConfig)
            stack.enter_context(mock.patch.object(kind, "compute", _guarding(kind.compute)))
        assert_same(array[roi], expected, f"{config!r}, read again")
    first.view(np.uint8)[...] = 0xA5
    assert_same(array[roi], expected, f"{config!r}, read after the first result was written to")
    pipeline_voxels([config], [roi])[0].data.view(np.uint8)[...] = 0xA5
    assert [leaf.tobytes() for leaf in leaves] == before, f"{config!r} modified its source"


def _guarding(compute: Any) -> Any:
    def guarding(self: Any, region: Region, meta: Meta, sources: Any, blocks: Sequence[Block | None]) -> Any:
        before = [None if block is None else block.data.tobytes() for block in blocks]
        result = compute(self, region, meta, sources, blocks)
        after = [None if block is None else block.data.tobytes() for block in blocks]
        assert after == before, f"{self!r} modified its input"
        return result

    return guarding


def check_threads(config: Any, rois: Sequence[Roi], threads: int = 4, rounds: int = 2) -> None:
    """Law 9: several threads that read different parts of one array get what one thread gets.

    Threads take turns after every line of the module that defines the type. What they share by
    mistake, such as a buffer of the module, then gives wrong voxels.
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
    """Law 10: a tree file gives the same voxels after its folder, which holds the stores too, was moved."""
    expected = config.array().to_ndarray()
    config.to_toml(folder / "tree.toml")
    moved = folder.rename(folder.with_name(f"{folder.name}-moved"))
    try:
        voxels = load_tree(moved / "tree.toml")[config.name].array().to_ndarray()
    except GpArraysError as error:
        raise AssertionError(f"{config!r} cannot be read after its folder was moved: {error}") from error
    finally:
        moved.rename(folder)
    assert_same(voxels, expected, f"{config!r}, moved")


def check_lost_stores(config: Any) -> None:
    """Law 8: a store that is removed while it is open is an error, before the first read and after it."""
    stores = {
        # for a pattern of files it is their folder
        leaf.file_name if leaf.file_name.exists() else leaf.file_name.parent
        for leaf in all_configs([config])
        if isinstance(leaf, SourceConfig) and hasattr(leaf, "file_name")
    }
    with recorded(config) as record:
        config.array().to_ndarray()
    if not stores or not record.reads:
        return
    for read_before in (False, True):
        array: Array = config.array()
        voxels_before = array.to_ndarray() if read_before else None
        moved = [(store, store.rename(store.with_name(f"{store.name}-gone"))) for store in map(Path, stores)]
        try:
            voxels = array.to_ndarray()
        except StoreError as error:
            if not error.path:
                raise AssertionError(f"{config!r}: the error does not say where in the tree") from error
        except GpArraysError as error:
            raise AssertionError(f"{config!r}: the error of a removed store is a {type(error).__name__}") from error
        else:
            # a source may remember voxels that were read before, but may not invent any
            assert voxels_before is not None, f"{config!r}: voxels of a removed store were delivered"
            assert_same(voxels, voxels_before, f"{config!r} of a removed store")
        finally:
            for store, moved_store in moved:
                moved_store.rename(store)
