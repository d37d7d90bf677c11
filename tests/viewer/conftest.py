"""Views that are closed after their test, and counters that begin at zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from view_helpers import COMPUTED, READ, Counter

import gp_arrays as gpa
from gp_arrays.viewer.shown import View


@pytest.fixture
def show() -> Iterator[Callable[..., View]]:
    """``gp_arrays.view``, its views closed after the test."""
    views: list[View] = []

    def opened(arrays: Any, **options: Any) -> View:
        views.append(gpa.view(arrays, quiet=True, **options))
        return views[-1]

    yield opened
    for view in views:
        view.close()


@pytest.fixture
def counters() -> tuple[Counter, Counter]:
    """Voxels decoded by ``Endless`` sources, in whole chunks, and computed by ``Counted`` arrays."""
    for counter in (READ, COMPUTED):
        counter.voxels = counter.calls = 0
    return READ, COMPUTED
