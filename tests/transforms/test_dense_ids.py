"""Tables of the ids of whole sources: kept in files, the same for every process."""

import logging
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.transforms import dense_ids
from gp_arrays.transforms.dense_ids import collect, load, look_in, rank, table_of
from gp_arrays.transforms.merge_instances import tables_of

TOP = 2**64 - 1
VOXELS = np.array([[2**59, 0, 7], [TOP, 7, 2**59]], np.uint64)
RANKS = [[2, 0, 1], [3, 1, 2]]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GP_ARRAYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dense_ids, "_places", [])
    return tmp_path / "cache"


@pytest.fixture
def stored(tmp_path):
    made = gpa.create_zarr(tmp_path / "a.zarr", "ids", gpa.Roi((0, 0), (2, 3)), (1, 1), "uint64", chunks=(1, 2))
    made[:] = VOXELS
    return made.config


@pytest.fixture
def new_process(monkeypatch):
    """Forgets what this process knows of tables, as a new one would not know it."""
    return lambda: monkeypatch.setattr(dense_ids, "_known", {})


def merged(source):
    return gpa.MergeInstancesArrayConfig("merged", [source], dense=[source.name])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_rank(dtype):
    ids = np.array([1, 5, 100], np.uint64)
    ranks, unknown = rank(np.array([[0, 5, 5], [100, 1, 0]], dtype)[:, ::-1], ids)
    assert ranks.tolist() == [[2, 2, 0], [0, 1, 3]]
    assert ranks.dtype == np.uint64
    assert unknown is None
    assert rank(np.array([[0, 0], [5, 6]], dtype), ids)[1] == 3
    assert rank(np.array([101], dtype), ids)[1] == 0


def test_rank_of_ids_that_floats_cannot_tell_apart():
    ids = np.array([TOP - 2, TOP - 1, TOP], np.uint64)
    assert rank(ids[::-1], ids)[0].tolist() == [3, 2, 1]
    assert rank(np.array([2**63 - 1], np.int64), np.array([2**63 - 2, 2**63 - 1], np.uint64))[0].tolist() == [2]


def test_rank_among_none():
    none = np.empty(0, np.uint64)
    assert rank(np.array([0, 0], np.uint64), none)[1] is None
    assert rank(np.array([0, 3], np.uint64), none)[1] == 1


@pytest.mark.parametrize("at_once", [1, 40, 10**9])
def test_collect_in_blocks(monkeypatch, at_once):
    monkeypatch.setattr(dense_ids, "AT_ONCE", at_once)
    volume = np.random.default_rng(0).integers(0, 2**64 - 1, (5, 4, 3), np.uint64)
    volume[0] = 0
    source = gpa.NumpyArrayConfig("a", volume, offset=(7, 0, 3), voxel_size=(2, 1, 3))
    plan = gpa.compile_plan({"a": source})
    assert collect(plan, plan.outputs["a"]).tolist() == sorted(set(volume.ravel().tolist()) - {0})


def test_the_table_is_made_once_and_kept(cache, stored, new_process):
    assert merged(stored).array()[:].tolist() == RANKS
    (file,) = cache.iterdir()
    assert load(file).tolist() == [7, 2**59, TOP]
    before = file.stat().st_mtime_ns
    new_process()
    assert merged(stored).array()[1:].tolist() == RANKS[1:]
    assert file.stat().st_mtime_ns == before


def test_the_kept_table_is_used(cache, stored, new_process, monkeypatch):
    merged(stored).array()[:]
    new_process()
    monkeypatch.setattr(dense_ids, "collect", None)
    assert merged(stored).array()[:].tolist() == RANKS


@pytest.mark.parametrize("damage", ["empty", "truncated", "changed", "longer", "unreadable"])
def test_a_damaged_file_is_made_again(cache, stored, new_process, caplog, damage):
    merged(stored).array()[:]
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    if damage == "unreadable":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(
            {
                "empty": b"",
                "truncated": whole[:-8],
                "longer": whole + bytes(8),
                "changed": whole[:-1] + bytes([whole[-1] ^ 1]),
            }[damage]
        )
    new_process()
    with caplog.at_level(logging.INFO, "gp_arrays"):
        assert merged(stored).array()[:].tolist() == RANKS
    if damage == "unreadable":
        assert "kept in memory only" in caplog.text
    else:
        assert "is damaged: the table of ids is made again" in caplog.text
        assert file.read_bytes() == whole
        assert list(cache.iterdir()) == [file]


def test_a_cache_that_cannot_be_made(tmp_path, monkeypatch, stored, new_process):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("GP_ARRAYS_CACHE", str(tmp_path / "file"))
    new_process()
    assert merged(stored).array()[:].tolist() == RANKS


def test_the_default_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("GP_ARRAYS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert dense_ids.cache_directory() == tmp_path / "gp_arrays"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert dense_ids.cache_directory() == tmp_path / ".cache" / "gp_arrays"
    monkeypatch.setenv("GP_ARRAYS_CACHE", "~/tables")
    assert dense_ids.cache_directory() == tmp_path / "tables"


def test_without_a_home_tables_stay_in_memory(monkeypatch, stored, new_process):
    monkeypatch.setenv("GP_ARRAYS_CACHE", "~no such user/tables")
    new_process()
    assert dense_ids.cache_directory() is None
    assert merged(stored).array()[:].tolist() == RANKS


def test_a_source_that_changed_has_another_table(cache, stored, new_process):
    assert merged(stored).array()[:].tolist() == RANKS
    stored.array(mode="r+")[0:1, 1:2] = np.array([[3]], np.uint64)
    expected = [[3, 1, 2], [4, 2, 3]]
    assert merged(stored).array()[:].tolist() == expected
    new_process()
    assert merged(stored).array()[:].tolist() == expected
    assert len(list(cache.iterdir())) == 2


def test_an_array_over_a_source_that_changes_under_it(cache, stored):
    array = merged(stored).array()
    assert array[:].tolist() == RANKS
    stored.array(mode="r+")[0:1, 1:2] = np.array([[3]], np.uint64)
    with pytest.raises(gpa.ComputeError, match=r"merged: dense source ids changed since .*; found 3 at \(0, 1\) nm"):
        array[:]


def test_voxels_in_memory_leave_no_file(cache):
    data = VOXELS.copy()
    source = gpa.NumpyArrayConfig("a", data)
    assert merged(source).array()[:].tolist() == RANKS
    assert not cache.exists()
    data[0, 1] = 3
    assert merged(source).array()[:].tolist() == [[3, 1, 2], [4, 2, 3]]
    again = pickle.loads(pickle.dumps(merged(source)))
    assert again.array()[:].tolist() == [[3, 1, 2], [4, 2, 3]]


def test_a_part_of_a_source_has_a_table_of_its_own(cache, stored):
    part = gpa.CropArrayConfig("part", stored, [[1, 0], [1, 2]])
    both = gpa.MergeInstancesArrayConfig("both", [part, stored], dense=["part", "ids"])
    assert both.array()[:].tolist() == [[2, 1]]
    assert gpa.source_of_id(both, 2) == ("part", TOP)
    assert gpa.source_of_id(both, 2**40 + 3) == ("ids", TOP)


def test_merged_instances_as_a_dense_source(cache, stored):
    inner = gpa.MergeInstancesArrayConfig("inner", [stored], id_offsets=[0], dense=["ids"])
    far = gpa.MergeInstancesArrayConfig("far", [inner], id_offsets=[1000])
    outer = gpa.MergeInstancesArrayConfig("outer", [far], dense=["far"])
    assert outer.array()[:].tolist() == RANKS
    assert gpa.source_of_id(outer, 3) == ("far", 1003)


def test_tables_of_a_plan_can_be_kept_beside_an_output(cache, stored, tmp_path, new_process, monkeypatch):
    plan = gpa.compile_plan({"m": merged(stored), "again": merged(stored)})
    (table,) = tables_of(plan)
    assert not cache.exists()
    table.save(tmp_path / "out" / "tables")
    assert table is merged(stored).tables()["ids"]
    # a worker elsewhere, which has no cache
    monkeypatch.setenv("GP_ARRAYS_CACHE", str(tmp_path / "elsewhere"))
    monkeypatch.setattr(dense_ids, "collect", None)
    new_process()
    look_in(tmp_path / "out" / "tables")
    assert merged(stored).array()[:].tolist() == RANKS
    assert not (tmp_path / "elsewhere").exists()


def test_the_unit_of_the_tree_is_part_of_it(cache, tmp_path):
    made = gpa.create_zarr(tmp_path / "b.zarr", "ids", gpa.Roi((0, 0), (2, 2)), (1, 1), "uint64", unit="um")
    made[:] = np.array([[9, 8], [7, 6]], np.uint64)
    part = gpa.CropArrayConfig("part", made.config, [[0, 0], [1, 1]])
    config = gpa.MergeInstancesArrayConfig("m", [part], dense=["part"])
    assert config.array(unit="um")[:].tolist() == [[1]]
    assert gpa.source_of_id(config, 1, unit="um") == ("part", 9)
    assert gpa.source_of_id(config.in_unit("um"), 1) == ("part", 9)


def test_workers_of_a_job_agree(cache, tmp_path):
    volume = np.random.default_rng(2).integers(0, 9, (32, 32, 32), np.uint64) << np.uint64(60)
    made = gpa.create_zarr(
        tmp_path / "a.zarr", "ids", gpa.Roi((0, 0, 0), (32, 32, 32)), (1, 1, 1), "uint64", chunks=(16, 16, 16)
    )
    made[:] = volume
    gpa.materialize(merged(made.config), tmp_path / "out.zarr", "merged", num_workers=2, progress=False)
    assert (gpa.open_zarr(tmp_path / "out.zarr", "merged")[:] == np.searchsorted(np.unique(volume), volume)).all()


def test_threads_share_one_table(cache, stored, monkeypatch):
    made = []

    def counted(plan, index):
        made.append(index)
        return collect(plan, index)

    monkeypatch.setattr(dense_ids, "collect", counted)
    array, results = merged(stored).array(), []
    threads = [threading.Thread(target=lambda: results.append(array[:].tolist())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [RANKS] * 8
    assert len(made) == 1


WORKER = """
import sys, time, numpy as np, gp_arrays as gpa
config = gpa.MergeInstancesArrayConfig.from_toml(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
np.save(sys.argv[2], config.array()[int(sys.argv[3]) :: 2])
"""


def test_processes_at_once_make_the_same_table(cache, tmp_path):
    volume = np.random.default_rng(1).integers(0, 50, (40, 40, 40), np.uint64) * np.uint64(2**58 - 1)
    made = gpa.create_zarr(
        tmp_path / "a.zarr", "ids", gpa.Roi((0, 0, 0), (40, 40, 40)), (1, 1, 1), "uint64", chunks=(20, 20, 20)
    )
    made[:] = volume
    merged(made.config).to_toml(tmp_path / "tree.toml")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, tmp_path / "tree.toml", tmp_path / f"{i}.npy", str(i)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for i in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout.readline() == b"ready\n"
        for worker in workers:
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        for worker in workers:
            worker.communicate(timeout=60)
            assert worker.returncode == 0
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    expected = np.searchsorted(np.unique(volume), volume)  # 0 is among the unique values
    for i in range(2):
        assert (np.load(tmp_path / f"{i}.npy") == expected[i::2]).all()
    (file,) = cache.iterdir()
    assert load(file).tolist() == np.unique(volume)[1:].tolist()


def test_a_table_is_known_again_until_something_is_compiled(cache, stored):
    merged(stored).array()
    assert table_of(stored, "nm") is table_of(stored, "nm")
