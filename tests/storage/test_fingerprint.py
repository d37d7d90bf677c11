"""The changes of a stored array that its fingerprint shows."""

import os

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.storage.chunked import fingerprint as module
from gp_arrays.storage.chunked.fingerprint import fingerprint
from gp_arrays.storage.metadata.documents import find_node
from gp_arrays.testing import write_plain_zarr

LAYOUTS = {"dots": {"separator": "."}, "folders": {"separator": "/"}, "v3": {"zarr_format": 3}}
CHUNK = {"dots": "1.0.1", "folders": "1/0/1", "v3": "c/1/0/1"}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture
def array(tmp_path, layout):
    return write_plain_zarr(
        tmp_path / "a.zarr" / "ids",
        np.ones((4, 4, 4), np.uint8),
        (2, 2, 2),
        {"voxel_size": [1, 1, 1]},
        **LAYOUTS[layout],
    )


def of(array):
    return fingerprint(array.parent, find_node(array.parent, array.name))


def rewrite(path, data):
    """Replace a file as stores do: a temporary file is written and renamed."""
    beside = path.with_name("beside")
    beside.write_bytes(data)
    beside.replace(path)


def set_back(path):
    """Make files older, because the modification times of files are coarse."""
    for each in [path, *path.rglob("*")]:
        os.utime(each, ns=(10**18, 10**18))


def test_it_is_the_same_as_long_as_nothing_changes(array):
    before = of(array)
    assert of(array) == before
    for path in array.rglob("*"):
        if path.is_file():
            path.read_bytes()
    assert of(array) == before


def test_a_rewritten_chunk_is_noticed(array, layout):
    set_back(array)
    before = of(array)
    rewrite(array / CHUNK[layout], bytes(8))
    assert of(array) != before


def test_changed_metadata_are_noticed(array):
    set_back(array)
    before = of(array)
    document = next(p for p in (array / ".zattrs", array / "zarr.json") if p.exists())
    document.write_text(document.read_text() + " ")
    assert of(array) != before


def test_another_path_is_another_array(array, tmp_path):
    before = of(array)
    array.parent.rename(tmp_path / "b.zarr")
    assert of(tmp_path / "b.zarr" / array.name) != before


def test_the_number_of_visited_folders_is_limited(array, layout, monkeypatch):
    looked = []
    stat = type(array).stat
    monkeypatch.setattr(module, "FOLDERS", 3)
    monkeypatch.setattr(type(array), "stat", lambda path, **options: looked.append(path) or stat(path, **options))
    node = find_node(array.parent, array.name)
    looked.clear()
    fingerprint(array.parent, node)
    inside = [
        path for path in looked if array in path.parents and path.name not in module.DOCUMENTS and path.name != "c"
    ]
    assert len(inside) == (0 if layout == "dots" else 3)


def test_writing_through_an_array_is_noticed(tmp_path):
    array = gpa.create_zarr(tmp_path / "a.zarr", "ids", gpa.Roi((0, 0), (4, 4)), (1, 1), "uint8", chunks=(2, 2))
    array[:] = np.ones((4, 4), np.uint8)
    set_back(tmp_path / "a.zarr")
    before = array.config.open().fingerprint()
    array[2:, 2:] = np.zeros((2, 2), np.uint8)
    assert array.config.open().fingerprint() != before


def test_sources_that_cannot_tell():
    assert gpa.NumpyArrayConfig("a", np.ones((2, 2))).open().fingerprint() is None
    assert gpa.DummyArrayConfig("a").open().fingerprint() is None
