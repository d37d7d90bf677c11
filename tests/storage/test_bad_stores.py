"""Links in circles and wrong metadata: an error names the file, and no wrong voxels are read."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from oracles.n5_stores import write_n5

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.storage.metadata.documents import datasets
from gp_arrays.testing import write_plain_zarr

DATA = np.arange(1, 121, dtype=np.uint16).reshape(4, 5, 6)
CHUNKS = (2, 2, 4)
DOCUMENTS = {"two": ".zarray", "three": "zarr.json", "n5": "attributes.json", "zip": ".zarray"}


def written(folder, form):
    if form == "n5":
        return write_n5(folder, DATA, CHUNKS, compression="gzip")
    return write_plain_zarr(folder, DATA, CHUNKS, {}, zarr_format=3 if form == "three" else 2)


def opened(folder, form):
    store = folder.parent
    if form == "zip":
        with zipfile.ZipFile(store.with_suffix(".zip"), "w") as archive:
            for file in store.rglob("*"):
                archive.write(file, file.relative_to(store).as_posix())
        store = store.with_suffix(".zip")
    return gpa.open_zarr(store, folder.name, voxel_size=(1, 1, 1), offset=(0, 0, 0))


LIES = {
    "larger chunks": ([2, 4, 4], None),
    "smaller chunks": ([2, 2, 2], None),
    "one chunk": ([4, 5, 6], None),
    "larger voxels": (None, "uint64"),
    "smaller voxels": (None, "uint8"),
}


@pytest.mark.parametrize("form", DOCUMENTS)
@pytest.mark.parametrize("lie", LIES)
def test_metadata_that_are_not_true(tmp_path, form, lie):
    folder = written(tmp_path / "store" / "raw", form)
    document = json.loads((folder / DOCUMENTS[form]).read_text())
    chunks, dtype = LIES[lie]
    if form == "three":
        document["chunk_grid"]["configuration"]["chunk_shape"] = chunks or list(CHUNKS)
        document["data_type"] = dtype or document["data_type"]
    elif form == "n5":
        document["blockSize"] = (chunks or list(CHUNKS))[::-1]
        document["dataType"] = dtype or document["dataType"]
    else:
        document["chunks"] = chunks or list(CHUNKS)
        document["dtype"] = np.dtype(dtype or DATA.dtype).str
    (folder / DOCUMENTS[form]).write_text(json.dumps(document))
    with pytest.raises(
        gpa.StoreError, match=r"^raw: cannot read; found chunk (c/)?[0-9]/[0-9]/[0-9] of .*raw"
    ) as caught:
        opened(folder, form)[:]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["two", "three"])
@pytest.mark.parametrize("path", [".", "", "..", "../image", "part"])
def test_a_pyramid_whose_level_is_a_group(tmp_path, form, path):
    """Its levels are the group itself, a group above it, or another pyramid."""
    levels = [{"path": path, "coordinateTransformations": [{"type": "scale", "scale": [4, 2, 2]}]}]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    image = {"multiscales": [{"axes": axes, "datasets": levels}]}
    for name in ("", "image", "image/part"):
        (tmp_path / name).mkdir(exist_ok=True)
        if form == "two":
            (tmp_path / name / ".zgroup").write_text('{"zarr_format": 2}')
            (tmp_path / name / ".zattrs").write_text(json.dumps(image if name else {}))
        else:
            group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": image} if name else {}}
            (tmp_path / name / "zarr.json").write_text(json.dumps(group))
    config = gpa.ZarrArrayConfig("raw", tmp_path, "image")
    with pytest.raises(gpa.StoreError, match="^raw: a level of the pyramid is a group, not an array.*image"):
        config.array()
    assert not config.verify()[0]


def test_links_that_lead_in_circles(tmp_path, capsys):
    store = tmp_path / "a.zarr"
    write_plain_zarr(store / "group" / "raw", DATA, CHUNKS, {"voxel_size": [4, 2, 2]})
    (store / "group" / "again").symlink_to(".")
    (store / "group" / "up").symlink_to("..")
    (store / "outside").symlink_to(tmp_path)
    (store / "itself").symlink_to("itself")
    assert list(datasets(store)) == ["group/raw"]
    assert run(["info", str(store)]) == 0
    assert capsys.readouterr().out.count("uint16") == 1
    with pytest.raises(gpa.StoreError, match="no such dataset.*allowed: group/raw"):
        gpa.open_zarr(store, "group/row")
    with pytest.raises(gpa.StoreError, match="itself.*Too many levels of symbolic links"):
        gpa.open_zarr(store, "itself")
    assert gpa.open_zarr(store, "group/again/up/group/raw")[:].tolist() == DATA.tolist()


@pytest.mark.parametrize("form", ["two", "three", "n5"])
def test_groups_that_are_not_there(tmp_path, form):
    """An array can be opened without the metadata of its groups."""
    folder = written(tmp_path / "store" / "a" / "raw", form)
    store = tmp_path / "store"
    array = gpa.open_zarr(store, "a/raw", voxel_size=(1, 1, 1), offset=(0, 0, 0))
    assert array[:].tolist() == DATA.tolist()
    with pytest.raises(gpa.StoreError, match="no such dataset; found 'a' .*allowed: a/raw"):
        gpa.open_zarr(store, "a")
    shutil.rmtree(folder)
    with pytest.raises(gpa.StoreError, match="raw.*vanished since it was opened"):
        array[:]
    with pytest.raises(gpa.StoreError, match="the store holds no arrays"):
        gpa.open_zarr(store, "a/raw")
