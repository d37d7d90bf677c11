"""Reading an array in another process, forked or spawned."""

from __future__ import annotations

import atexit
import concurrent.futures
import functools
import hashlib
import multiprocessing
import warnings
from typing import Any

import numpy as np

#: How long a process may take, in seconds. A deadlock must not last.
PATIENCE = 120


def digest(data: np.ndarray[Any, Any]) -> str:
    """A digest of dtype, shape and voxels."""
    text = f"{data.dtype}{data.shape}".encode()
    return hashlib.blake2b(text + np.ascontiguousarray(data).tobytes(), digest_size=16).hexdigest()


def _read(what: Any) -> str:
    array = what.array() if hasattr(what, "array") else what
    return digest(array.to_ndarray())


def _answer(connection: Any, what: Any) -> None:
    try:
        connection.send(_read(what))
    except BaseException as error:
        connection.send(f"{type(error).__name__}: {error}")
        raise


def read_in_fork(what: Any) -> str:
    """The digest of all voxels of a config, or of an opened array, read after ``fork()``."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, what))
    with warnings.catch_warnings():
        # Python warns of threads that the child lacks: that nothing waits for them is what is tested
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    theirs.close()
    try:
        if not mine.poll(PATIENCE):
            raise AssertionError("a forked process hangs")
        return str(mine.recv())
    except EOFError:
        raise AssertionError("a forked process died") from None
    finally:
        if process.is_alive() and process.exitcode is None:
            process.join(5)
        if process.exitcode is None:
            process.kill()
        process.join()
        mine.close()


@functools.cache
def _spawned() -> concurrent.futures.ProcessPoolExecutor:
    """One spawned process for all: starting it takes as long as importing gunpowder."""
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    atexit.register(pool.shutdown)
    return pool


def read_in_spawned(config: Any) -> str:
    """The digest of all voxels of a config, read in a spawned process that got it pickled."""
    return _spawned().submit(_read, config).result(PATIENCE)
