"""Random crops by a mask: compared with all positions in small masks, and on a mask of 10^12 voxels."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import random
import re
import shutil
from collections.abc import Iterator
from typing import Any

import gunpowder as gp
import numpy as np
import pytest
from scipy.special import chdtrc

import gp_arrays as gpa
from gp_arrays.model import absent
from gp_arrays.testing import write_plain_zarr
from gp_arrays.train import crop_positions, mask_reader, occupancy, sampling

RAW, MASK, OTHER = gp.ArrayKey("RAW"), gp.ArrayKey("MASK"), gp.ArrayKey("OTHER")


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(1)


def blob(shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    """A mask that is thin in some parts."""
    rng = np.random.default_rng(seed)
    return (rng.random(shape) < np.linspace(0, 0.9, shape[-1])).astype(np.uint8)


def numbers(shape: tuple[int, ...], **options: Any) -> Any:
    """An array whose voxels are their own numbers."""
    return gpa.NumpyArrayConfig("raw", data=np.arange(np.prod(shape), dtype=np.uint32).reshape(shape), **options)


def allowed(mask: np.ndarray[Any, Any], crop: tuple[int, ...], least: float) -> set[tuple[int, ...]]:
    """Every position whose crop holds enough of the mask, tried one by one."""
    every = itertools.product(*(range(n - c + 1) for n, c in zip(mask.shape, crop, strict=True)))
    return {at for at in every if mask[tuple(slice(a, a + c) for a, c in zip(at, crop, strict=True))].mean() >= least}


def drawn(pipeline: Any, request: Any, count: int) -> collections.Counter[Any]:
    """The positions of the crops of RAW in voxels, and how often each was drawn."""
    seen: collections.Counter[Any] = collections.Counter()
    with gp.build(pipeline):
        node = pipeline.output
        spec = node.upstream_spec[RAW]
        for _ in range(count):
            placed = node.prepare(request.copy())
            seen[tuple(map(int, (placed[RAW].roi.begin - spec.roi.begin) / spec.voxel_size))] += 1
    return seen


@contextlib.contextmanager
def refusal(problem: str) -> Iterator[None]:
    """A pipeline is refused when it is built, with a TreeError."""
    with pytest.raises(gp.PipelineSetupError) as caught:
        yield
    assert isinstance(caught.value.__cause__, gpa.TreeError)
    assert re.search(problem, str(caught.value.__cause__))


def request_of(**sizes: Any) -> Any:
    request = gp.BatchRequest()
    for key, size in sizes.items():
        request.add(gp.ArrayKey(key), size)
    return request


def assert_uniform(seen: collections.Counter[Any], expected: set[Any]) -> None:
    assert set(seen) <= expected
    counts = [seen[at] for at in expected]
    mean = sum(counts) / len(counts)
    assert mean >= 5, "too few crops are drawn for a test of chi squared"
    deviation = sum((count - mean) ** 2 for count in counts) / mean
    assert chdtrc(len(counts) - 1, deviation) > 0.001, f"{len(counts)} positions, {min(counts)} to {max(counts)} times"


@pytest.mark.parametrize(("cell", "upstream"), [(4, "tree"), (32, "nodes")])
def test_every_allowed_position_is_equally_likely(monkeypatch: Any, cell: int, upstream: str) -> None:
    monkeypatch.setattr(occupancy, "CELL", cell)
    monkeypatch.setattr(mask_reader, "CELL", cell)
    monkeypatch.setattr(mask_reader, "BLOCK", 2 * cell)
    monkeypatch.setattr(absent, "BLOCK", 100)
    mask = blob((12, 14))
    config = gpa.NumpyArrayConfig("mask", data=mask)
    if upstream == "tree":
        pipeline = gpa.compile_pipeline({RAW: numbers(mask.shape), MASK: config})
    else:
        # gunpowder's own nodes may change the mask
        sources = (gpa.NumpySource(RAW, numbers(mask.shape).data.data), gpa.NumpySource(MASK, mask * np.float32(0.5)))
        pipeline = sources + gp.MergeProvider() + gp.IntensityScaleShift(MASK, 2, 0)
    pipeline += gpa.RandomLocationInMask(MASK, min_masked=0.5)
    expected = allowed(mask, (4, 5), 0.5)
    assert 20 < len(expected) < 60
    assert_uniform(drawn(pipeline, request_of(RAW=(4, 5), MASK=(4, 5)), 300), expected)


def test_positions_lie_on_the_grid_of_all_arrays() -> None:
    mask = blob((24, 30), 2)
    raw = numbers((12, 10), voxel_size=(4, 6), offset=(8, 12))
    tree = {RAW: raw, MASK: gpa.NumpyArrayConfig("mask", data=mask, voxel_size=(2, 2), offset=(8, 12))}
    pipeline = gpa.compile_pipeline(tree) + gpa.RandomLocationInMask(MASK, min_masked=0.4)
    # the mask counts in the middle of the crop: it begins one voxel of raw further on
    request = gp.BatchRequest({RAW: gp.ArraySpec(roi=gp.Roi((0, 0), (16, 24)))})
    request[MASK] = gp.ArraySpec(roi=gp.Roi((4, 6), (8, 12)))
    expected = {
        (z, y)
        for z, y in itertools.product(range(9), range(7))
        if mask[2 * (z + 1) : 2 * (z + 1) + 4, 3 * (y + 1) : 3 * (y + 1) + 6].mean() >= 0.4
    }
    assert 5 < len(expected) < 63
    assert_uniform(drawn(pipeline, request, 300), expected)


def test_a_mask_that_is_not_requested_counts_where_all_arrays_overlap() -> None:
    mask = blob((12, 14), 3)
    tree = {
        RAW: numbers(mask.shape),
        OTHER: gpa.NumpyArrayConfig("other", data=mask),
        MASK: gpa.NumpyArrayConfig("mask", data=mask),
    }
    pipeline = gpa.compile_pipeline(tree) + gpa.RandomLocationInMask(MASK, min_masked=0.6)
    request = request_of(RAW=(8, 8), OTHER=(4, 4))
    seen = drawn(pipeline, request, 250)
    assert_uniform(seen, {(z, y) for z, y in np.ndindex(5, 7) if mask[z + 2 : z + 6, y + 2 : y + 6].mean() >= 0.6})


def test_padding_lets_crops_reach_beyond_the_mask() -> None:
    mask = np.ones((4, 4), np.uint8)
    tree = {RAW: numbers((4, 4)), MASK: gpa.NumpyArrayConfig("mask", data=mask)}
    pipeline = gpa.compile_pipeline(tree) + gp.Pad(RAW, None) + gp.Pad(MASK, None)
    pipeline += gpa.RandomLocationInMask(MASK, min_masked=0.25)
    seen: set[int] = set()
    with gp.build(pipeline):
        for _ in range(60):
            batch = pipeline.request_batch(request_of(RAW=(2, 2), MASK=(2, 2)))
            assert batch[MASK].data.mean() >= 0.25
            seen.add(int(batch[MASK].data.sum()))
    assert seen == {1, 2, 4}


@pytest.mark.parametrize("seed", [5, 6])
def test_a_seed_of_the_request_decides(seed: int) -> None:
    mask = blob((30, 30))
    pipeline = gpa.compile_pipeline({RAW: numbers((30, 30)), MASK: gpa.NumpyArrayConfig("mask", data=mask)})
    pipeline += gpa.RandomLocationInMask(MASK, min_masked=0.4)
    voxels = []
    with gp.build(pipeline):
        for _ in range(2):
            request = gp.BatchRequest(random_seed=seed)
            request.add(RAW, (5, 5))
            request.add(MASK, (5, 5))
            voxels.append(pipeline.request_batch(request)[RAW].data.tolist())
            random.seed(77)
    assert voxels[0] == voxels[1]


def test_channels_any_each_and_weighted(monkeypatch: Any) -> None:
    monkeypatch.setattr(occupancy, "CELL", 4)
    monkeypatch.setattr(mask_reader, "CELL", 4)
    ids = np.zeros((12, 40), np.uint8)
    ids[:, :4], ids[:, 20:40] = 1, 2
    masks = gpa.BinarizeArrayConfig("masks", gpa.NumpyArrayConfig("ids", data=ids), [("one", [1]), ("two", [2])])
    absent = gpa.BinarizeArrayConfig("masks", masks.source_array_config, [("one", [1]), ("none", [9])])

    def share(channels: Any, config: Any = masks, crops: int = 30) -> float:
        """The share of crops that lie in class one."""
        pipeline = gpa.compile_pipeline({RAW: numbers(ids.shape), MASK: config})
        pipeline += gpa.RandomLocationInMask(MASK, 1.0, channels=channels)
        seen = drawn(pipeline, request_of(RAW=(4, 4), MASK=(4, 4)), crops)
        return sum(count for at, count in seen.items() if at[1] == 0) / crops

    assert share("any", crops=100) == pytest.approx(1 / 18, abs=0.07)
    assert share("each", crops=100) == pytest.approx(1 / 2, abs=0.14)
    assert share({"one": 9, "two": 1}, crops=100) == pytest.approx(9 / 10, abs=0.1)
    assert share({"two": 1}) == 0
    assert share("each", absent) == 1, "a class that is not there is never drawn"
    with refusal("no such channel.*'three'.*one, two"):
        share({"three": 1})


def test_several_masks_have_weights() -> None:
    left, right = np.zeros((2, 10, 30), np.uint8)
    left[:, :5], right[:, 10:] = 1, 1
    tree = {RAW: numbers(left.shape)}
    tree |= {MASK: gpa.NumpyArrayConfig("l", data=left), OTHER: gpa.NumpyArrayConfig("r", data=right)}
    for masks, share in (({MASK: 1, OTHER: 9}, 0.1), ([MASK, OTHER], 0.5)):
        pipeline = gpa.compile_pipeline(tree) + gpa.RandomLocationInMask(masks, min_masked=1)
        seen = drawn(pipeline, request_of(RAW=(5, 5), MASK=(5, 5), OTHER=(5, 5)), 120)
        assert sum(count for at, count in seen.items() if at[1] < 10) / 120 == pytest.approx(share, abs=0.11)


def test_merged_cells_allow_the_same_positions(monkeypatch: Any) -> None:
    mask = blob((12, 14), 4)
    monkeypatch.setattr(occupancy, "CELL", 4)
    monkeypatch.setattr(crop_positions, "MOST_ENTRIES", 8)
    monkeypatch.setattr(occupancy.occupancies, "__defaults__", (6,))
    pipeline = gpa.compile_pipeline({RAW: numbers(mask.shape), MASK: gpa.NumpyArrayConfig("mask", data=mask)})
    pipeline += gpa.RandomLocationInMask(MASK, min_masked=0.5)
    seen = drawn(pipeline, request_of(RAW=(4, 5), MASK=(4, 5)), 300)
    assert_uniform(seen, allowed(mask, (4, 5), 0.5))


def test_a_mask_of_a_million_million_voxels_costs_megabytes(tmp_path: Any) -> None:
    shape, chunk = (10_000, 10_000, 10_000), 64
    present = {(3, 7, 150), (80, 0, 1), (155, 155, 155)}
    write_plain_zarr(
        tmp_path / "mask", np.ones((1, 1, 1), np.uint8), (chunk,) * 3, {"voxel_size": [8, 8, 8]}, separator="."
    )
    one = next(path for path in (tmp_path / "mask").iterdir() if path.name[0].isdigit())
    assert one.name == "0.0.0"
    ones = np.ones((chunk,) * 3, np.uint8)
    write_plain_zarr(tmp_path / "ones", ones, (chunk,) * 3, {"voxel_size": [8, 8, 8]}, separator=".")
    metadata = json.loads((tmp_path / "mask" / ".zarray").read_text())
    metadata["shape"] = list(shape)
    (tmp_path / "mask" / ".zarray").write_text(json.dumps(metadata))
    one.unlink()
    for index in present:
        (tmp_path / "mask" / ".".join(map(str, index))).write_bytes((tmp_path / "ones" / "0.0.0").read_bytes())
    mask = gpa.ZarrArrayConfig("mask", tmp_path, "mask")
    pipeline = gpa.compile_pipeline({MASK: gpa.ThresholdArrayConfig("set", mask, 0)})
    pipeline += gpa.RandomLocationInMask(MASK, min_masked=0.5)
    request = request_of(MASK=(40 * 8,) * 3)
    rois = {index: gp.Roi(index, (1, 1, 1)) * (chunk * 8) for index in present}
    seen = set()
    with gp.build(pipeline):
        node = pipeline.output
        for _ in range(30):
            roi = node.prepare(request.copy())[MASK].roi
            seen |= {index for index in present if roi.intersect(rois[index]).size >= roi.size / 2} or {None}
        counts = [each for mask in node._drawn for each in (mask.occupancy.keys, mask.occupancy.counts)]
        entries = [
            each.keys for drawn in node._positions.values() for _, positions in drawn for each in positions._groups
        ]
        assert pipeline.request_batch(request)[MASK].data.mean() >= 0.5
    assert sum(each.nbytes for each in [*counts, *entries]) < 2**20
    assert seen == present


def test_counts_are_stored_and_counted_again_when_the_store_changes(tmp_path: Any, monkeypatch: Any) -> None:
    read: list[Any] = []
    original = absent.evaluate
    monkeypatch.setattr(absent, "evaluate", lambda *args: (read.append(args), original(*args))[1])

    def build(mask: Any) -> None:
        if not (tmp_path / "mask").exists():
            write_plain_zarr(tmp_path / "mask", mask, (8, 8), {"voxel_size": [1, 1]})
        config = gpa.ZarrArrayConfig("mask", tmp_path, "mask")
        node = gpa.RandomLocationInMask(MASK, 0.5, cache_file=tmp_path / "kept" / "counts.npz")
        with gp.build(gpa.compile_pipeline({MASK: config}) + node):
            pass

    build(blob((16, 16)))
    assert len(read) > 0
    read.clear()
    build(blob((16, 16)))
    assert read == []
    (tmp_path / "kept" / "counts.npz").write_bytes(b"PK damaged")
    build(blob((16, 16)))
    assert len(read) > 0
    read.clear()
    shutil.rmtree(tmp_path / "mask")
    build(blob((16, 20)))
    assert len(read) > 0


def test_bad_arguments_are_refused() -> None:
    for masks, least, channels in [
        (MASK, 0, "any"),
        (MASK, 1.5, "any"),
        (MASK, "x", "any"),
        ("MASK", 0.5, "any"),
        ([], 0.5, "any"),
        ({MASK: -1}, 0.5, "any"),
        ({MASK: 0}, 0.5, "any"),
        (MASK, 0.5, "all"),
        (MASK, 0.5, {}),
    ]:
        with pytest.raises(gpa.ConfigError):
            gpa.RandomLocationInMask(masks, least, channels)
    samples = gpa.NumpyArrayConfig("mask", data=np.ones((2, 4, 4), np.uint8), axes=("s", "y", "x"))
    mask = gpa.NumpyArrayConfig("mask", data=np.ones((4, 4), np.uint8))
    for config, key, problem in [(samples, MASK, "a mask has channels or none.*axes s, y, x"), (mask, OTHER, "OTHER")]:
        with (
            refusal(problem),
            gp.build(gpa.compile_pipeline({MASK: config}) + gpa.RandomLocationInMask(key, 0.5)),
        ):
            pass
    unbounded = gpa.NumpySource(MASK, np.ones((4, 4), np.uint8)) + gp.Pad(MASK, None, value=1)
    with (
        refusal("unbounded"),
        gp.build(unbounded + gpa.RandomLocationInMask(MASK, 0.5)),
    ):
        pass


def test_a_mask_that_no_crop_meets_is_an_error(monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setattr(sampling, "MOST_TRIES", 500)
    tried = np.zeros((40, 40), np.uint8)
    tried[::2, ::2] = 1  # cells cannot tell that no crop holds half
    for mask, problem in [(np.zeros((40, 40), np.uint8), "no crop of"), (tried, "of 500 crops none")]:
        config = gpa.NumpyArrayConfig("mask", data=mask)
        pipeline = gpa.compile_pipeline({MASK: config}) + gpa.RandomLocationInMask(MASK, min_masked=0.3)
        with gp.build(pipeline), pytest.raises(gpa.ComputeError, match="MASK.*crops of .8, 8. hold 0.3"):
            pipeline.output.prepare(request_of(MASK=(8, 8)))
        assert problem in caplog.text
