"""Blocks of an array of tiles, in gunpowder's and daisy's own loops: the voxels of `array[:]`."""

import appended_nodes
import daisy
import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa

OUT = gp.ArrayKey("OUT")
#: Whole tiles, and whole chunks of what is written.
BLOCK = gpa.Roi((16, 8), (40, 48))


@pytest.fixture
def array():
    data = np.random.default_rng(0).integers(0, 256, (45, 33)).astype(np.uint8)
    raw = gpa.NumpyArrayConfig("raw", data=data, offset=(8, 0), voxel_size=(4, 4))
    return gpa.PipelineArrayConfig(
        "pooled", raw, appended_nodes.add_pooled, context_size=(8, 8), tile_size=(40, 48), dtype="float32"
    ).array()


def stored(array, folder):
    return gpa.create_zarr(
        folder / "out.zarr", "out", roi=array.roi, voxel_size=array.voxel_size, dtype=array.dtype, chunks=(10, 12)
    )


def writing(array, folder):
    stored(array, folder)
    write = gp.ZarrWrite({OUT: "out"}, store=str(folder / "out.zarr"))
    return gpa.compile_pipeline({OUT: array.config}) + write


def test_scan(array, tmp_path):
    pipeline = writing(array, tmp_path) + gp.Scan(gp.BatchRequest({OUT: gp.ArraySpec(BLOCK)}))
    with gp.build(pipeline):
        pipeline.request_batch(gp.BatchRequest())
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "out")[:], array[:])


def run(array, function):
    task = daisy.Task(
        "blocks", array.roi, BLOCK, BLOCK, function, max_workers=1, read_write_conflict=False, fit="shrink"
    )
    assert daisy.run_blockwise([task], multiprocessing=False)


def test_a_process_function(array, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # daisy writes its logs there
    out = stored(array, tmp_path)

    def process(block):
        out[block.write_roi] = array[block.write_roi]

    run(array, process)
    np.testing.assert_array_equal(gpa.open_zarr(tmp_path / "out.zarr", "out")[:], array[:])
