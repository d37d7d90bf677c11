"""Stores in zip files: all formats are read, and damaged files are errors."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import zarr
from oracles.n5_stores import write_n5

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.storage.chunked.engine import FORMATS
from gp_arrays.testing import write_plain_zarr

DATA = np.random.default_rng(0).integers(1, 200, (4, 5, 7), dtype="u2")
PLAIN = {"voxel_size": [4, 2, 2]}


def pack(folder, path, compression=zipfile.ZIP_DEFLATED):
    """A zip file of the files in a folder, without entries for folders."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.fixture(params=[zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def packed(tmp_path, request):
    store = tmp_path / "unpacked"
    write_plain_zarr(store / "a" / "two", DATA, (2, 3, 4), PLAIN)
    write_plain_zarr(store / "a" / "dots", DATA, (2, 3, 4), PLAIN, separator=".", absent=[(0, 0, 0)], fill_value=7)
    write_n5(store / "a" / "five", DATA, (2, 3, 4))
    write_plain_zarr(store / "a" / "three", DATA, (2, 3, 4), PLAIN, zarr_format=3)
    (store / "a" / ".zgroup").write_text('{"zarr_format": 2}')
    return pack(store, tmp_path / "a.zip", request.param)


def test_all_formats(packed):
    want = DATA.copy()
    want[:2, :3, :4] = 7
    arrays = {name: gpa.open_zarr(packed, f"a/{name}", voxel_size=(4, 2, 2)) for name in ("two", "dots", "five")}
    assert arrays["two"][:].tolist() == arrays["five"][:].tolist() == DATA.tolist()
    assert arrays["dots"][:].tolist() == want.tolist()
    for array in arrays.values():
        assert array.config.verify() == (True, "ok")
        assert array.config.open().remarks() == ()
    assert gpa.open_zarr(packed, "a/three")[1:, 2:4, ::2].tolist() == DATA[1:, 2:4, ::2].tolist()
    with pytest.raises(gpa.StoreError, match="no such dataset.*allowed: a/"):
        gpa.open_zarr(packed, "a/tow")


@pytest.mark.skipif(3 in FORMATS, reason="zarr 3 reads Zarr v3")
def test_other_codecs_of_zarr_v3_need_zarr_3(tmp_path):
    document = write_plain_zarr(tmp_path / "a" / "raw", DATA, (2, 3, 4), PLAIN, zarr_format=3) / "zarr.json"
    document.write_text(document.read_text().replace('"bytes"', '"other"'))
    with pytest.raises(gpa.StoreError, match="Zarr v3"):
        gpa.open_zarr(pack(tmp_path / "a", tmp_path / "a.zip"), "raw")[:]


def test_zip_files_that_zarr_writes(tmp_path):
    zarr_2 = zarr.__version__.startswith("2.")
    store = (zarr.ZipStore if zarr_2 else zarr.storage.ZipStore)(str(tmp_path / "a.zip"), mode="w")
    options = {} if zarr_2 else {"zarr_format": 2}
    array = zarr.create(store=store, shape=DATA.shape, chunks=(2, 3, 4), dtype=DATA.dtype, **options)
    array[...] = DATA
    store.close()
    assert gpa.open_zarr(tmp_path / "a.zip", "", voxel_size=(1, 1, 1))[:].tolist() == DATA.tolist()


@pytest.mark.skipif(3 not in FORMATS, reason="shards need zarr 3")
def test_parts_of_shards(tmp_path):
    options = {"zarr_format": 3, "chunks": (2, 3, 4), "shards": (4, 6, 8), "compressor": "none"}
    stored = gpa.create_zarr(tmp_path / "a", "raw", gpa.Roi((0, 0, 0), DATA.shape), (1, 1, 1), "uint16", **options)
    stored[...] = DATA
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        array = gpa.open_zarr(pack(tmp_path / "a", tmp_path / f"{compression}.zip", compression), "raw")
        assert array[3:, 1:, :5].tolist() == DATA[3:, 1:, :5].tolist()


def test_every_flipped_byte_of_an_entry_is_an_error(packed, monkeypatch):
    monkeypatch.setenv("GP_ARRAYS_CACHE_BYTES", "0")
    intact, array = packed.read_bytes(), gpa.open_zarr(packed, "a/two")
    with zipfile.ZipFile(packed) as archive:
        entry = archive.getinfo("a/two/1/1/1")
    status = packed.stat()
    begin, errors = entry.header_offset + 30 + len(entry.filename), []
    for position in range(begin, begin + entry.compress_size, 3):
        damaged = bytearray(intact)
        damaged[position] ^= 1
        packed.write_bytes(damaged)
        os.utime(
            packed, ns=(status.st_atime_ns, status.st_mtime_ns)
        )  # without a new modification time, as a failing disk does
        try:
            assert array[:].tolist() == DATA.tolist()  # the unused bits of the last byte of deflate have no meaning
        except gpa.StoreError as error:
            errors.append(str(error))
        assert array[:2].tolist() == DATA[:2].tolist()
    assert len(errors) > 7
    assert all("two: cannot read; found chunk 1/1/1 of" in error for error in errors)
    assert all("a.zip/a/two" in error for error in errors)


@pytest.mark.parametrize("what", ["removed", "replaced", "cut"])
def test_a_file_that_changed_after_it_was_opened(packed, what):
    array = gpa.open_zarr(packed, "a/dots")
    first = array[2:]
    if what == "removed":
        packed.unlink()
    elif what == "replaced":
        shutil.copy(packed, packed.with_suffix(".new"))
        os.utime(packed.with_suffix(".new"), ns=(1, 1))
        packed.with_suffix(".new").replace(packed)
    else:
        os.truncate(packed, packed.stat().st_size // 2)
    for region in (slice(2, 4), slice(0, 1)):  # of chunks that are there, and of one that is absent
        with pytest.raises(gpa.StoreError, match="no such file|has changed since it was opened"):
            array[region]
    if what == "cut":
        with pytest.raises(gpa.StoreError, match="dots: cannot read the zip file; found .*a.zip"):
            gpa.open_zarr(packed, "a/dots")
    if what == "replaced":
        assert gpa.open_zarr(packed, "a/dots")[2:].tolist() == first.tolist()


def test_files_that_are_not_zip_files(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"not a zip file")
    with pytest.raises(gpa.StoreError, match="cannot read the zip file"):
        gpa.open_zarr(tmp_path / "a.zip", "raw")
    with zipfile.ZipFile(tmp_path / "b.ozx", "w"):
        pass
    with pytest.raises(gpa.StoreError, match="no such dataset.*the store holds no arrays"):
        gpa.open_zarr(tmp_path / "b.ozx", "raw")
    with pytest.raises(gpa.StoreError, match="no such store"):
        gpa.open_zarr(tmp_path / "c.zip", "raw")


def test_it_is_not_written(packed):
    before = packed.read_bytes()
    with pytest.raises(gpa.StoreError, match="two: a zip file is read, not written"):
        gpa.open_zarr(packed, "a/two", mode="r+")
    with pytest.raises(gpa.StoreError, match="not a folder"):
        gpa.create_zarr(packed, "more", gpa.Roi((0,), (4,)), (1,), "uint8")
    assert packed.read_bytes() == before


def test_the_fingerprint_is_that_of_the_file(packed):
    config = gpa.open_zarr(packed, "a/two").config
    before = config.open().fingerprint()
    assert config.open().fingerprint() == before
    os.utime(packed, ns=(1, 1))
    assert config.open().fingerprint() != before


def test_the_command_line_takes_it(packed, capsys):
    assert run(["info", str(packed)]) in (0, 1)  # N5 says no voxel size
    text = capsys.readouterr().out
    assert all(name in text for name in ("two", "dots", "five"))
    assert run(["info", str(packed / "a" / "two")]) == 0
    assert "4,2,2 nm" in capsys.readouterr().out


def test_metadata_that_are_damaged_are_named(tmp_path):
    folder = write_plain_zarr(tmp_path / "a" / "raw", DATA, (2, 3, 4), PLAIN)
    document = json.loads((folder / ".zarray").read_text())
    (folder / ".zarray").write_text(json.dumps({**document, "chunks": [0, 3, 4]}))
    with pytest.raises(gpa.StoreError, match="malformed.*a.zip/raw/.zarray"):
        gpa.open_zarr(pack(tmp_path / "a", tmp_path / "a.zip"), "raw")
