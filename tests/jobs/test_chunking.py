"""Default chunks and blocks of arrays that are computed in whole tiles."""

import appended_nodes
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.jobs.chunking import default_chunks, smallest_block, tile_below
from gp_arrays.jobs.geometry import plan_pass
from gp_arrays.jobs.prepare import Layout, group_outputs, outputs_of
from gp_arrays.model.meta import Region
from gp_arrays.model.plan import compile_plan


def tiled(shape, tile, voxel_size=(4, 4), name="tiled", **options):
    """A prediction without context of an array that begins off the grid of its tiles, tile size in voxels."""
    raw = gpa.NumpyArrayConfig("raw", data=np.zeros(shape, np.uint8), offset=(8, -4), voxel_size=voxel_size)
    size = tuple(t * v for t, v in zip(tile, voxel_size, strict=True))
    return gpa.PipelineArrayConfig(name, raw, appended_nodes.add_pooled, tile_size=size, dtype="float32", **options)


def only_pass(config, **layout):
    plan = compile_plan({"out": config})
    (outputs,) = group_outputs(outputs_of(plan, Layout(**layout), {"out": "out"}))
    layout = Layout(**layout)
    return outputs[0], plan_pass(plan, outputs, layout.memory, layout.block)


@pytest.mark.parametrize(
    ("tile", "chunks"), [((40, 160), (40, 80)), ((67, 134), (67, 67)), ((96, 64), (48, 64)), ((300, 12), (60, 12))]
)
def test_chunks_divide_the_tile_and_blocks_are_complete_tiles(tile, chunks):
    output, pass_ = only_pass(tiled((700, 600), tile))
    assert output.chunks == chunks
    assert pass_.begin == (8, -4)
    assert all(block % (4 * size) == 0 for block, size in zip(pass_.block, tile, strict=True))


@pytest.mark.parametrize(
    "above",
    [
        lambda config: gpa.ThresholdArrayConfig("top", config, threshold=1),
        lambda config: gpa.LogicalOrArrayConfig("top", gpa.ThresholdArrayConfig("low", config, threshold=1)),
        lambda config: gpa.SumArrayConfig("top", [config.source_array_config, config]),
        lambda config: gpa.ResampledArrayConfig("top", config, (1, 1), (2, 2), 1),
    ],
)
def test_arrays_computed_from_tiles_have_blocks_of_complete_tiles(above):
    config = above(tiled((400, 400), (80, 80)))
    output, pass_ = only_pass(config)
    assert all(
        (chunk * int(v)) in (80 * 4, 40 * 4) for chunk, v in zip(output.chunks, output.meta.voxel_size, strict=True)
    )
    assert all(block % (80 * 4) == 0 for block in pass_.block)


def test_blocks_of_a_crop_begin_where_tiles_begin():
    tree = gpa.CropArrayConfig("crop", tiled((700, 600), (96, 96)), gpa.Roi((8 + 48 * 4, -4 + 32 * 4), (1600, 1600)))
    output, pass_ = only_pass(tree)
    assert output.chunks == (48, 32)
    assert pass_.begin == (8, -4)
    assert [block % (96 * 4) for block in pass_.block] == [0, 0]
    # every voxel is in one block
    assert pass_.voxels(output, np.ones(pass_.grid, bool)) == 400 * 400


def test_blocks_of_a_crop_ignore_tiles_that_no_chunk_fits():
    tree = gpa.CropArrayConfig("crop", tiled((700, 600), (96, 96)), gpa.Roi((8 + 5 * 4, -4), (1600, 200)))
    output, pass_ = only_pass(tree)
    # along the first axis chunks and tiles never meet, along the second one chunk holds all
    assert output.chunks == (48, 48)
    assert (pass_.begin[0], pass_.block[0] % (48 * 4)) == (28, 0)


def test_a_tile_that_is_not_a_whole_number_of_voxels_is_ignored():
    config = gpa.ResampledArrayConfig("coarse", tiled((300, 300), (50, 50)), (1, 1), (3, 3), 0)
    assert only_pass(config)[0].chunks == (64, 64)


def test_arrays_without_tiles_have_the_usual_chunks():
    output, pass_ = only_pass(gpa.NumpyArrayConfig("raw", data=np.zeros((700, 30), np.uint8)))
    assert (output.chunks, pass_.begin) == ((64, 30), (0, 0))


def test_the_largest_of_several_tiles_is_taken():
    small = tiled((400, 400), (20, 20), name="small")
    large = small.with_fields(name="large", tile_size=(200, 160))
    plan = compile_plan({"both": gpa.SumArrayConfig("both", [small, large])})
    assert tile_below(plan, plan.outputs.values()) == Region((8, -4), (208, 156))


@pytest.mark.parametrize(
    ("begin", "chunk", "tile", "expected"),
    [
        (0, 10, (0, 40), (0, 40)),
        (24, 6, (0, 40), (0, 120)),
        (20, 15, (0, 40), (-40 + 0, 120)),
        # never together
        (3, 10, (0, 40), (3, 10)),
        # a chunk that holds all
        (3, 500, (0, 40), (3, 500)),
    ],
)
def test_the_first_block_begins_with_a_chunk_and_a_tile(begin, chunk, tile, expected):
    (first,), (shape,) = smallest_block(Region((begin,), (400,)), (chunk,), Region((tile[0],), (tile[1],)))
    if expected[1] % 40 == 0:
        assert (begin - first) % chunk == 0
        assert (first - tile[0]) % 40 == 0
        assert begin - first < shape
    assert shape == expected[1]
    assert (first == begin) == (expected[0] == begin)


def test_an_error_about_memory_names_chunks_that_fit_the_tiles():
    tree = tiled((9000, 9000), (1000, 1000))
    with pytest.raises(gpa.TreeError, match=r"tiles and .*chunks.*such as \(50, 50\)"):
        only_pass(tree, chunks=(999, 999), memory=300 * 2**20)
    with pytest.raises(gpa.TreeError, match="a smaller tile_size, or more memory"):
        only_pass(tree, memory=260 * 2**20)
    assert all(size % 4000 == 0 for size in only_pass(tree, chunks=(500, 250), memory=300 * 2**20)[1].block)


def test_a_chosen_block_need_not_be_complete_tiles():
    config = tiled((400, 400), (80, 80))
    assert only_pass(config, block=(40 * 4, 80 * 4), chunks=(40, 40))[1].block == (160, 320)


def test_the_chunks_of_a_short_axis():
    meta = compile_plan({"a": tiled((90, 33), (80, 30))}).steps[-1].meta
    assert default_chunks(meta, Region((8, -4), (328, 116))) == (80, 30)
