"""Files of other formats: the error names the format and what reads or converts it."""

import gzip
import json

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.testing import write_plain_zarr
from gp_arrays.trees.stores import configs_of_store

NIFTI = bytes(344) + b"n+1\0" + bytes(100)
FILES = {
    "a.nii": (NIFTI, "a NIfTI file; allowed: nibabel"),
    "a.nii.gz": (gzip.compress(NIFTI), "a NIfTI file; allowed: nibabel"),
    "b.nii": ((540).to_bytes(4, "little") + b"n+2\0" + bytes(600), "a NIfTI file; allowed: nibabel"),
    "a.mrc": (bytes(208) + b"MAP DA\0\0" + bytes(900), "an MRC file; allowed: mrcfile.*mrc2tif"),
    "a.rec": (bytes(208) + b"MAP ", "an MRC file"),
    "a.nrrd": (b"NRRD0004\ntype: uint8", "an NRRD file; allowed: pynrrd"),
    "a.npy": (b"\x93NUMPY\x01\0", "a file of numpy; allowed: NumpyArrayConfig"),
    "a.wkw": (b"WKW\x01", "a WKW file; allowed: the webknossos package"),
    "bdv.xml": (b'<?xml version="1.0"?>\n<SpimData version="0.2">', "an XML file of BigDataViewer; allowed: the N5"),
    "notes.gz": (gzip.compress(b"notes"), "a file; allowed: a folder"),
    "cut.gz": (gzip.compress(NIFTI)[:12], "a file; allowed: a folder"),
    "empty": (b"", "a file; allowed: a folder"),
}
READ_BY_OTHERS = {
    "bdv.h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file; allowed: HDF5ArrayConfig.*t00000/s00/0/cells"),
    "a.tif": (b"II*\0", "a TIFF file; allowed: TiffArrayConfig"),
    "a.png": (b"\x89PNG\r\n", "a PNG file; allowed: TiffArrayConfig"),
}


@pytest.mark.parametrize("name", FILES | READ_BY_OTHERS)
def test_files(tmp_path, name):
    content, message = (FILES | READ_BY_OTHERS)[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(gpa.StoreError, match=f"^a: not a Zarr store on disk; found .*{name} is {message}"):
        gpa.ZarrArrayConfig("a", tmp_path / name, "").array()
    if name in FILES and "allowed: a folder" not in message:
        with pytest.raises(gpa.StoreError, match=f"{name} is {message}"):
            configs_of_store(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("datasource-properties.json", "{}", "a dataset in WKW; allowed: the webknossos package"),
        ("color/1/header.wkw", "WKW", "a dataset in WKW"),
        ("info", '{"type": "image", "scales": []}', "a Precomputed volume; allowed: PrecomputedArrayConfig"),
        ("info", "{", "no such dataset"),
        ("info", '["scales"]', "no such dataset"),
    ],
)
def test_folders(tmp_path, name, content, message):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    dataset = name.rpartition("/")[0]
    with pytest.raises(gpa.StoreError, match=message):
        gpa.ZarrArrayConfig("a", tmp_path, dataset).array()
    if "WKW" in message:
        with pytest.raises(gpa.StoreError, match=message):
            configs_of_store(tmp_path / dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_grid": {"name": "rectilinear", "configuration": {}}}, "a rectilinear chunk grid is not read"),
        ({"data_type": "bfloat16"}, "dtype 'bfloat16' is not read"),
        ({"data_type": "complex64"}, "dtype 'complex64' is not read"),
        ({"data_type": "string"}, "dtype 'string' is not read"),
        ({"data_type": [["id", "<u4"]]}, "structured dtype .*id.* is not read"),
        (
            {"data_type": {"name": "numpy.datetime64", "configuration": {"unit": "s"}}},
            "dtype 'numpy.datetime64' is not",
        ),
    ],
)
def test_arrays_of_zarr_v3(tmp_path, change, message):
    folder = write_plain_zarr(tmp_path / "raw", np.ones((4, 4), "u1"), (2, 2), {}, zarr_format=3)
    document = json.loads((folder / "zarr.json").read_text())
    (folder / "zarr.json").write_text(json.dumps({**document, **change}))
    with pytest.raises(gpa.StoreError, match=rf"^raw: {message}.*raw/zarr.json; allowed: a copy"):
        gpa.open_zarr(tmp_path, "raw")
