"""A chunk that exists but cannot be read is an error that names it; it is never replaced by the fill value."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.storage.access import chunk_files
from gp_arrays.storage.chunked.engine import FORMATS
from gp_arrays.storage.chunked.listing import list_chunks
from gp_arrays.storage.metadata.documents import find_node
from gp_arrays.testing import write_plain_zarr

DATA = np.arange(1, 65, dtype=np.uint8).reshape(4, 4, 4)
PLAIN = {"voxel_size": [1, 1, 1]}
LAYOUTS = {"dots": {"separator": "."}, "folders": {}, "v3": {"zarr_format": 3}}
CHUNK = {"dots": "1.0.1", "folders": "1/0/1", "v3": "c/1/0/1"}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return request.param


@pytest.fixture
def array(tmp_path, layout):
    return write_plain_zarr(tmp_path / "a.zarr" / "raw", DATA, (2, 2, 2), PLAIN, **LAYOUTS[layout])


def dangling(path):
    path.unlink()
    path.symlink_to("annex/key")


def loop(path):
    path.unlink()
    path.symlink_to(path.name)


def folder(path):
    path.unlink()
    path.mkdir()


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def linked_pipe(path):
    path.unlink()
    os.mkfifo(path.parent / "pipe")
    path.symlink_to("pipe")


def bound_socket(path):
    path.unlink()
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as bound:  # names of sockets are short
        bound.bind(path.name)


def device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def refused(root, chunk):
    config = gpa.ZarrArrayConfig("raw", root, "raw")
    with pytest.raises(gpa.StoreError) as caught:
        config.array()[:]
    assert "\n" not in str(caught.value)
    assert chunk in str(caught.value)
    with pytest.raises(gpa.StoreError):
        list_chunks(root, find_node(root, "raw"))
    good, reason = config.verify()
    assert (good, "raw" in reason) == (False, True)


@pytest.mark.parametrize("damage", [dangling, loop, folder, pipe, linked_pipe, bound_socket, device])
def test_something_else_where_a_chunk_is_expected(array, layout, damage):
    opened = gpa.ZarrArrayConfig("raw", array.parent, "raw").array()
    damage(array / CHUNK[layout])
    refused(array.parent, CHUNK[layout])
    with pytest.raises(gpa.StoreError):
        opened[2:, :2, 2:]
    assert opened[:2].tolist() == DATA[:2].tolist()
    writer = gpa.ZarrArrayConfig("raw", array.parent, "raw", mode="r+").array()
    with pytest.raises(gpa.StoreError):
        writer[2, 0, 2] = 1  # a part of a chunk, whose rest is read


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "dots"], indirect=True)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("kind", ["link", "file", "pipe"])
def test_something_else_where_a_folder_of_chunks_is_expected(array, layout, depth, kind):
    path = (array / CHUNK[layout]).parents[depth - 1]
    shutil.rmtree(path)
    if kind == "link":
        path.symlink_to("/unmounted/chunks")
    elif kind == "file":
        path.write_bytes(b"x")
    else:
        os.mkfifo(path)
    refused(array.parent, f"chunk {CHUNK[layout].removesuffix('0/1')}")


def test_other_names_in_the_folder_of_an_array_do_not_matter(array, layout):
    for name, target in (("notes", "notes"), ("copy.txt", "annex/key")):
        (array / name).symlink_to(target)
    config = gpa.ZarrArrayConfig("a", array.parent, array.name)
    assert config.verify()[0]
    assert config.array()[:].tolist() == DATA.tolist()


def test_links_that_lead_to_chunks_are_followed(array, layout, tmp_path):
    (array / CHUNK[layout]).rename(tmp_path / "elsewhere")
    (array / CHUNK[layout]).symlink_to(tmp_path / "elsewhere")
    assert gpa.ZarrArrayConfig("raw", array.parent, "raw").verify() == (True, "ok")
    assert gpa.ZarrArrayConfig("raw", array.parent, "raw").array()[:].tolist() == DATA.tolist()
    assert len(list_chunks(array.parent, find_node(array.parent, "raw"))[0]) == 8


def test_an_absent_chunk_is_fill_value(array, layout):
    (array / CHUNK[layout]).unlink()
    want = DATA.copy()
    want[2:, :2, 2:] = 0
    assert gpa.ZarrArrayConfig("raw", array.parent, "raw").array()[:].tolist() == want.tolist()


@pytest.mark.parametrize("what", ["chunk", "folder"])
def test_a_linked_chunk_that_is_removed_after_its_folder_was_listed(array, layout, tmp_path, what):
    chunk = array / CHUNK[layout]
    absent = chunk.with_name({"dots": "1.0.0"}.get(layout, "0"))
    absent.unlink()
    link = chunk if what == "chunk" or layout == "dots" else chunk.parent
    link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "elsewhere")
    opened = gpa.ZarrArrayConfig("raw", array.parent, "raw").array()
    assert opened[2:, :2, :2].tolist() == [[[0] * 2] * 2] * 2
    assert opened[2:, :2, 2:].tolist() == DATA[2:, :2, 2:].tolist()
    (tmp_path / "elsewhere").rename(tmp_path / "unmounted")
    with pytest.raises(gpa.StoreError, match="a link whose target is missing"):
        opened[2:, :2, 2:]


def test_a_chunk_that_comes_after_its_folder_was_listed(array, layout):
    data = (array / CHUNK[layout]).read_bytes()
    (array / CHUNK[layout]).unlink()
    opened = gpa.ZarrArrayConfig("raw", array.parent, "raw").array()
    assert not opened[2:, :2, 2:].any()
    (array / CHUNK[layout]).write_bytes(data)
    assert opened[:].tolist() == DATA.tolist()


def test_absent_chunks_cost_one_listing_of_their_folder(tmp_path, monkeypatch):
    """3,000 of them; without remembered names each costs one system call for each part of its key."""
    monkeypatch.setattr(chunk_files, "REMEMBERED", 3600)
    data = np.zeros((2, 30, 50), np.uint8)
    write_plain_zarr(tmp_path / "raw", data, (1, 1, 1), PLAIN, absent=list(np.ndindex(data.shape))[1:])
    (tmp_path / "raw/1/7").mkdir(parents=True)
    array = gpa.ZarrArrayConfig("raw", tmp_path, "raw").array()
    calls = []
    for name in ("scandir", "lstat"):
        function = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path, function=function: (calls.append(path), function(path))[1])
    assert not array[:].any()
    # five folders, each perhaps by several threads, and the metadata
    assert 5 <= len(calls) < 100


@pytest.mark.skipif(3 not in FORMATS, reason="zarr 2 has no codec pipelines")
def test_a_codec_pipeline_that_reads_files_by_itself_is_not_used(array, layout):
    """The package zarrs has such a pipeline, which a program may choose for the process."""
    import zarr
    from zarr.core.codec_pipeline import BatchedCodecPipeline
    from zarr.registry import register_pipeline

    class ReadsByItself(BatchedCodecPipeline):
        @classmethod
        def from_array_metadata_and_store(cls, array_metadata, store):
            if type(store).__name__ == "LocalStore":
                raise AssertionError("the checks of chunks would be passed by")
            raise NotImplementedError

    register_pipeline(ReadsByItself)
    with zarr.config.set({"codec_pipeline.path": f"{__name__}.{ReadsByItself.__qualname__}"}):
        dangling(array / CHUNK[layout])
        refused(array.parent, CHUNK[layout])


@pytest.mark.parametrize("separator", ["/", "."])
def test_keys_tell_the_separator_that_metadata_leave_out(tmp_path, separator):
    array = write_plain_zarr(tmp_path / "raw", DATA, (2, 2, 2), PLAIN, separator=separator, absent=[(0, 0, 0)])
    document = json.loads((array / ".zarray").read_text())
    del document["dimension_separator"]
    (array / ".zarray").write_text(json.dumps(document))
    want = DATA.copy()
    want[:2, :2, :2] = 0
    config = gpa.ZarrArrayConfig("raw", tmp_path, "raw", mode="r+")
    assert config.array()[:].tolist() == want.tolist()
    assert config.open().chunk_of((3, 0, 3)) == (separator.join("101"), "present")
    config.array()[:2, :2, :2] = 9
    assert (array / separator.join("000")).is_file()
    assert "dimension_separator" not in json.loads((array / ".zarray").read_text())
    other = array / {"/": "0.0.0", ".": "0/0/0"}[separator]
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_bytes(bytes(8))
    assert config.verify()[0] is False
    with pytest.raises(gpa.StoreError, match="both separators"):
        config.array()


@pytest.mark.parametrize("declared", [None, "."])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_folders_of_chunks_that_metadata_do_not_tell(tmp_path, declared, kind):
    """Nested keys whose folders are missing: no chunk shows the separator of the keys."""
    array = write_plain_zarr(tmp_path / "raw", DATA, (2, 2, 2), PLAIN)
    document = json.loads((array / ".zarray").read_text())
    document["dimension_separator"] = declared
    (array / ".zarray").write_text(json.dumps(document))
    for name in "01":
        shutil.rmtree(array / name)
        (array / name).symlink_to("/unmounted") if kind == "link" else (array / name).write_bytes(b"x")
    refused(tmp_path, "0")


def test_files_that_the_user_may_not_read(tmp_path):
    """Read by another user, because root may read everything."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    for folder in (*reversed(tmp_path.parents[:-2]), tmp_path):
        folder.chmod(0o755)
    write_plain_zarr(tmp_path / "good", DATA, (2, 2, 2), PLAIN)
    stores = {"chunk": "raw/1/0/1", "folder": "raw/1/0", "array": "raw"}
    for name, damaged in stores.items():
        write_plain_zarr(tmp_path / name / "raw", DATA, (2, 2, 2), PLAIN)
        (tmp_path / name / damaged).chmod(0)
    code = (
        "import os, sys, gp_arrays as gpa\n"
        "gpa.open_zarr(sys.argv[1], 'good')[:]  # imports all that it needs\n"
        "os.setuid(65534)\n"
        "for store in sys.argv[2:]:\n"
        "    config = gpa.ZarrArrayConfig('raw', store, 'raw')\n"
        "    print(config.verify()[0])\n"
        "    try: print(config.array()[:].sum())\n"
        "    except gpa.StoreError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, tmp_path, *(tmp_path / name for name in stores)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[::2] == ["False"] * 3
    for name, message in zip(stores, lines[1::2], strict=True):
        assert "ermission denied" in message
        assert str(tmp_path / name) in message


def test_keys_of_another_separator(array, layout):
    """Chunks of a program that assumed the other separator."""
    before = array / CHUNK[layout]
    numbers = CHUNK[layout].replace("c/", "").replace(".", "/").split("/")
    others = {"dots": ["1/0/1"], "folders": ["1.0.1"], "v3": ["c.1.0.1", "1/0/1", "1.0.1"]}[layout]
    assert numbers == ["1", "0", "1"]
    for key in others:
        other = array / key
        other.parent.mkdir(parents=True, exist_ok=True)
        before.rename(other)
        refused(array.parent, key)
        other.rename(before)
        if "/" in key:
            shutil.rmtree(array / "1")


@pytest.mark.skipif(3 not in FORMATS, reason="Zarr v3 needs zarr 3")
@pytest.mark.parametrize(
    ("encoding", "key"),
    [
        ({"name": "v2"}, "1.0.1"),
        ({"name": "v2", "configuration": {"separator": "/"}}, "1/0/1"),
        ({"name": "default", "configuration": {"separator": "."}}, "c.1.0.1"),
        ({"name": "default"}, "c/1/0/1"),
    ],
)
def test_why_names_the_chunk_of_every_encoding(tmp_path, encoding, key):
    array = write_plain_zarr(tmp_path / "raw", DATA, (2, 2, 2), PLAIN, zarr_format=3)
    document = json.loads((array / "zarr.json").read_text())
    document["chunk_key_encoding"] = encoding
    (array / "zarr.json").write_text(json.dumps(document))
    (array / "c").rename(tmp_path / "chunks")
    (array / key).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "chunks/1/0/1").rename(array / key)
    opened = gpa.ZarrArrayConfig("raw", tmp_path, "raw").open()
    assert opened.chunk_of((3, 1, 2)) == (key, "present")
    assert opened.read((slice(3, 4), slice(1, 2), slice(2, 3))).tolist() == [[[55]]]
    assert list_chunks(tmp_path, opened.node)[0].tolist() == [[1, 0, 1]]


@pytest.mark.skipif(3 not in FORMATS, reason="shards need zarr 3")
@pytest.mark.parametrize("damage", [dangling, loop, folder, pipe])
def test_something_else_where_a_shard_is_expected(tmp_path, damage):
    array = gpa.create_zarr(
        tmp_path, "raw", gpa.Roi((0, 0), (8, 8)), (1, 1), "uint8", zarr_format=3, chunks=(2, 2), shards=(4, 4)
    )
    array[:] = np.ones((8, 8), np.uint8)
    damage(tmp_path / "raw/c/0/1")
    refused(tmp_path, "c/0/1")
    assert gpa.open_zarr(tmp_path, "raw")[:, :4].tolist() == [[1] * 4] * 8


def test_metadata_that_are_away_are_an_error(array, layout):
    """Without its attributes an array would be read at another position."""
    document = array / ("zarr.json" if layout == "v3" else ".zattrs")
    dangling(document)
    with pytest.raises(gpa.StoreError, match="cannot read metadata"):
        gpa.ZarrArrayConfig("raw", array.parent, "raw").array()


@pytest.mark.parametrize(
    "change",
    [
        {"chunks": [2, 2]},
        {"chunks": [2, 2, 0]},
        {"chunks": [2, 2, -2]},
        {"chunks": None},
        {"shape": [4, 4]},
        {"shape": [-4, 4, 4]},
        {"shape": "444"},
        {"shape": [4.5, 4, 4]},
        {"shape": None},
        {"shape": [10**30, 4, 4]},
        {"chunks": [2**40, 2**40, 2]},
        {"dtype": "\0"},
        {"dtype": "|V8"},
        {"dtype": None},
        {"dtype": {"a": 1}},
        {"dtype": "<f16"},
        {"dtype": [["a", "<u2"]]},
        {"fill_value": 300},
        {"fill_value": "none"},
        {"fill_value": [0]},
        {"dimension_separator": "-"},
        {"dimension_separator": 3},
        {"compressor": {"id": "nonesuch"}},
        {"compressor": {"id": "zstd", "levels": "a"}},
        {"compressor": "zstd"},
        {"compressor": []},
        {"filters": [{"id": "nonesuch"}]},
        {"order": "X"},
        {"zarr_format": 7},
    ],
)
def test_malformed_metadata_are_one_line(tmp_path, change):
    array = write_plain_zarr(tmp_path / "raw", DATA, (2, 2, 2), PLAIN)
    document = {**json.loads((array / ".zarray").read_text()), **change}
    (array / ".zarray").write_text(json.dumps(document))
    good, reason = gpa.ZarrArrayConfig("raw", tmp_path, "raw").verify()
    assert not good
    assert "\n" not in reason
    assert reason.startswith("raw: ")


@pytest.mark.parametrize("key", ["shape", "chunks", "dtype"])
def test_metadata_that_lack_a_key_name_it(tmp_path, key):
    array = write_plain_zarr(tmp_path / "raw", DATA, (2, 2, 2), PLAIN)
    document = json.loads((array / ".zarray").read_text())
    del document[key]
    (array / ".zarray").write_text(json.dumps(document))
    with pytest.raises(gpa.StoreError, match=key):
        gpa.ZarrArrayConfig("raw", tmp_path, "raw").array()
