"""Reads from a DVID server beside the bare HTTP transfers of the same bytes.

The server runs in a process of its own and sends replies that it has ready. The peer sends the same requests over as many
connections of one session and keeps the bodies as they come; what is gzip it inflates.
"""

from __future__ import annotations

import multiprocessing
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from timing import Comparison, Settings

import gp_arrays as gpa
from gp_arrays.storage.dvid.http import CONNECTIONS, session

NAMES = ("grey", "grid_store", "labels")


def serve(size: int, connection: Any) -> None:
    """Run a server with a volume of each sort until the connection closes."""
    from gp_arrays.testing import DVIDServer

    class Ready(DVIDServer):
        """Computes each reply once."""

        replies: dict[str, bytes] = {}

        def reply(self, seen: Any) -> bytes:
            key = f"{seen.path}{seen.query}"
            if key not in self.replies:
                self.replies[key] = super().reply(seen)
            return self.replies[key]

    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (size,) * 3, dtype=np.uint8)
    ids = np.arange(size**3 // 512, dtype=np.uint64).reshape((size // 8,) * 3)
    labels = ids.repeat(8, 0).repeat(8, 1).repeat(8, 2)
    with Ready() as server:
        server.add("grey", grey, block=(64, 64, 64))
        server.add("labels", labels, kind="labelmap", block=(64, 64, 64))
        server.add("grid_store", grey, block=(64, 64, 64), grid_store=True)
        connection.send((server.url, server.root))
        for name in iter(connection.recv, None):
            seen = [seen for seen in server.voxel_requests() if f"/{name}/" in seen.path]
            connection.send([f"{server.url}{each.path}?{'&'.join(map('='.join, each.query.items()))}" for each in seen])


def get(url: str) -> bytes:
    """The body of a reply."""
    with session().get(url, stream=True) as reply:
        body: bytes = reply.raw.read()
    return zlib.decompress(body, wbits=31) if "gzip" in url else body


def comparisons(settings: Settings) -> Iterator[Comparison]:
    size = 128 if settings.short else 512
    gpa.set_cache_bytes(0)  # each read asks the server again
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=serve, args=(size, theirs), daemon=True)
    process.start()
    url, uuid = mine.recv()
    for name in NAMES:
        array = gpa.DVIDArrayConfig(name, (url, uuid, name)).array()
        array[:]
        mine.send(name)
        urls = mine.recv()

        def bare(urls: list[str] = urls) -> None:
            with ThreadPoolExecutor(CONNECTIONS) as threads:
                list(threads.map(get, urls))

        yield Comparison(f"DVID, {size}^3", name, "bare HTTP", lambda array=array: array[:], bare)
    mine.send(None)
    process.join(10)
