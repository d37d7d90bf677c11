"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import gunpowder as gp

# This file is also loaded by the process that only starts the test processes: it must not import heavy packages.

# Tests start many processes. With bytecode files they compile each module once, whatever the environment says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

#: no doctests are run here: some import torch, and an example in oracles/ registers an array type
collect_ignore_glob = ["networks*.py", "benchmarks/*", "oracles/*", "conftest.py", "*/conftest.py"]

#: `pytest --hypothesis-profile=nightly` tries more examples, and others each time
settings.register_profile(
    "quick", max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "nightly", max_examples=3000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def fib25() -> Path:
    """A real volume in a folder beside the repository; without it, tests that use it are skipped."""
    store = Path(__file__).parents[2] / "shared" / "data" / "fib25.zarr"
    if not store.is_dir():
        pytest.skip("the fib25 sample is not here")
    return store


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for stores that random trees share."""
    return tmp_path_factory.mktemp("random")


@pytest.fixture(scope="session", autouse=True)
def oracles() -> None:
    """Registers the oracles: the laws compare each array type with its own."""
    import oracles  # noqa: F401


@pytest.fixture(scope="session")
def check_node() -> Callable[..., None]:
    from node_checks import check_node

    return check_node


@pytest.fixture(scope="session")
def ask() -> Callable[..., gp.Batch]:
    from node_checks import ask

    return ask


@pytest.fixture(scope="session")
def nonspatial() -> type[gp.BatchProvider]:
    from node_checks import Nonspatial

    return Nonspatial


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs do all blocks in this process, however long they take: for tests of what is written."""
    from gp_arrays.jobs import records, run, settings, worker

    monkeypatch.setattr(run, "may_work_here", lambda prepared: True)
    monkeypatch.setattr(settings.Crew, "is_usual", True)
    monkeypatch.setattr(worker, "SHORT", float("inf"))
    monkeypatch.setattr(worker, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(records, "force_to_disk", lambda path: None)
