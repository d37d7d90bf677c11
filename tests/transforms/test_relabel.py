"""Ids replaced by those of a table."""

import json
import logging
import mmap
import os
import subprocess
import sys

import gunpowder as gp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gp_arrays as gpa
from gp_arrays.model import absent
from gp_arrays.storage import id_table
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.transforms import dense_table as counting

TOP = 2**64 - 1
#: float64 cannot hold this number.
ODD = 2**53 + 1


def memory(name, data, dtype=np.uint64, **options):
    return gpa.NumpyArrayConfig(name, np.array(data, dtype), **options)


def table(path, pairs, dtype=np.uint64):
    np.save(path, np.array(pairs, dtype).reshape(-1, 2))
    return path


def small(source, path):
    return gpa.RelabelArrayConfig(f"small {source.name}", source, gpa.dense_table(source, path))


# what is looked up


def test_ids_are_looked_up_once_and_exactly():
    ids = memory("ids", [[0, 1, 2, ODD, ODD - 1, TOP]])
    mapping = [(1, 2), (2, 3), (ODD, TOP), (TOP, ODD)]
    array = gpa.RelabelArrayConfig("r", ids, mapping=mapping).array()
    assert array.dtype == np.uint64
    # 1 becomes 2 and not 3; the neighbour of 2^53 + 1 stays
    assert array[:].tolist() == [[0, 2, 3, TOP, ODD - 1, ODD]]


def test_zero_stays_unless_it_is_listed():
    ids = memory("ids", [[0, 7]])
    for others in ("keep", "zero", "error"):
        assert gpa.RelabelArrayConfig("r", ids, mapping=[(7, 1)], others=others).array()[:].tolist() == [[0, 1]]
    assert gpa.RelabelArrayConfig("r", ids, mapping=[(7, 1), (0, 5)]).array()[:].tolist() == [[5, 1]]


@pytest.mark.parametrize(
    ("results", "others", "dtype"),
    [
        ([255], "zero", "uint8"),
        ([256], "zero", "uint16"),
        ([2**16], "error", "uint32"),
        ([2**32], "error", "uint64"),
        ([], "zero", "uint8"),
        ([1], "keep", "uint64"),
    ],
)
def test_the_dtype_holds_all_results(results, others, dtype):
    ids = memory("ids", [[7]], np.uint16)
    mapping = [(100 + i, result) for i, result in enumerate(results)]
    assert gpa.RelabelArrayConfig("r", ids, mapping=mapping, others=others).array().dtype == dtype


def test_a_dtype_that_cannot_hold_a_result_or_an_id():
    ids = memory("ids", [[7, 300]], voxel_size=(1, 5))
    with pytest.raises(gpa.TreeError, match="r: a result in the table is beyond the dtype; found 256; .* uint8"):
        gpa.RelabelArrayConfig("r", ids, mapping=[(7, 256)], dtype="uint8").array()
    array = gpa.RelabelArrayConfig("r", ids, mapping=[(7, 255)], dtype="uint8").array()
    assert array[:, :1].tolist() == [[255]]
    with pytest.raises(gpa.ComputeError, match=r"r: an id is beyond the dtype; found 300 at \(0, 5\) nm"):
        array[:]


def test_an_unlisted_id_and_a_negative_one_are_named_with_their_position():
    ids = memory("ids", [[[7, 7], [7, 9]], [[0, 7], [7, 7]]], np.int32, axes=("c", "y", "x"), voxel_size=(4, 6))
    array = gpa.RelabelArrayConfig("r", ids, mapping=[(7, 1)], others="error").array()
    assert array[1].tolist() == [[0, 1], [1, 1]]
    with pytest.raises(gpa.ComputeError, match=r"r: an id is not in the table; found 9 at \(4, 6\) nm; .*keep"):
        array[:]
    below = gpa.RelabelArrayConfig("r", memory("ids", [[7, -3]], np.int8), mapping=[(7, 1)]).array()
    with pytest.raises(gpa.ComputeError, match=r"r: an id is negative; found -3 at \(0, 1\) nm"):
        below[:]


@given(st.data())
def test_any_table_in_any_file(session_folder, data):
    ids = st.integers(0, 8) | st.sampled_from([ODD - 1, ODD, ODD + 1, 2**63, TOP])
    pairs = data.draw(st.lists(st.tuples(ids, ids), unique_by=lambda pair: pair[0], max_size=8))
    pairs += data.draw(st.lists(st.sampled_from(pairs), max_size=3)) if pairs else []
    labels = np.array(data.draw(st.lists(ids, min_size=1, max_size=20)), np.uint64)
    results = {0: 0, **dict(pairs)}
    columns = np.array(pairs, np.uint64).reshape(-1, 2)
    names = [session_folder / f"any{suffix}" for suffix in (".npy", ".npz", ".csv")]
    np.save(names[0], np.asfortranarray(columns) if data.draw(st.booleans()) else columns)
    np.savez(names[1], columns)
    names[2].write_text("".join(f"{id},{result}\n" for id, result in pairs))
    others = data.draw(st.sampled_from(["keep", "zero"]))
    expected = [results.get(int(id), int(id) if others == "keep" else 0) for id in labels]
    source = gpa.NumpyArrayConfig("ids", labels[None])
    for config in [
        gpa.RelabelArrayConfig("r", source, mapping=pairs, others=others),
        *(gpa.RelabelArrayConfig("r", source, path, others=others) for path in names),
    ]:
        assert config.array()[0].tolist() == expected, config


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_table_that_is_searched_in_its_file(tmp_path, order):
    rng = np.random.default_rng(1)
    ids = np.unique(rng.integers(0, TOP, 5000, np.uint64))
    columns = np.array(np.stack([ids, rng.permutation(ids)], 1), order=order)
    np.save(tmp_path / "t.npy", columns)
    labels = rng.choice(np.concatenate([ids, ids + np.uint64(1)]), (20, 20))
    results = dict(columns.tolist())
    array = gpa.RelabelArrayConfig("r", memory("ids", labels), tmp_path / "t.npy").array()
    assert array[:].ravel().tolist() == [results.get(id, id) for id in labels.ravel().tolist()]
    column = id_table.table_of_file(tmp_path / "t.npy").ids
    while isinstance(column, np.ndarray):
        column = column.base
    assert isinstance(column, mmap.mmap)


# what is refused


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "a relabelled array has one table; found neither table nor mapping"),
        ({"mapping": [], "table": "t.npy"}, "a relabelled array has one table; found both table and mapping"),
        ({"mapping": [(1, 2), (1, 3)]}, "mapping: the table gives one id two results; found id 1: 2 and 3"),
        ({"mapping": [(1, -2)]}, "mapping: not an id; found -2"),
        ({"mapping": [(2**64, 2)]}, f"mapping: not an id; found {2**64}"),
        ({"mapping": [(1.0, 2)]}, "mapping: not an id; found 1.0"),
        ({"mapping": [(True, 2)]}, "mapping: not an id; found True"),
        ({"mapping": [(1, 2, 3)]}, r"mapping: not two ids; found \(1, 2, 3\)"),
        ({"mapping": [1, 2]}, "mapping: not a list of two ids; found 1"),
        ({"mapping": "12"}, "mapping: not a list of pairs of ids; found '12'"),
        ({"table": 5}, "table: not a path; found 5"),
        ({"mapping": [], "others": "drop"}, "unknown others; found 'drop'; allowed: 'keep', 'zero', 'error'"),
        ({"mapping": [], "dtype": "float32"}, "the dtype of ids is not an integer dtype; found float32"),
    ],
)
def test_bad_values(fields, problem):
    with pytest.raises(gpa.ConfigError, match=f"^r: {problem}"):
        gpa.RelabelArrayConfig("r", memory("ids", [[1]]), **fields)


def test_equal_duplicates_pass():
    array = gpa.RelabelArrayConfig("r", memory("ids", [[3, 1]]), mapping=[(3, 2), (1, 5), (3, 2)]).array()
    assert array[:].tolist() == [[2, 5]]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("none.npy", None, "cannot read the table of ids; found .*none.npy: No such file"),
        ("t.npy", b"not numpy", "cannot read the table of ids"),
        ("t.npy", b"", "cannot read the table of ids"),
        ("t.npz", b"not numpy", "cannot read the table of ids"),
        ("t.txt", b"1,2", "not a table of ids; found the suffix '.txt' in .*; allowed: .npy, .npz, .csv"),
        ("t.csv", b"1,2\n3.0,4\n", "a line of the table is not two integers; found '3.0,4' in line 2"),
        ("t.csv", b"id,result\n1,-2\n", "a line of the table is not two integers; found '1,-2' in line 2"),
        ("t.csv", b"1e3,4\n", "a line of the table is not two integers; found '1e3,4' in line 1"),
        ("t.csv", b"1,2,3\n", "not a table of ids; found uint64 of shape"),
        ("t.csv", b"1,2\n3\n", "cannot read the table of ids"),
        ("t.csv", b"1,18446744073709551616\n", "cannot read the table of ids"),
        ("t.csv", b"5,1\n4,4\n5,2\n", "the table gives one id two results; found id 5: 1 and 2"),
    ],
)
def test_files_that_are_not_tables(tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    config = gpa.RelabelArrayConfig("r", memory("ids", [[1]]), tmp_path / name)
    with pytest.raises(gpa.GpArraysError, match=f"^r: {problem}") as caught:
        config.array()
    assert isinstance(caught.value, (gpa.TreeError, gpa.StoreError))
    assert "\n" not in str(caught.value)
    assert config.verify() == (False, str(caught.value))


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (np.array([[1.0, 2.0]]), r"not a table of ids; found float64 of shape \(1, 2\)"),
        (np.array([[1, 2, 3]]), r"not a table of ids; found int64 of shape \(1, 3\)"),
        (np.array([1, 2]), r"not a table of ids; found int64 of shape \(2,\)"),
        (np.array([[1, -2]]), "an id in the table is negative; found -2"),
        (np.array([[-1, 2]], np.int16), "an id in the table is negative; found -1"),
        (np.array([[4, 2], [4, 3]]), "the table gives one id two results; found id 4: 2 and 3"),
        (np.array([[4, 2], [5, 3], [4, 3]]), "the table gives one id two results; found id 4: 2 and 3"),
        (np.array([["1", "2"]]), "not a table of ids"),
        (np.array([[1, 2]], object), "cannot read the table of ids"),
    ],
)
@pytest.mark.parametrize("save", [np.save, np.savez])
def test_arrays_that_are_not_tables(tmp_path, columns, problem, save):
    path = tmp_path / ("t.npy" if save is np.save else "t.npz")
    save(path, columns)
    with pytest.raises((gpa.TreeError, gpa.StoreError), match=f"^r: {problem}"):
        gpa.RelabelArrayConfig("r", memory("ids", [[1]]), path).array()


def test_contradictions_across_the_parts_that_are_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(id_table, "ROWS_AT_A_TIME", 2)
    with pytest.raises(gpa.TreeError, match="two results; found id 2: 7 and 8"):
        id_table.table_of_file(table(tmp_path / "t.npy", [(1, 1), (2, 7), (2, 8), (3, 1)]))


def test_a_table_too_large_for_memory_has_to_be_sorted(tmp_path, monkeypatch):
    monkeypatch.setattr(id_table, "LARGEST_IN_MEMORY", 40)
    ids = memory("ids", [[9, 1]])
    pairs = [(1, 5), (2, 6), (9, 7)]
    sorted_ = gpa.RelabelArrayConfig("r", ids, table(tmp_path / "sorted.npy", pairs))
    assert sorted_.array()[:].tolist() == [[7, 5]]
    for path in (table(tmp_path / "unsorted.npy", pairs[::-1]), tmp_path / "t.npz"):
        if path.suffix == ".npz":
            np.savez(path, np.array(pairs))
        with pytest.raises(gpa.TreeError, match="r: the table is too large"):
            gpa.RelabelArrayConfig("r", ids, path).array()


# files that change


@pytest.mark.parametrize("replace", [True, False])
def test_no_array_changes_what_it_delivers_when_the_table_changes(tmp_path, caplog, replace):
    path = table(tmp_path / "t.npy", [(1, 5)])
    config = gpa.RelabelArrayConfig("r", memory("ids", [[1]]), path)
    first = config.array()
    assert first[:].tolist() == [[5]]
    if replace:
        table(tmp_path / "new.npy", [(1, 6)]).replace(path)
    else:
        table(path, [(1, 6)])
    with pytest.raises(gpa.ComputeError, match="r: the table of ids has changed since the array was opened"):
        first[:]
    with caplog.at_level(logging.WARNING, "gp_arrays"):
        assert config.array()[:].tolist() == [[6]]
    with pytest.raises(gpa.ComputeError, match="has changed"):
        first[:]
    # the table with its first content is accepted again
    table(path, [(1, 5)])
    assert first[:].tolist() == [[5]]


def test_a_changed_table_is_reported_once(tmp_path, caplog):
    path = table(tmp_path / "t.npy", [(1, 5)])
    config = gpa.RelabelArrayConfig("r", memory("ids", [[1]]), path)
    config.array()
    table(path, [(1, 6), (2, 2)])
    with caplog.at_level(logging.WARNING, "gp_arrays"):
        config.array()
        config.array()
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]


def test_a_table_is_checked_once_and_again_when_touched(tmp_path, monkeypatch):
    checks = []
    check = id_table._check
    monkeypatch.setattr(id_table, "_check", lambda *columns: checks.append(1) or check(*columns))
    path = table(tmp_path / "t.npy", [(1, 5), (2, 3)])
    config = gpa.RelabelArrayConfig("r", memory("ids", [[1]]), path)
    array = config.array()
    before = config.fingerprints()
    for _ in range(3):
        assert array[:].tolist() == [[5]]
        config.array()
    assert len(checks) == 1
    os.utime(path, ns=(1, 1))
    assert array[:].tolist() == [[5]]
    assert len(checks) == 2
    assert config.fingerprints() == before


def test_the_fingerprint_is_of_the_content(tmp_path):
    ids = memory("ids", [[1]])

    def of(path):
        return gpa.RelabelArrayConfig("r", ids, path).fingerprints()

    first = of(table(tmp_path / "a.npy", [(1, 5), (2, 3)]))
    (tmp_path / "b.csv").write_text("2,3\n1,5\n")
    assert of(tmp_path / "b.csv") == first
    assert of(table(tmp_path / "c.npy", [(1, 5), (2, 4)])) != first
    assert gpa.RelabelArrayConfig("r", ids, mapping=[(1, 5)]).fingerprints() == {}


# tables of all ids


def last_line(path):
    return path.read_bytes().splitlines()[-1]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_dense_table(tmp_path, num_workers):
    rng = np.random.default_rng(2)
    labels = rng.choice(np.array([0, 5, 2**59, 2**59 + 1, TOP], np.uint64), (6, 7, 8))
    labels[0, 0, 0] = ODD
    path = gpa.dense_table(memory("ids", labels), tmp_path / "t.npy", num_workers=num_workers)
    assert path == tmp_path / "t.npy"
    expected = [[5, 1], [ODD, 2], [2**59, 3], [2**59 + 1, 4], [TOP, 5]]
    assert np.load(path).tolist() == np.load(path, mmap_mode="r").tolist() == expected
    note = json.loads(last_line(path))
    assert {key: note[key] for key in ("rows", "largest", "sorted")} == {"rows": 5, "largest": 5, "sorted": True}
    config = gpa.RelabelArrayConfig("r", memory("ids", labels), path, others="error")
    assert config.fingerprints() == {"table": note["hash"]}
    assert config.array().dtype == np.uint8
    results = {0: 0, **dict(expected)}
    assert config.array()[:].ravel().tolist() == [results[id] for id in labels.ravel().tolist()]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.npy"]


def test_a_dense_table_of_nothing_and_of_channels(tmp_path):
    nothing = memory("nothing", [[0, 0]])
    assert small(nothing, tmp_path / "n.npy").array()[:].tolist() == [[0, 0]]
    assert np.load(tmp_path / "n.npy").shape == (0, 2)
    channels = memory("channels", [[[3]], [[9]]], np.int16, axes=("c", "y", "x"))
    array = small(channels, tmp_path / "c.npy").array()
    assert array[:].tolist() == [[[1]], [[2]]]


def test_a_dense_table_of_many_blocks_that_do_not_fit_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(absent, "BLOCK", 512)
    monkeypatch.setattr(counting, "IDS_IN_MEMORY", 1000)
    rng = np.random.default_rng(3)
    array = gpa.create_zarr(
        tmp_path / "a.zarr", "ids", gpa.Roi((0, 0, 0), (40, 40, 40)), (1, 1, 1), "uint64", chunks=(7, 8, 9)
    )
    array[:] = rng.integers(0, 2**62, (40, 40, 40), np.uint64) // np.uint64(2**46)
    path = gpa.dense_table(array.config, tmp_path / "t.npy", num_workers=2)
    ids = np.unique(array[:])
    ids = ids[ids > 0]
    assert len(ids) > 30000
    assert np.array_equal(np.load(path), np.stack([ids, np.arange(1, len(ids) + 1, dtype=np.uint64)], 1))


def test_a_dense_table_that_was_changed_is_checked_again(tmp_path):
    ids = memory("ids", [[4, 9]])
    path = gpa.dense_table(ids, tmp_path / "t.npy")
    config = gpa.RelabelArrayConfig("r", ids, path)
    before = config.fingerprints()
    np.load(path, mmap_mode="r+")[1, 1] = 77
    assert config.array()[:].tolist() == [[1, 77]]
    assert config.fingerprints() != before
    np.load(path, mmap_mode="r+")[1, 0] = 2
    with pytest.raises(gpa.GpArraysError):
        # unsorted now: it is sorted in memory, and 9 is not in it
        gpa.RelabelArrayConfig("r", ids, path, others="error").array()[:]


def test_a_refused_dense_table_leaves_no_files(tmp_path):
    good = memory("good", [[1]])
    floats = gpa.IntensitiesArrayConfig("floats", good, 0, 1)
    averaged = gpa.ResampledArrayConfig("m", memory("g", [[1, 2], [3, 4]], np.uint8), [1, 1], [2, 2], 1)
    negative = memory("negative", [[1, -4]], np.int64, voxel_size=(2, 3))
    for config, path, workers, problem in [
        (floats, "t.npy", 1, "floats: a table of ids reads ids; found dtype float32"),
        (averaged, "t.npy", 1, "m: a table of ids reads ids, and averaged"),
        (negative, "t.npy", 1, r"negative: an id is negative; found -4 at \(0, 3\) nm"),
        (good, "t.npz", 1, "not the path of a table; found .*t.npz"),
        (good, "t.npy", 0, "num_workers: not a number of 1 or more; found 0"),
        (good, "none/t.npy", 1, "cannot write the table of ids; found .*none/t.npy"),
        ("good", "t.npy", 1, "not an array config; found 'good'"),
    ]:
        with pytest.raises(gpa.GpArraysError, match=f"^{problem}"):
            gpa.dense_table(config, tmp_path / path, num_workers=workers)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_was_there_stays_when_counting_fails(tmp_path):
    path = table(tmp_path / "t.npy", [(1, 5)])
    with pytest.raises(gpa.ComputeError):
        gpa.dense_table(memory("negative", [[-4]], np.int64), path)
    assert np.load(path).tolist() == [[1, 5]]


def test_the_command_line(tmp_path):
    array = gpa.create_zarr(tmp_path / "a.zarr", "ids", gpa.Roi((0, 0), (1, 3)), (1, 1), "uint64")
    array[:] = np.array([[0, 2**59, 7]], np.uint64)
    gpa.save_tree([array.config], tmp_path / "tree.toml")
    (name,) = gpa.load_tree(tmp_path / "tree.toml")
    command = [sys.executable, "-m", "gp_arrays", "table", "tree.toml", name, "t.npy", "--num-workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 't.npy'}: 2 ids\n"
    assert np.load(tmp_path / "t.npy").tolist() == [[7, 1], [2**59, 2]]
    with (tmp_path / "tree.toml").open("a") as file:
        file.write(f'\n[small]\n__type__ = "RelabelArrayConfig"\nsource_array_config = "{name}"\ntable = "t.npy"\n')
    # the folder is moved with all its files
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    try:
        assert gpa.load_tree(moved / "tree.toml")["small"].array()[:].tolist() == [[0, 2, 1]]
    finally:
        moved.rename(tmp_path)


@pytest.mark.slow
def test_a_job_does_not_continue_with_another_table(tmp_path):
    array = gpa.create_zarr(tmp_path / "a.zarr", "ids", gpa.Roi((0, 0), (4, 4)), (1, 1), "uint64", chunks=(2, 4))
    array[:] = np.full((4, 4), 7, np.uint64)
    config = gpa.RelabelArrayConfig("r", array.config, table(tmp_path / "t.npy", [(7, 1)]))
    options = {"num_workers": 1, "chunks": (2, 4), "progress": False}
    assert gpa.materialize(config, tmp_path / "out.zarr", roi=gpa.Roi((0, 0), (2, 4)), **options).ok
    os.utime(tmp_path / "t.npy")
    table(tmp_path / "t.npy", [(7, 2)])
    with pytest.raises(gpa.StoreError, match="job"):
        gpa.materialize(config, tmp_path / "out.zarr", **options)
    table(tmp_path / "t.npy", [(7, 1)])
    assert gpa.materialize(config, tmp_path / "out.zarr", **options).ok
    assert (gpa.open_zarr(tmp_path / "out.zarr", "r")[:] == 1).all()


@pytest.mark.slow
def test_real_neurons(fib25, tmp_path):
    source = gpa.ZarrArrayConfig("neurons", fib25, "labels/neurons")
    array = small(source, tmp_path / "t.npy").array()
    neurons = source.array()[:]
    ids, ranks = np.unique(neurons, return_inverse=True)
    assert ids[0] == 0
    assert np.array_equal(array[:], ranks.reshape(neurons.shape))


def test_the_node(check_node, tmp_path):
    ids, target = gp.ArrayKey("IDS"), gp.ArrayKey("TARGET")
    labels = np.random.default_rng(5).choice(np.array([0, 7, ODD], np.uint64), (16, 12))
    path = table(tmp_path / "t.npy", [(7, 300), (ODD, TOP)])

    def expected(voxels):
        return np.select([voxels == 7, voxels == ODD], [np.uint64(300), np.uint64(TOP)], voxels)

    check_node({ids: labels}, lambda: gpa.Relabel(ids, target, path), target, expected)
    node = gpa.Relabel(ids, target, mapping=[(7, 3)], others="zero")
    pipeline = gpa.NumpySource(ids, labels) + gp.Pad(ids, None) + gp.Stack(2) + node
    with gp.build(pipeline):
        batch = pipeline.request_batch(
            gp.BatchRequest({k: gp.ArraySpec(gp.Roi((0, 0), (3, 4))) for k in (ids, target)})
        )
    assert batch[target].data.shape == (2, 3, 4)
    assert np.array_equal(batch[target].data, (batch[ids].data == 7) * np.uint8(3))


class TestLaws(ArrayTypeLaws):
    type = gpa.RelabelArrayConfig

    def configs(self, folder):
        rng = np.random.default_rng(4)
        grid = {"offset": (3, 10, 5), "voxel_size": (2, 10, 5)}
        values = np.array([0, 1, ODD, 2**59, TOP], np.uint64)
        ids = gpa.NumpyArrayConfig("ids", rng.choice(values, (4, 5, 6)), **grid)
        signed = rng.choice(np.array([0, 1, 2, 127], np.int8), (2, 4, 5, 6))
        channels = gpa.NumpyArrayConfig("channels", signed, axes=("c", "z", "y", "x"), **grid)
        of = gpa.RelabelArrayConfig
        path = table(folder / "t.npy", [(TOP, 5), (ODD, 2**40), (1, TOP)])
        return [
            of("file", ids, path),
            of("zero", ids, path, others="zero"),
            of("again", of("inner", channels, mapping=[(1, 2), (2, 300)], others="zero"), mapping=[(300, ODD)]),
            of("dense", ids, gpa.dense_table(ids, folder / "dense.npy"), others="error", dtype="int16"),
        ]

    def refused(self):
        ids = memory("ids", [[1]])
        return [
            lambda: gpa.RelabelArrayConfig("r", ids),
            lambda: gpa.RelabelArrayConfig("r", ids, mapping=[(1, 2), (1, 1)]),
            lambda: gpa.RelabelArrayConfig("r", ids, mapping=[(1.5, 2)]),
        ]

    def misfits(self, folder):
        averaged = gpa.ResampledArrayConfig("m", memory("g", [[1, 2], [3, 4]], np.uint8), [1, 1], [2, 2], 1)
        sources = [memory("f", [[0.5]], np.float32), memory("b", [[True]], bool), averaged]
        return [gpa.RelabelArrayConfig("misfit", source, mapping=[(1, 2)]) for source in sources]
