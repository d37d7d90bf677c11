"""Blocks that need not be computed are left out, and no others."""

import json

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.jobs.geometry import Output, plan_pass
from gp_arrays.jobs.schedule import not_empty, within_mask
from gp_arrays.storage.chunked.listing import list_chunks
from gp_arrays.storage.metadata.documents import find_node

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture
def few(tmp_path):
    """100 x 100 x 100 ids of which the chunks of 10^3 at (2, 3, 4) and (9, 9, 9) exist."""
    array = gpa.create_zarr(
        tmp_path / "in.zarr", "ids", gpa.Roi((50, 0, 0), (100, 100, 100)), (1, 1, 1), "uint32", chunks=(10, 10, 10)
    )
    array[20:30, 30:40, 40:50] = 5
    array[95:100, 95:100, 95:100] = 6
    return gpa.ZarrArrayConfig("ids", tmp_path / "in.zarr", "ids")


def blocks_of(config, block, chunks=(10, 10, 10), memory=2**31):
    plan = gpa.compile_plan({"out": config})
    meta = plan.steps[plan.outputs["out"]].meta
    chunks = (1,) * (len(meta.shape) - 3) + chunks
    pass_ = plan_pass(plan, [Output("out", meta, chunks)], memory, block)
    return plan, pass_


def positions(grid):
    return sorted(map(tuple, np.argwhere(grid).tolist()))


def test_existing_chunks_are_listed_in_every_layout(few, tmp_path):
    root = tmp_path / "in.zarr"
    assert sorted(map(tuple, list_chunks(root, find_node(root, "ids"))[0].tolist())) == [(2, 3, 4), (9, 9, 9)]
    # the same array with flat keys, as zarr 2 writes them by default
    flat = root / "flat"
    flat.mkdir()
    document = json.loads((root / "ids/.zarray").read_text())
    del document["dimension_separator"]
    (flat / ".zarray").write_text(json.dumps(document))
    (flat / "2.3.4").write_bytes((root / "ids/2/3/4").read_bytes())
    (flat / "2.3.4.partial").write_bytes(b"")
    assert list_chunks(root, find_node(root, "flat"))[0].tolist() == [[2, 3, 4]]


def test_many_chunks_are_listed_as_boxes_of_chunks(tmp_path):
    root, roi = tmp_path / "in.zarr", gpa.Roi((0, 0), (20, 20))
    options = {"voxel_size": (1, 1), "dtype": "uint8", "axes": ["y", "x"], "write_size": (2, 2)}
    gpa.create_zarr(root, "ids", roi=roi, **options)[roi] = 1
    index, factor = list_chunks(root, find_node(root, "ids"), most=9)
    # 100 chunks: boxes of 4 x 4 chunks cover a grid of 10 x 10
    assert factor == 4
    assert sorted(index.tolist()) == [[i, j] for i in range(3) for j in range(3)]


def test_listing_the_chunks_of_a_removed_array_is_an_error(few, tmp_path):
    root = tmp_path / "in.zarr"
    node = find_node(root, "ids")
    (root / "ids").rename(root / "elsewhere")
    with pytest.raises(gpa.StoreError, match="vanished"):
        list_chunks(root, node)


def test_blocks_over_absent_chunks_are_empty(few):
    groups = [("five", [5]), ("any", [])]
    plan, pass_ = blocks_of(gpa.BinarizeArrayConfig("out", few, groupings=groups), (20, 20, 20))
    assert positions(not_empty(plan, pass_)) == [(1, 1, 2), (4, 4, 4)]


@pytest.mark.parametrize(
    "make",
    [
        lambda ids: gpa.BinarizeArrayConfig("out", ids, groupings=[("any", [])], background=1),
        lambda ids: gpa.IntensitiesArrayConfig("out", ids, min=-10, max=10),
        lambda ids: gpa.OnesArrayConfig("out", ids),
        lambda ids: gpa.ThresholdArrayConfig("out", ids, 1, above=False),
    ],
)
def test_absent_chunks_whose_result_is_not_0_are_not_empty(few, make):
    plan, pass_ = blocks_of(make(few), (50, 50, 50))
    assert not_empty(plan, pass_).all()


def test_blocks_whose_context_has_voxels_are_not_empty(few):
    fine = gpa.ResampledArrayConfig(
        "fine", gpa.ZarrArrayConfig("grey", few.file_name, "ids", interpolatable=True), (1, 1, 1), (2, 2, 2), 0
    )
    smooth = gpa.ResampledArrayConfig("out", fine, (2, 2, 2), (1, 1, 1), 1)
    plan, pass_ = blocks_of(smooth, (10, 10, 10))
    # the chunk at (20:30, 30:40, 40:50) and a voxel of linear interpolation around it
    grid = not_empty(plan, pass_)
    assert grid[1:4, 2:5, 3:6].all()
    assert grid[8:, 8:, 8:].all()
    assert grid.sum() == 27 + 8


def test_blocks_of_arrays_in_memory_are_never_empty():
    memory = gpa.NumpyArrayConfig("memory", data=np.zeros((20, 20, 20), np.uint8))
    plan, pass_ = blocks_of(gpa.ThresholdArrayConfig("out", memory, 1), (10, 10, 10))
    assert not_empty(plan, pass_).all()


def test_a_mask_may_have_another_voxel_size(few):
    data = np.zeros((5, 4, 4), np.uint8)
    data[0, 1, 2] = 1
    mask = gpa.NumpyArrayConfig("mask", data=data, voxel_size=(25, 25, 25), offset=(25, 0, 0))
    _, pass_ = blocks_of(few, (20, 20, 20))
    # z 25:50 lies before the array; the voxel at (0, 1, 2) too
    assert positions(within_mask(gpa.compile_plan({"mask": mask}), pass_)) == []
    data[1, 1, 2] = 1
    mask = gpa.NumpyArrayConfig("mask", data=data, voxel_size=(25, 25, 25), offset=(25, 0, 0))
    # world 50:75, 25:50, 50:75: blocks begin at 50, 70; 20, 40; 40, 60
    assert positions(within_mask(gpa.compile_plan({"mask": mask}), pass_)) == [
        (z, y, x) for z in (0, 1) for y in (1, 2) for x in (2, 3)
    ]


def test_with_skip_empty_only_chunks_with_voxels_are_written(few, tmp_path):
    masks = gpa.BinarizeArrayConfig("masks", few, groupings=[("five", [5]), ("six", [6])])
    out = tmp_path / "out.zarr"
    result = gpa.materialize(
        masks, out, chunks=(10, 10, 10), block=(20, 20, 20), skip_empty=True, progress=False, num_workers=1
    )
    assert result.ok
    assert (result.blocks, result.done, result.empty) == (125, 125, 123)
    written = {tuple(row) for row in list_chunks(out, find_node(out, "masks"))[0].tolist()}
    assert written == {(0, 2, 3, 4), (1, 9, 9, 9)}
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[:], masks.array()[:])
    # without it every chunk is there
    assert gpa.materialize(masks, out, chunks=(50, 50, 50), overwrite=True, progress=False).empty == 0
    assert len(list_chunks(out, find_node(out, "masks"))[0]) == 2 * 8


@pytest.mark.slow
def test_blocks_outside_of_a_mask_are_done_once_a_larger_mask_covers_them(few, tmp_path):
    def mask(end):
        data = np.zeros((10, 10, 10), bool)
        data[:end] = True
        return gpa.NumpyArrayConfig("mask", data=data, voxel_size=(10, 10, 10), offset=(50, 0, 0))

    options = {"chunks": (50, 50, 50), "block": (50, 50, 50), "progress": False, "num_workers": 1}
    first = gpa.materialize(few, tmp_path / "out.zarr", mask=mask(5), **options)
    assert (first.blocks, first.empty, first.done, first.ok) == (8, 4, 8, True)
    half = few.array()[:]
    half[50:] = 0
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "ids")[:], half)
    second = gpa.materialize(few, tmp_path / "out.zarr", mask=mask(6), **options)
    assert (second.before, second.empty, second.done) == (4, 0, 8)
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "ids")[:], few.array()[:])


def test_a_mask_with_another_number_of_axes_is_refused(few, tmp_path):
    flat = gpa.NumpyArrayConfig("mask", data=np.ones((4, 4), bool))
    with pytest.raises(gpa.TreeError, match="2 spatial axes"):
        gpa.materialize(few, tmp_path / "out.zarr", mask=flat, progress=False)
    assert not (tmp_path / "out.zarr").exists()


def test_non_empty_blocks_of_a_huge_volume_are_found_by_its_chunks(tmp_path):
    side = 100_000
    array = gpa.create_zarr(
        tmp_path / "in.zarr", "ids", gpa.Roi((0,) * 3, (side,) * 3), (1, 1, 1), "uint64", chunks=(64,) * 3
    )
    array[64_000:64_064, 6_400:6_464, 0:64] = 3
    array[99_999:, 99_999:, 99_999:] = 4
    ids = gpa.ZarrArrayConfig("out", tmp_path / "in.zarr", "ids")
    # 10^15 voxels in 98^3 blocks
    plan, pass_ = blocks_of(ids, (1024,) * 3, (64, 64, 64), 2**40)
    assert pass_.grid == (98, 98, 98)
    assert positions(not_empty(plan, pass_)) == [(62, 6, 0), (97, 97, 97)]
