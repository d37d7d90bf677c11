"""Zarr v3: read by zarr 3, or by TensorStore where zarr 2 is installed. A process that used TensorStore must not fork."""

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import zarr

import gp_arrays as gpa
from gp_arrays.testing import write_plain_zarr

pytest.importorskip("tensorstore")

ZARR_2 = zarr.__version__.startswith("2.")
DATA = np.arange(1, 106, dtype=np.uint16).reshape(3, 5, 7)
WRITER = """
import json, sys
import numpy as np, tensorstore
for path, codecs, chunks in json.loads(sys.argv[1]):
    metadata = {
        "shape": [3, 5, 7],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "codecs": codecs,
        "attributes": {"voxel_size": [4, 2, 2]},
    }
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}, "metadata": metadata}
    tensorstore.open(spec, create=True).result()[...] = np.arange(1, 106, dtype=np.uint16).reshape(3, 5, 7)
"""
BYTES = {"name": "bytes", "configuration": {"endian": "big"}}
SHARDS = {
    "name": "sharding_indexed",
    "configuration": {
        "chunk_shape": [1, 2, 3],
        "codecs": [BYTES, {"name": "zstd", "configuration": {"level": 1}}],
        "index_codecs": [BYTES, {"name": "crc32c"}],
        "index_location": "start",
    },
}
CODECS = {
    "bytes": [BYTES],
    "gzip": [BYTES, {"name": "gzip", "configuration": {"level": 1}}],
    "zstd": [BYTES, {"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}],
    "blosc": [
        BYTES,
        {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "shuffle", "typesize": 2}},
    ],
    "transposed": [{"name": "transpose", "configuration": {"order": [2, 0, 1]}}, BYTES],
    "shards": [SHARDS],
}


def in_new_process(code, *arguments):
    """The output of a process that runs some code. TensorStore is not used in this process, because later tests fork it."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split("\n")[:-1]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A store with an array for each chain of codecs, written by TensorStore."""
    store = tmp_path_factory.mktemp("v3") / "a.zarr"
    arrays = [
        [str(store / name), codecs, [2, 4, 6] if name == "shards" else [2, 2, 4]] for name, codecs in CODECS.items()
    ]
    in_new_process(WRITER, json.dumps(arrays))
    return store


@pytest.mark.parametrize("codecs", CODECS)
def test_every_chain_of_codecs(written, tmp_path, codecs):
    array = gpa.open_zarr(written, codecs)
    assert array[:].tolist() == DATA.tolist()
    assert array[1:, 3:, ::-2].tolist() == DATA[1:, 3:, ::-2].tolist()
    assert np.asarray(array.data[-1, ..., 2:]).tolist() == DATA[-1, ..., 2:].tolist()
    assert tuple(array.voxel_size) == (4, 2, 2)
    store = shutil.copytree(written / codecs, tmp_path / "a" / codecs).parent
    chunk = next(path for path in sorted(store.rglob("c/*/*/*")) if path.is_file())
    intact = chunk.read_bytes()
    array = gpa.open_zarr(store, codecs)
    for size in (0, 7, len(intact) // 2, len(intact) - 1):
        chunk.write_bytes(intact[:size])
        with pytest.raises(gpa.StoreError, match=rf"^{codecs}: cannot read; found chunk c/0/0/0 of .*{codecs}"):
            array[:]
    chunk.unlink()
    assert 1 not in array[:]
    shutil.rmtree(store)
    with pytest.raises(gpa.StoreError, match="vanished"):
        array[:]


@pytest.mark.parametrize("codecs", ["gzip", "zstd", "shards"])
def test_flipped_bits(written, tmp_path, codecs):
    store = shutil.copytree(written / codecs, tmp_path / "a" / codecs).parent
    chunk = next(path for path in sorted(store.rglob("c/*/*/*")) if path.is_file())
    intact = chunk.read_bytes()
    array = gpa.open_zarr(store, codecs)
    noticed = 0
    for bit in range(0, 8 * len(intact), 61):
        damaged = bytearray(intact)
        damaged[bit // 8] ^= 1 << bit % 8
        chunk.write_bytes(damaged)
        try:
            assert array[:].tolist() == DATA.tolist() or codecs == "shards"
        except gpa.StoreError:
            noticed += 1
    assert noticed > 5
    assert bool(array.config.open().remarks()) == (codecs == "shards")


def test_groups_and_pyramids(tmp_path):
    """Metadata are read without the library that reads voxels."""
    store = tmp_path / "a.zarr"
    write_plain_zarr(store / "image" / "0", DATA, (2, 2, 4), {}, zarr_format=3)
    write_plain_zarr(store / "image" / "1", DATA[::2, ::2, ::2], (2, 2, 4), {}, zarr_format=3)
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    scales = [
        {"path": path, "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for path, scale in (("0", [4, 2, 2]), ("1", [8, 4, 4]))
    ]
    group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    image = {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": scales}]}}
    (store / "zarr.json").write_text(json.dumps(group))
    (store / "image" / "zarr.json").write_text(json.dumps({**group, "attributes": image}))
    array = gpa.open_zarr(store, "image", scale=1)
    assert (array.voxel_size, array[:].tolist()) == ((8, 4, 4), DATA[::2, ::2, ::2].tolist())
    assert not in_new_process(
        f"""
        import sys
        import gp_arrays as gpa
        array = gpa.open_zarr({str(store)!r}, "image")
        assert array.config.verify() == (True, "ok")
        assert array.shape == (3, 5, 7)
        assert "tensorstore" not in sys.modules
        """
    )


READ_IN_FORK = """
import multiprocessing, sys
import gp_arrays as gpa

array = gpa.open_zarr(sys.argv[1], "zstd")


def read(array):
    try:
        print(int(array[:].sum()), flush=True)
    except gpa.StoreError as error:
        print(error, flush=True)


for _ in range(2):
    forked = multiprocessing.get_context("fork").Process(target=read, args=(array,))
    forked.start()
    forked.join(200)
    print(forked.exitcode, flush=True)
    read(array)
"""
READ_IN_PRECACHE = """
import sys
import gunpowder as gp
import gp_arrays as gpa

array, key, request = gpa.open_zarr(sys.argv[1], "zstd"), gp.ArrayKey("RAW"), gp.BatchRequest()
request[key] = gp.ArraySpec(roi=array.roi)
for _ in range(2):
    pipeline = gpa.compile_pipeline({key: array.config}) + gp.PreCache(cache_size=2, num_workers=1)
    try:
        with gp.build(pipeline):
            print(int(pipeline.request_batch(request)[key].data.sum()), flush=True)
    except gp.PipelineRequestError as error:
        print(next(line for line in str(error).splitlines() if "StoreError" in line), flush=True)
    array[:]
"""
TOTAL = str(int(DATA.sum()))
REFUSED = "TensorStore, which reads Zarr v3 here, was used before this process was forked"


def test_a_process_that_is_forked_reads_or_says_why_not(written):
    before, *exit_code, total, after, last_code, again = in_new_process(READ_IN_FORK, str(written))
    assert (before, exit_code, total, last_code, again) == (TOTAL, ["0"], TOTAL, "0", TOTAL)
    assert after.startswith(f"zstd: {REFUSED}") if ZARR_2 else after == TOTAL


@pytest.mark.slow
def test_precache_reads_or_says_why_not(written):
    before, after = in_new_process(READ_IN_PRECACHE, str(written))
    assert before == TOTAL
    assert REFUSED in after if ZARR_2 else after == TOTAL


@pytest.mark.skipif(not ZARR_2, reason="zarr 3 reads Zarr v3 itself")
def test_without_tensorstore_the_error_says_what_to_install(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    config = gpa.open_zarr(written, "zstd").config
    assert config.array().shape == (3, 5, 7)
    with pytest.raises(gpa.StoreError, match=r"^zstd: .*pip install 'gp_arrays\[tensorstore\]'"):
        config.array()[:]
    good, reason = config.verify()
    assert (good, "pip install" in reason) == (False, True)
    common = gpa.open_zarr(written, "shards").config
    assert common.verify() == (True, "ok")
    assert common.array()[:].tolist() == DATA.tolist()


@pytest.mark.skipif(not ZARR_2, reason="zarr 3 writes Zarr v3")
def test_it_is_not_written_by_zarr_2(written):
    array = gpa.open_zarr(written, "zstd", mode="r+")
    with pytest.raises(gpa.StoreError, match="Zarr v3 needs another zarr"):
        array[0, 0, 0] = 1


def test_a_codec_that_is_not_known_is_named(tmp_path):
    folder = write_plain_zarr(tmp_path / "raw", DATA, (2, 2, 4), {"voxel_size": [1, 1, 1]}, zarr_format=3)
    document = json.loads((folder / "zarr.json").read_text())
    document["codecs"].append({"name": "numcodecs.unheard_of", "configuration": {}})
    (folder / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(gpa.StoreError, match="raw.*unheard_of") as caught:
        gpa.open_zarr(tmp_path, "raw")[:]
    assert not ZARR_2 or "Python 3.12" in str(caught.value)
    assert "\n" not in str(caught.value)
