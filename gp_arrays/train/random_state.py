"""The random states that gunpowder seeds, and that other code of a process may be using."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def keeping_random_states() -> Iterator[None]:
    """Whatever the block does, the states of ``random`` and ``numpy.random`` are afterwards as they were before.

    >>> random.seed(1)
    >>> with keeping_random_states():
    ...     random.seed(2)
    >>> random.random()
    0.13436424411240122
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  gunpowder uses it
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
