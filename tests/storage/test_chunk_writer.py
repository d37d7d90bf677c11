"""Chunks that are written without zarr have the bytes that zarr gives them."""

import re

import numpy as np
import pytest

from gp_arrays.storage.chunked.array_files import files_of
from gp_arrays.storage.chunked.chunk_writer import ChunkWriter
from gp_arrays.storage.chunked.create import COMPRESSORS, NewArray, create_array
from gp_arrays.storage.chunked.engine import FORMATS, open_array
from gp_arrays.storage.metadata.documents import find_node

SHAPE, CHUNKS = (2, 20, 17), (1, 8, 8)


def array_files(root, name, **options):
    create_array(root, name, NewArray(SHAPE, CHUNKS, attributes={}, **options))
    return files_of(root, find_node(root, name))


def contents(root, name):
    """Chunks by their keys, without the time that the header of a gzip file has."""
    return {
        path.relative_to(root / name).as_posix(): re.sub(
            rb"^(\x1f\x8b\x08.).{4}", rb"\1", path.read_bytes(), flags=re.DOTALL
        )
        for path in (root / name).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def some_voxels(dtype):
    voxels = np.random.default_rng(0).integers(0, 3, SHAPE).astype(dtype)
    voxels[0, 8:16, :8] = 0
    if np.dtype(dtype).kind == "f":
        voxels[1, 0, :3] = np.nan, np.inf, -0.0
        voxels[1, 8:16, 8:16] = -0.0
    return voxels


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "<u8", ">i2", "float32"])
def test_the_bytes_are_those_of_zarr(tmp_path, compressor, dtype):
    voxels = some_voxels(dtype)
    options = {"dtype": np.dtype(dtype), "compressor": compressor}
    index = tuple(slice(0, n) for n in SHAPE)
    open_array(array_files(tmp_path, "zarr", **options), True)[index] = voxels
    ChunkWriter(array_files(tmp_path, "ours", **options), True).write(index, voxels)
    assert len(contents(tmp_path, "ours")) == 2 * 3 * 3
    assert contents(tmp_path, "ours") == contents(tmp_path, "zarr")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_empty_chunks_are_left_out_and_removed(tmp_path, dtype):
    files = array_files(tmp_path, "a", dtype=np.dtype(dtype))
    index, voxels = tuple(slice(0, n) for n in SHAPE), some_voxels(dtype)
    ChunkWriter(files, True).write(index, np.ones(SHAPE, dtype))
    ChunkWriter(files, False).write(index, voxels)
    # -0.0 is not what an absent chunk is read as
    assert set(contents(tmp_path, "a")) == {
        f"{c}/{y}/{x}" for c in range(2) for y in range(3) for x in range(3) if (c, y, x) != (0, 1, 0)
    }
    np.testing.assert_array_equal(np.signbit(open_array(files, False)[index]), np.signbit(voxels))


def test_a_part_of_an_array(tmp_path):
    files = array_files(tmp_path, "a", dtype=np.dtype("uint8"))
    voxels = np.arange(1, 4 * 9 + 1, dtype=np.uint8).reshape(1, 4, 9)
    ChunkWriter(files, True).write((slice(1, 2), slice(16, 20), slice(8, 17)), voxels)
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:2, 16:20, 8:17] = voxels
    np.testing.assert_array_equal(open_array(files, False)[:], expected)
    writer = ChunkWriter(files, True)
    assert writer.are_complete((slice(1, 2), slice(16, 20), slice(8, 17)))
    assert not writer.are_complete((slice(1, 2), slice(16, 20), slice(8, 15)))
    assert not writer.are_complete((slice(1, 2), slice(4, 16), slice(8, 17)))


@pytest.mark.parametrize("options", [{"fill_value": 7}, *([{"format": 3}] if 3 in FORMATS else [])])
def test_what_zarr_writes(tmp_path, options):
    assert not ChunkWriter.can_write(array_files(tmp_path, "a", dtype=np.dtype("uint8"), **options))
