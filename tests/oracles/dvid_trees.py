"""The oracle of DVID instances on a server in this process, and random trees with such instances."""

from __future__ import annotations

import atexit
import functools
import hashlib
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gp_arrays.sources.dvid import DVIDArrayConfig
from gp_arrays.testing.dvid_server import RUNNING, DVIDServer
from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.testing.strategies import voxels

from .trees import Pool, grows

INTERPOLATED = ("uint8blk", "uint16blk", "float32blk", "rgba8blk")
KINDS = (*INTERPOLATED, "uint32blk", "uint64blk", "labelmap", "labelarray", "labelblk")
COLOURS = ("red", "green", "blue", "alpha")


@naive(DVIDArrayConfig)
def dvid(config: DVIDArrayConfig, naive: Naive) -> Volume:
    server, version, name = config.source
    fake = RUNNING[server]
    instances = fake.versions[fake.resolve(version)[0]]
    instance = instances[name]
    halved = config.scale if instance.kind.startswith("label") else 0
    if config.scale and not halved:
        instance = instances[f"{name}_{config.scale}"]
    if config.extent is None:
        begin = tuple(b // 2**halved for b in instance.begin)
        shape = tuple((e - 1) // 2**halved - b + 1 for e, b in zip(instance.end, begin, strict=True))
    else:
        begin, shape = config.extent
    data = instance.voxels(begin, shape, halved, config.supervoxels)
    stated = [
        f"{Fraction(str(size)) * 2**halved} {unit}".replace("nanometers", "nm").replace("microns", "um")
        for size, unit in zip(instance.voxel_size, instance.units, strict=True)
    ]
    size = naive.lengths(config.voxel_size or stated, config.unit)
    interpolatable = instance.kind in INTERPOLATED if config.interpolatable is None else config.interpolatable
    return Volume(
        np.stack([data[..., i] for i in range(4)]) if data.ndim == 4 else data,
        naive.lengths(
            config.offset or [f"{b * v} {naive.unit}" for b, v in zip(begin, size, strict=True)], config.unit
        ),
        size,
        nonspatial=("c",) if data.ndim == 4 else (),
        channels=COLOURS if data.ndim == 4 else None,
        interpolatable=interpolatable,
    )


@functools.cache
def _server() -> DVIDServer:
    """One server for all random trees of a process."""
    server = DVIDServer().__enter__()
    atexit.register(server.__exit__)
    return server


@grows(DVIDArrayConfig)
def instance(pool: Pool, name: str) -> Any:
    if pool.dims != 3:
        return None
    kind = pool.draw(st.sampled_from(KINDS))
    labels = kind.startswith("label")
    shape = tuple(pool.draw(st.integers(1, 5)) for _ in range(3))
    dtype = "uint64" if labels else "uint8" if kind == "rgba8blk" else kind.removesuffix("blk")
    data = pool.draw(voxels((*shape, 4) if kind == "rgba8blk" else shape, dtype))
    fields: dict[str, Any] = {
        "kind": kind,
        "begin": tuple(pool.draw(st.integers(-9, 9)) for _ in range(3)),
        "block": tuple(pool.draw(st.integers(1, 4)) for _ in range(3)),
        "voxel_size": pool.voxel_size,
        "grid_store": not labels and pool.draw(st.booleans()),
    }
    instance_name = hashlib.blake2b(data.tobytes() + repr(fields).encode(), digest_size=12).hexdigest()
    server = _server()
    server.add(instance_name, data, **fields)
    return DVIDArrayConfig(name, (server.url, server.root, instance_name), offset=pool.place(shape))
