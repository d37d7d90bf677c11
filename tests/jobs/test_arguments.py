"""Arguments of ``materialize``: the forms that are accepted, and errors that name the value and what is allowed."""

import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.errors import sizes_apart
from gp_arrays.jobs.geometry import BASE_MEMORY
from gp_arrays.model.config import not_a_config
from gp_arrays.model.fields import to_bytes
from gp_arrays.model.rois import to_block, to_bounded_roi

MIB = 2**20


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (10, 10),
        (np.int64(2**40), 2**40),
        (2e9, 2 * 10**9),
        ("10", 10),
        ("2GiB", 2**31),
        (" 1.5 M ", 3 * 2**19),
        ("7B", 7),
    ],
)
def test_sizes_may_be_numbers_or_text(value, size):
    assert to_bytes(value) == size


@pytest.mark.parametrize(
    "value", ["much", "2 gallons", "-1", "0", "", "0.1", 0, -5, 1.5, True, None, [1], float("nan")]
)
def test_invalid_sizes_are_refused(value):
    with pytest.raises(gpa.ConfigError, match="not a size; found .*; allowed: bytes, or such as 2GiB or 500M"):
        to_bytes(value)


def test_two_different_sizes_are_shown_with_different_texts():
    assert sizes_apart(2**30, 2**31) == ("1 GiB", "2 GiB")
    one, other = sizes_apart(260 * MIB, 260 * MIB + 1)
    assert (one, one != other) == ("260 MiB", True)
    assert sizes_apart(5, 5) == ("5 B", "5 B")


@pytest.mark.parametrize("value", [gpa.Roi((8, 0), (16, 1000)), ((8, 0), (16, 1000)), [["8 nm", 0], [16.0, "1 um"]]])
def test_rois_may_be_lists_of_lengths(value):
    assert to_bounded_roi(value, "nm") == gpa.Roi((8, 0), (16, 1000))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (gpa.Roi((None, 0), (None, 4)), "has no bounds"),
        (gpa.Roi((0, 0), (None, 4)), "has no bounds"),
        (gpa.Roi((0, 0), (0, 4)), "empty"),
        ((0, 4), "not a list of lengths"),
        ("0:4,0:4", "not a roi"),
        (((0, 0), (4,)), "equally long"),
        (((0, 0), ("0.5 nm", 4)), "not a whole number of nm"),
        (4, "not a roi"),
    ],
)
def test_invalid_rois_are_refused(value, says):
    with pytest.raises(gpa.ConfigError, match=says):
        to_bounded_roi(value, "nm")


@pytest.mark.parametrize("value", [(8, 16), [8, 16], (8.0, 16.0), ("8 nm", "0.016 um"), np.array([8, 16])])
def test_blocks_may_be_lists_of_lengths(value):
    assert to_block(value, "nm") == (8, 16)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (4, "a block is not a list of lengths; found 4; allowed: one length per spatial axis"),
        ("64,64", "a block is not a list of lengths"),
        ((4, None), "a block is not a length"),
        ((4, 1.5), r"a block is not a whole number of nm; found \(4, 1.5\)"),
        ((4, 8, 8), r"a block .*; found \(4, 8, 8\); allowed: multiples of \(4, 8\)"),
        ((0, 8), r"a block .*; found \(0, 8\)"),
    ],
)
def test_invalid_blocks_are_refused(tmp_path, value, says):
    config = gpa.NumpyArrayConfig("a", data=np.zeros((8, 8), np.uint8))
    with pytest.raises(gpa.ConfigError, match=says):
        gpa.materialize(config, tmp_path / "out.zarr", chunks=(4, 8), block=value, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_block_may_have_lengths_with_units(tmp_path):
    config = gpa.NumpyArrayConfig("a", data=np.zeros((16, 16), np.uint8), voxel_size=(2, 2))
    options = {"chunks": (4, 4), "dry_run": True, "progress": False}
    assert gpa.materialize(config, tmp_path / "out.zarr", block=("16 nm", 8.0), **options).cost.blocks == 8


def test_the_error_for_an_array_as_a_source_names_its_config(labels):
    with pytest.raises(
        gpa.ConfigError, match=r"is not an array config; found <gp_arrays.Array .*; allowed: its config: array.config"
    ):
        gpa.ThresholdArrayConfig("big", labels[0].array(), threshold=2)
    assert str(not_a_config(3)) == "not an array config; found 3"


@pytest.mark.parametrize(
    ("options", "path", "found", "allowed"),
    [
        ({"chunks": (10**6, 10**6)}, ("a",), r"931.6 GiB for \(1000000, 1000000\) voxels of uint8", "2 GiB; smaller"),
        ({"memory": BASE_MEMORY + 10}, ("a",), r"256.001 MiB for \(30, 30\) voxels", "256 MiB; smaller"),
        ({"memory": BASE_MEMORY + 10 * MIB, "chunks": (4096, 4096)}, ("a",), "272 MiB", "266 MiB; smaller chunks"),
        ({"memory": 10}, ("a",), "256 MiB", "10 B; more than 256 MiB"),
    ],
)
def test_a_block_that_needs_too_much_memory_is_refused_with_both_sizes(tmp_path, options, path, found, allowed):
    config = gpa.NumpyArrayConfig("a", data=np.zeros((30, 30), np.uint8))
    with pytest.raises(
        gpa.TreeError, match=f"does not fit into a worker's memory; found {found}.*; allowed: {allowed}"
    ) as raised:
        gpa.materialize(config, tmp_path / "out.zarr", progress=False, **options)
    assert raised.value.path == path
    assert not list(tmp_path.iterdir())


def test_a_pyramid_level_that_needs_too_much_memory_is_refused(labels, tmp_path):
    # s1 is coarser along z alone; a block of s2 is made of eight of s1, and as much again is held at work
    memory = BASE_MEMORY + 2 * 8 * 16**3 * 8
    with pytest.raises(gpa.TreeError, match="level does not fit into a worker's memory") as raised:
        gpa.materialize(
            labels[0], tmp_path / "out.zarr", chunks=(16, 16, 16), pyramid="mode", memory=memory, progress=False
        )
    assert raised.value.path == ("ids/s2",)
    assert raised.value.found.split(" for ")[0] != raised.value.allowed.split(";")[0]
    assert not list(tmp_path.glob("out.zarr*"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"memory": "much"}, "memory: not a size; found 'much'"),
        ({"memory": 0}, "memory: not a size"),
        ({"num_workers": "4"}, "num_workers: not an integer; found '4'"),
        ({"roi": gpa.Roi((None, 0, 0), (None, 4, 4))}, "roi: the roi has no bounds"),
        ({"roi": "0:4,0:4,0:4"}, "roi: not a roi"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(labels, tmp_path, change, says):
    with pytest.raises(gpa.ConfigError, match=says):
        gpa.materialize(labels[0], tmp_path / "out.zarr", progress=False, **change)
    assert not list(tmp_path.glob("out.zarr*"))


def test_arguments_may_have_units_and_other_types(labels, tmp_path):
    options = {"chunks": (16, 16, 16), "block": (64, 128, 128), "memory": "1GiB", "num_workers": 1.0, "progress": False}
    cost = gpa.materialize(
        labels[0], tmp_path / "out.zarr", roi=((400, 0, -80), ("4 nm", 8, 8)), dry_run=True, **options
    ).cost
    assert cost.blocks == 1


@pytest.mark.parametrize(
    "what", [lambda array: (array, {}), lambda array: ({"a": array}, {}), lambda array: (array.config, {"mask": array})]
)
def test_materialize_refuses_an_array_and_names_its_config(labels, tmp_path, what):
    configs, options = what(labels[0].array())
    with pytest.raises(gpa.ConfigError, match="not an array config; found .*; allowed: its config: array.config"):
        gpa.materialize(configs, tmp_path / "out.zarr", progress=False, **options)
    assert not list(tmp_path.glob("out.zarr*"))
