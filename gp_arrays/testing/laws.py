"""The laws as a test class: derive from it to test an array type of your own."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from funlib.geometry import Roi

from ..errors import ConfigError, GpArraysError, StoreError, TreeError
from ..model.config import Config, all_configs, field_names, source_fields
from ..sources.numpy_ import NumpyArrayConfig
from ..trees.tree import load_tree
from .checks import (
    assert_same,
    check_blocks,
    check_indexing,
    check_lost_stores,
    check_meaning,
    check_moved,
    check_pipeline,
    check_purity,
    check_read_once,
    check_threads,
)
from .processes import digest, read_in_fork, read_in_spawned
from .stored import with_stored_sources

#: Metadata documents of a store; all other files hold chunks.
DOCUMENTS = frozenset([".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json", "attributes.json", "info"])


def random_roi(rng: np.random.Generator, array: Any) -> Roi:
    """A roi within an array, on its grid."""
    begin, shape = [], []
    for low, n, v in zip(array.roi.begin, array.meta.spatial_shape, array.voxel_size, strict=True):
        first, last = sorted(rng.choice(n + 1, 2, replace=False).tolist())
        begin.append(low + first * v)
        shape.append((last - first) * v)
    return Roi(begin, shape)


def random_partition(rng: np.random.Generator, roi: Roi, voxel_size: Sequence[int], cuts: int = 5) -> list[Roi]:
    """Parts of a roi in random order."""
    parts = [roi]
    for _ in range(cuts):
        part = parts.pop(rng.integers(len(parts)))
        axis = int(rng.integers(roi.dims))
        count = part.shape[axis] // voxel_size[axis]
        if count < 2:
            parts.append(part)
            continue
        width = int(rng.integers(1, count)) * voxel_size[axis]
        first, second, begin = list(part.shape), list(part.shape), list(part.begin)
        first[axis], second[axis], begin[axis] = width, part.shape[axis] - width, part.begin[axis] + width
        parts += [Roi(part.begin, first), Roi(begin, second)]
    return [parts[i] for i in rng.permutation(len(parts))]


class ArrayTypeLaws:
    """Tests every law on an array type. Derive a test class, set ``type`` and give examples in ``configs``.

    The examples should be small. Where the type has an oracle (``gp_arrays.testing.naive``), which may
    loop over voxels, all voxels are compared with it. Without one the values are not tested.

    ``refused`` gives functions that make a config of a bad value, each to be refused with a
    ConfigError; ``misfits`` gives configs whose sources do not fit, each to be refused with a
    TreeError when compiled.

    >>> import gp_arrays as gpa
    >>> class TestOnes(ArrayTypeLaws):
    ...     type = gpa.OnesArrayConfig
    ...
    ...     def configs(self, folder):
    ...         raw = gpa.NumpyArrayConfig("raw", data=np.zeros((4, 5), np.uint8), voxel_size=(2, 1))
    ...         return [gpa.OnesArrayConfig("ones", raw)]
    """

    #: The array type.
    type: ClassVar[Any]

    def configs(self, folder: Path) -> Sequence[Any]:
        """Examples of the type; stores that they need go below ``folder``."""
        raise NotImplementedError

    def refused(self) -> Sequence[Callable[[], object]]:
        """Functions that each make a config with a bad value."""
        return ()

    def misfits(self, folder: Path) -> Sequence[Any]:
        """Configs whose sources do not fit."""
        return ()

    @pytest.fixture
    def examples(self, tmp_path: Path) -> Sequence[Any]:
        configs = list(self.configs(tmp_path))
        assert any(isinstance(each, self.type) for config in configs for each in all_configs([config])), (
            "no example of the type"
        )
        return configs

    @pytest.fixture
    def cases(self, examples: Sequence[Any]) -> Iterator[tuple[Any, Roi, np.random.Generator]]:
        return self.cases_of(examples)

    def cases_of(self, examples: Sequence[Any]) -> Iterator[tuple[Any, Roi, np.random.Generator]]:
        """Each example with three of its rois and a random generator."""
        for number, config in enumerate(examples):
            rng = np.random.default_rng(number)
            array = config.array()
            for roi in (array.roi, random_roi(rng, array), random_roi(rng, array)):
                yield config, roi, rng

    def test_meta_and_voxels_are_those_of_the_oracle(self, examples: Sequence[Any]) -> None:
        for config in examples:
            check_meaning(config)

    def test_blocks_have_the_voxels_of_one_read(self, cases: Any) -> None:
        for config, roi, rng in cases:
            check_blocks(config, roi, random_partition(rng, roi, config.array().voxel_size))

    def test_an_index_gives_the_voxels_of_numpy(self, examples: Sequence[Any]) -> None:
        for config in examples:
            check_indexing(config)

    def test_the_pipeline_has_the_voxels_of_the_array(self, cases: Any) -> None:
        for config, roi, _ in cases:
            check_pipeline([config], [roi])

    def test_threads_have_the_voxels_of_one_thread(self, examples: Sequence[Any]) -> None:
        for number, config in enumerate(examples):
            rng, array = np.random.default_rng(number), config.array()
            check_threads(config, [array.roi, *(random_roi(rng, array) for _ in range(2))])

    def test_a_tree_file_may_be_moved_with_its_stores(self, tmp_path: Path) -> None:
        folder = tmp_path / "tree"
        folder.mkdir()
        for number, config in enumerate(self.configs(folder)):
            check_moved(with_stored_sources(config, folder / f"stored{number}"), folder)

    def test_chunks_are_read_and_regions_computed_once(self, cases: Any, tmp_path: Path) -> None:
        stored: dict[int, Any] = {}
        for config, roi, _ in cases:
            if id(config) not in stored:
                stored[id(config)] = with_stored_sources(config, tmp_path / f"stored{len(stored)}")
            check_read_once(stored[id(config)], roi)

    def test_sources_and_random_state_are_unchanged(self, cases: Any) -> None:
        for config, roi, _ in cases:
            check_purity(config, roi)

    def test_it_survives_a_tree_file(self, examples: Sequence[Any], tmp_path: Path) -> None:
        for number, config in enumerate(examples):
            if any(isinstance(each, NumpyArrayConfig) for each in all_configs([config])):
                with pytest.raises(GpArraysError, match="memory cannot be written"):
                    config.to_toml(tmp_path / "refused.toml")
                assert not (tmp_path / "refused.toml").exists()
            stored = with_stored_sources(config, tmp_path / str(number))
            voxels = config.array().to_ndarray()
            for suffix in ("toml", "yaml", "json"):
                path = tmp_path / f"{number}.{suffix}"
                stored.to_toml(path)
                loaded = load_tree(path)[stored.name]
                assert type(loaded) is type(stored)
                assert (loaded, hash(loaded), loaded.content) == (stored, hash(stored), stored.content)
                assert loaded.array().meta == stored.array().meta
                assert_same(loaded.array().to_ndarray(), voxels, f"{config!r} from {path.name}")

    def test_it_survives_pickle(self, examples: Sequence[Any]) -> None:
        for config in examples:
            copy = pickle.loads(pickle.dumps(config))
            assert (copy, hash(copy), copy.content) == (config, hash(config), config.content)
            assert_same(copy.array().to_ndarray(), config.array().to_ndarray(), f"{config!r}, pickled")

    def test_it_survives_a_fork(self, examples: Sequence[Any], tmp_path: Path) -> None:
        config = with_stored_sources(examples[0], tmp_path / "fork")
        array = config.array()
        want = digest(array.to_ndarray())
        assert read_in_fork(array) == want
        assert read_in_fork(config) == want

    def test_it_is_the_same_in_a_spawned_process(self, examples: Sequence[Any], tmp_path: Path) -> None:
        for number, config in enumerate(examples):
            stored = with_stored_sources(config, tmp_path / f"spawn{number}")
            assert read_in_spawned(stored) == digest(config.array().to_ndarray()), config

    def test_bad_values_are_refused(self, examples: Sequence[Any]) -> None:
        for make in self.refused():
            with pytest.raises(ConfigError) as caught:
                pytest.fail(f"{make()!r} was not refused")
            assert caught.value.path, f"{caught.value}: the error has no path in the tree"
        example = next(each for config in examples for each in all_configs([config]) if isinstance(each, self.type))
        nonsense: Any = object()
        for field in field_names(self.type):
            with pytest.raises(ConfigError):
                example.with_fields(**{field: nonsense})
            if field in source_fields(self.type):
                with pytest.raises(ConfigError):
                    example.with_fields(**{field: "the name of an array"})
        with pytest.raises(ConfigError, match="needs a name"):
            example.with_fields(name="")

    def test_bad_combinations_are_refused(self, tmp_path: Path) -> None:
        for config in self.misfits(tmp_path):
            with pytest.raises(TreeError) as caught:
                pytest.fail(f"{config.array()!r} of {config!r} was not refused")
            assert caught.value.path[:1] == (config.name,), f"{caught.value}: the error has no path in the tree"
            assert config.verify() == (False, str(caught.value))

    def test_lost_stores_are_errors(self, examples: Sequence[Any], tmp_path: Path) -> None:
        for number, config in enumerate(examples):
            check_lost_stores(with_stored_sources(config, tmp_path / f"lost{number}"))


class StoredSourceLaws(ArrayTypeLaws):
    """The laws, and law 8 in full, of a type that reads chunks from a folder ``file_name``.

    ``folder_of``, ``chunk_files`` and ``fill_of`` know Zarr; override them for another format.
    """

    def folder_of(self, config: Any) -> Path:
        """The folder of its metadata and chunks."""
        return Path(config.file_name, config.dataset)

    def chunk_files(self, config: Any) -> list[Path]:
        """The files of its chunks."""
        return sorted(
            path for path in self.folder_of(config).rglob("*") if path.is_file() and path.name not in DOCUMENTS
        )

    def fill_of(self, config: Any) -> Any:
        """The value of voxels whose chunk is absent."""
        folder = self.folder_of(config)
        document = next(path for path in (folder / "zarr.json", folder / ".zarray") if path.exists())
        return json.loads(document.read_text())["fill_value"]

    @pytest.fixture
    def copies(self, examples: Sequence[Any], tmp_path: Path) -> Sequence[Any]:
        """The examples over stores that a test may break."""
        configs: list[Config] = []
        for number, config in enumerate(examples):
            if isinstance(config, self.type):
                copy = tmp_path / f"copy{number}" / Path(config.file_name).name
                shutil.copytree(config.file_name, copy)
                configs.append(config.with_fields(file_name=copy))
        return configs

    def test_lost_metadata_are_an_error(self, copies: Sequence[Any]) -> None:
        for config in copies:
            array = config.array()
            for path in [*self.chunk_files(config), *self.folder_of(config).glob("*")]:
                if path.is_file() and path.exists():
                    path.unlink()
            with pytest.raises(StoreError, match=config.name):
                array.to_ndarray()

    def test_a_truncated_chunk_is_an_error(self, copies: Sequence[Any]) -> None:
        for config in copies:
            array = config.array()
            path = self.chunk_files(config)[0]
            chunk = path.read_bytes()
            for size in (len(chunk) // 2, 0):
                path.write_bytes(chunk[:size])
                with pytest.raises(StoreError, match=config.name):
                    array.to_ndarray()
            path.write_bytes(chunk)
            assert_same(array.to_ndarray(), config.array().to_ndarray(), f"{config!r}, repaired")

    def test_an_absent_chunk_is_fill_value(self, copies: Sequence[Any]) -> None:
        for config in copies:
            before = config.array().to_ndarray()
            missing = config.array()
            for path in self.chunk_files(config):
                path.unlink()
            after = missing.to_ndarray()
            assert_same(after, np.full_like(before, self.fill_of(config)), f"{config!r} without chunks")
