"""Array types of other packages: the example passes all laws, and the laws detect broken types."""

import os
import subprocess
import sys
from pathlib import Path

import attrs
import gunpowder as gp
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.extension import (
    SOURCE,
    ArrayConfig,
    Opened,
    PointwiseConfig,
    Quantity,
    SourceConfig,
    StoreError,
    to_path,
    to_text,
)
from gp_arrays.testing import ArrayTypeLaws, naive

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
from own_type import Boundaries, BoundariesArrayConfig  # noqa: E402

PLACE = {"offset": (3, 10), "voxel_size": (2, 5)}


def ids(shape=(5, 6), seed=0, **options):
    return gpa.NumpyArrayConfig("ids", np.random.default_rng(seed).integers(0, 3, shape, np.uint16), **PLACE, **options)


def loop(voxels):
    """Boundaries along the last two axes, computed voxel by voxel."""
    out = np.zeros((*voxels.shape[:-2], voxels.shape[-2] - 1, voxels.shape[-1] - 1), np.uint8)
    for *lead, y, x in np.ndindex(*out.shape):
        here = voxels[(*lead, y, x)]
        out[(*lead, y, x)] = here != voxels[(*lead, y + 1, x)] or here != voxels[(*lead, y, x + 1)]
    return out


@naive(BoundariesArrayConfig)
def meaning(config, naive):
    source = naive(config.source_array_config)
    return source.with_data(loop(source.data), interpolatable=False)


class TestBoundaries(ArrayTypeLaws):
    type = BoundariesArrayConfig

    def configs(self, folder):
        channels = ids((2, 5, 6), axes=("c", "y", "x"))
        both = ids((2, 3, 4, 5), axes=("s", "c", "y", "x"))
        of = BoundariesArrayConfig
        return [of("edges", ids()), of("channels", channels), of("both", both), of("again", of("edges", ids()))]

    def misfits(self, folder):
        floats = gpa.IntensitiesArrayConfig("floats", ids(), 0, 1)
        return [BoundariesArrayConfig("edges", floats), BoundariesArrayConfig("edges", ids((1, 6)))]


@pytest.mark.parametrize("wrong", ["ids", None, 3, [ids()], np.zeros(3)])
def test_a_wrong_source_of_an_own_type(wrong):
    with pytest.raises(gpa.ConfigError, match="^edges: .*not an array config"):
        BoundariesArrayConfig("edges", wrong)


def test_own_types_are_nodes_after_random_locations_pads_and_stacks():
    source, target = gp.ArrayKey("IDS"), gp.ArrayKey("EDGES")
    request = gp.BatchRequest(random_seed=4)
    request.add(source, (12, 30))
    request.add(target, (8, 20))
    for more in (gp.Pad(source, None), gp.Pad(source, gp.Coordinate(4, 10)) + gp.RandomLocation()):
        pipeline = gpa.NumpySource(source, ids().data.data, offset=(4, 10), voxel_size=(2, 5))
        pipeline += more + Boundaries(source, target) + gp.Stack(3)
        with gp.build(pipeline):
            batch = pipeline.request_batch(request)
        assert batch[target].data.shape == (3, 4, 4)
        assert np.array_equal(batch[target].data, loop(batch[source].data)[:, 1:, 1:])
    stacked = gpa.NumpySource(source, ids().data.data, offset=(4, 10), voxel_size=(2, 5))
    stacked += gp.RandomLocation() + gp.Stack(3) + Boundaries(source, target)
    request = gp.BatchRequest(random_seed=4)
    request.add(source, (8, 20))
    request.add(target, (4, 10))
    with gp.build(stacked):
        batch = stacked.request_batch(request)
    assert batch[target].data.shape == (3, 2, 2)


# broken types, which the laws must detect

SCRATCH = np.empty(1000, np.uint16)


@attrs.frozen(eq=False, repr=False)
class ScratchArrayConfig(PointwiseConfig):
    """Doubles values in a buffer that all threads share."""

    source_array_config: ArrayConfig = attrs.field(metadata=SOURCE)

    supports_channel_subset = True

    def infer(self, *sources):
        return sources[0]

    def kernel(self, dtype, *sources):
        values = SCRATCH[: sources[0].size].reshape(sources[0].shape)
        values[...] = sources[0]
        values *= 2
        return values.copy()


class Row(Opened):
    """A text file of digits, as one row of voxels."""

    nonspatial, spatial_axes, interpolatable, attrs = (), ("x",), False, {}
    voxel_size = offset = (Quantity.parse(1),)
    dtype = np.dtype(np.uint8)

    def __init__(self, file_name):
        self.location = str(file_name)
        self.shape = self.voxels().shape

    def voxels(self):
        try:
            return np.array([int(digit) for digit in Path(self.location).read_text()], np.uint8)
        except OSError as error:
            raise StoreError("cannot read the row", found=self.location) from error

    def read(self, index):
        return self.voxels()[index]


@attrs.frozen(eq=False, repr=False)
class TextPathConfig(SourceConfig):
    """Its path is a str, which ``located`` does not make relative to the tree file."""

    file_name: str = attrs.field(converter=to_text)

    def open(self, mode=None):
        return Row(self.file_name)


@attrs.frozen(eq=False, repr=False)
class NotLocatedConfig(SourceConfig):
    """Its ``located`` does nothing."""

    file_name: Path = attrs.field(converter=to_path)

    def open(self, mode=None):
        return Row(self.file_name)

    def located(self, base):
        return self


@attrs.frozen(eq=False, repr=False)
class PathConfig(SourceConfig):
    """A correct type."""

    file_name: Path = attrs.field(converter=to_path)

    def open(self, mode=None):
        return Row(self.file_name)


class TestByHand(ArrayTypeLaws):
    """The laws, called by tests below instead of collected."""

    __test__ = False

    def __init__(self, type):
        self.type = type

    def configs(self, folder):
        if self.type is ScratchArrayConfig:
            return [ScratchArrayConfig("scratch", ids((20, 20)))]
        (folder / "row.txt").write_text("012345")
        return [self.type("row", str(folder / "row.txt"))]


def test_a_buffer_that_threads_share_breaks_a_law(tmp_path):
    laws = TestByHand(ScratchArrayConfig)
    laws.test_blocks_have_the_voxels_of_one_read(laws.cases_of(laws.configs(tmp_path)))
    with pytest.raises(AssertionError, match="read by threads"):
        laws.test_threads_have_the_voxels_of_one_thread(laws.configs(tmp_path))


@pytest.mark.parametrize("type", [TextPathConfig, NotLocatedConfig])
def test_a_source_that_is_not_found_from_its_tree_file_breaks_a_law(type, tmp_path):
    laws = TestByHand(type)
    laws.test_it_survives_pickle(laws.configs(tmp_path))
    with pytest.raises(AssertionError, match="cannot be read after its folder was moved"):
        laws.test_a_tree_file_may_be_moved_with_its_stores(tmp_path)


class TestPath(ArrayTypeLaws):
    """The laws also run for a type without an oracle."""

    type = PathConfig

    def configs(self, folder):
        (folder / "row.txt").write_text("012345")
        return [PathConfig("row", folder / "row.txt")]


@pytest.mark.slow
def test_assertions_of_the_suite_are_rewritten(tmp_path):
    """In a test session of another project, which registers no module for rewriting."""
    (tmp_path / "test_it.py").write_text(
        "import gp_arrays as gpa\n"
        "from gp_arrays.testing import check_pipeline\n"
        "import gp_arrays.testing.laws as laws\n"
        "def test_it():\n"
        "    assert laws.__loader__.__class__.__name__ == 'AssertionRewritingHook'\n"
    )
    options = ["-q", "-p", "no:cacheprovider", "--disable-plugin-autoload", "-c", "/dev/null"]
    command = [sys.executable, "-m", "pytest", *options, "test_it.py"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout
