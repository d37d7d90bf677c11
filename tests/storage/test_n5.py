"""N5 arrays, written by other programs and by hand, are read; damaged and unsupported ones are errors that name them."""

import json
import struct

import numcodecs
import numpy as np
import pytest
from oracles.n5_stores import write_n5

import gp_arrays as gpa
from gp_arrays.storage.metadata.n5 import DTYPES
from gp_arrays.testing import recorded

DATA = np.arange(1, 106, dtype=np.uint16).reshape(3, 5, 7)
CHUNKS = (2, 2, 4)


def opened(folder, **fields):
    return gpa.open_zarr(folder.parent, folder.name, voxel_size=(4, 2, 2), offset=(0, 0, 0), **fields)


@pytest.mark.parametrize("compression", ["raw", "gzip", "zlib", "bzip2", "xz", "blosc", "zstd"])
def test_arrays_written_by_tensorstore_are_read(tmp_path, compression):
    tensorstore = pytest.importorskip("tensorstore")
    options = {"zlib": {"type": "gzip", "useZlib": True}, "blosc": {"type": "blosc", "cname": "lz4", "clevel": 5}}
    metadata = {
        "dimensions": [7, 5, 3],
        "blockSize": [4, 2, 2],
        "dataType": "uint16",
        "compression": options.get(compression, {"type": compression}),
    }
    if compression == "blosc":
        metadata["compression"]["shuffle"] = 1
    kvstore = {"driver": "file", "path": str(tmp_path / "a.n5" / "raw")}
    array = tensorstore.open({"driver": "n5", "kvstore": kvstore, "metadata": metadata}, create=True).result()
    array[...] = DATA.T
    assert opened(tmp_path / "a.n5" / "raw")[:].tolist() == DATA.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("short", [True, False])
def test_every_type_of_voxels(tmp_path, dtype, short):
    data = DATA.astype(dtype) - np.dtype(dtype).type(50)
    array = opened(write_n5(tmp_path / "a.n5" / "raw", data, CHUNKS, short=short))
    assert (array.shape, array.dtype) == ((3, 5, 7), dtype)
    assert array[:].tolist() == data.tolist()
    assert array[1:, 3:, ::-2].tolist() == data[1:, 3:, ::-2].tolist()


def lz4_of_java(data, stored):
    half = len(data) // 2
    frames = b""
    for part in (data[:half], data[half:], b""):
        coded = part if stored else numcodecs.LZ4().encode(part)[4:] if part else b""
        frames += b"LZ4Block" + struct.pack("<BIII", 0x16 if stored else 0x26, len(coded), len(part), 0) + coded
    return frames


@pytest.mark.parametrize("writer", ["stored", "compressed", "zarr 2"])
def test_lz4(tmp_path, writer):
    data = np.full((4, 4, 4), 7, "u2")
    folder = write_n5(tmp_path / "a.n5" / "raw", data, (4, 4, 4), {"compression": {"type": "lz4"}})
    block = folder / "0/0/0"
    intact = block.read_bytes()
    voxels = intact[16:]
    coded = numcodecs.LZ4().encode(voxels) if writer == "zarr 2" else lz4_of_java(voxels, writer == "stored")
    block.write_bytes(intact[:16] + coded)
    array = opened(folder)
    assert array[:].tolist() == data.tolist()
    for size in (0, 5, len(coded) // 2, len(coded) - 1):
        block.write_bytes(intact[:16] + coded[:size])
        with pytest.raises(gpa.StoreError, match="found chunk 0/0/0 of"):
            array[:]


def test_a_region_reads_its_blocks_alone_and_absent_ones_are_zero(tmp_path):
    folder = write_n5(tmp_path / "a.n5" / "raw", DATA, CHUNKS, absent=[(0, 1, 1)])
    array = opened(folder)
    want = DATA.copy()
    want[:2, 2:4, 4:] = 0
    assert array[:].tolist() == want.tolist()
    (folder / "1/2/1").write_bytes(b"damaged")
    assert array[:2].tolist() == want[:2].tolist()
    with recorded(array.config) as record:
        array[0:2, 0:2, 0:4]
    assert [read[0].chunks for read in record.reads] == [CHUNKS]


def header(mode=0, ndim=3, sizes=(3, 1, 1)):
    return struct.pack(f">HH{len(sizes)}I", mode, ndim, *sizes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (header()[:11], "truncated"),
        (header(), "decoded to 0 bytes"),
        (header() + bytes(5), "decoded to 5 bytes, not 6"),
        (header() + bytes(7), "decoded to 7 bytes, not 6"),
        (header(sizes=(2, 1, 1)) + bytes(4), "a block of"),
        (header(sizes=(5, 1, 1)) + bytes(10), "a block of"),
        (header(ndim=2) + bytes(6), "a block of 2 axes"),
        (header(mode=1) + bytes(10), "varlength"),
        (header(mode=2) + bytes(10), "mode 2"),
    ],
)
def test_a_block_that_is_not_as_the_metadata_say(tmp_path, content, message):
    folder = write_n5(tmp_path / "a.n5" / "raw", DATA, CHUNKS)
    array = opened(folder)
    assert (folder / "1/2/1").read_bytes() == header() + DATA[2:, 4:, 4:].astype(">u2").tobytes()
    (folder / "1/2/1").write_bytes(content)
    with pytest.raises(gpa.StoreError, match=f"^raw: cannot read; found chunk 1/2/1 of .*{message}"):
        array[:]
    assert array[:2].tolist() == DATA[:2].tolist()


@pytest.mark.parametrize("bit", range(0, 8 * 60, 7))
def test_flipped_bits_in_gzip_are_errors_or_change_nothing(tmp_path, bit):
    folder = write_n5(tmp_path / "a.n5" / "raw", DATA, (3, 5, 7), compression="gzip")
    array = opened(folder)
    assert array.config.open().remarks() == ()
    content = bytearray((folder / "0/0/0").read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    (folder / "0/0/0").write_bytes(content)
    try:
        voxels = array[:]
    except gpa.StoreError:
        return
    assert voxels.tolist() == DATA.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataType": "object"}, "dataType 'object'"),
        ({"compression": {"type": "jpeg"}}, "compression 'jpeg'"),
        ({"compression": {}}, "no 'type'"),
        ({"blockSize": [4, 2]}, "chunks"),
        ({"blockSize": [4, 2, 0]}, "chunks"),
        ({"dimensions": "7, 5, 3"}, "is not a list of lengths"),
        ({"isLabelMultiset": True}, "label multisets is not read"),
    ],
)
def test_metadata_that_are_not_read_are_named(tmp_path, change, message):
    folder = write_n5(tmp_path / "a.n5" / "raw", DATA, CHUNKS, change)
    with pytest.raises(gpa.StoreError, match=message) as caught:
        opened(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_groups_and_names(tmp_path):
    write_n5(tmp_path / "a.n5" / "volumes" / "raw", DATA, CHUNKS)
    (tmp_path / "a.n5" / "attributes.json").write_text('{"n5": "2.5.1"}')
    with pytest.raises(gpa.StoreError, match="a group, not an array.*volumes/raw"):
        gpa.open_zarr(tmp_path / "a.n5", "")
    with pytest.raises(gpa.StoreError, match="no such dataset.*allowed: volumes/raw"):
        gpa.open_zarr(tmp_path / "a.n5", "volumes/row")


def test_it_is_not_written(tmp_path):
    folder = write_n5(tmp_path / "a.n5" / "raw", DATA, CHUNKS)
    (tmp_path / "a.n5" / "attributes.json").write_text('{"n5": "2.5.1"}')
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    with pytest.raises(gpa.StoreError, match="raw: N5 is read, not written"):
        opened(folder, mode="r+")
    for dataset in ("raw", "more"):
        with pytest.raises(gpa.StoreError, match="the store is N5"):
            gpa.create_zarr(folder.parent, dataset, gpa.Roi((0,), (4,)), (1,), "uint8", overwrite=True)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_metadata_that_change_while_open_are_an_error(tmp_path):
    folder = write_n5(tmp_path / "a.n5" / "raw", DATA, CHUNKS)
    array = opened(folder)
    document = json.loads((folder / "attributes.json").read_text())
    (folder / "attributes.json").write_text(json.dumps({**document, "blockSize": [7, 5, 3]}))
    (folder / "1/2/1").unlink()
    with pytest.raises(gpa.StoreError, match="has changed since it was opened"):
        array[:]
