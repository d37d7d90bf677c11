"""The oracle of HDF5 datasets, which h5py reads, and random trees with such datasets."""

from __future__ import annotations

import hashlib
from typing import Any

import h5py
import numpy as np
from hypothesis import strategies as st

from gp_arrays.sources.hdf5 import HDF5ArrayConfig
from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.testing.strategies import voxels

from .trees import Pool, grows


@naive(HDF5ArrayConfig)
def hdf5(config: HDF5ArrayConfig, naive: Naive) -> Volume:
    with h5py.File(config.file_name) as file:
        data = file[config.dataset][()]
        attributes = dict(file[config.dataset].attrs)
    axes = config.axes or attributes.get("axis_names", "zyx"[-data.ndim :])
    spatial = [axis for axis in axes if axis not in "sct"]
    nonspatial = [axis for axis in axes if axis not in spatial]
    data = data.transpose([list(axes).index(axis) for axis in nonspatial + spatial])
    channels = tuple(map(str, range(data.shape[nonspatial.index("c")]))) if "c" in nonspatial else None
    return Volume(
        data.astype(data.dtype.newbyteorder("=")),
        naive.lengths(config.offset or attributes.get("offset", np.zeros(len(spatial))).tolist()),
        naive.lengths(config.voxel_size or attributes.get("resolution", np.ones(len(spatial))).tolist()),
        tuple(nonspatial),
        channels,
        data.dtype.name in ("uint8", "int8", "uint16", "int16", "float16", "float32", "float64"),
    )


@grows(HDF5ArrayConfig)
def grown(pool: Pool, name: str) -> Any:
    shape = tuple(pool.draw(st.integers(1, 5)) for _ in range(pool.dims))
    spatial = [*"zyx"[-pool.dims :]]
    lead = pool.draw(st.sampled_from(["", "c", "t"]))
    axes = pool.draw(st.sampled_from([[*lead, *spatial], [*spatial, *lead]]))
    sizes = {**dict(zip(spatial, shape, strict=True)), lead: 2}
    data = pool.draw(voxels([sizes[axis] for axis in axes]))
    attributes = {"resolution": pool.voxel_size, "offset": pool.place(shape), "axis_names": axes}
    chunks = pool.draw(st.sampled_from([None, tuple(min(n, 2) for n in data.shape)]))
    content = repr((attributes, chunks, data.dtype, data.shape)).encode()
    path = pool.folder / f"{hashlib.blake2b(data.tobytes() + content, digest_size=12).hexdigest()}.h5"
    if not path.exists():
        with h5py.File(path, "w") as file:
            file.create_dataset("raw", data=data, chunks=chunks).attrs.update(attributes)
    return HDF5ArrayConfig(name, path, "raw")
