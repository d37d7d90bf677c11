"""The oracle of TIFF files and stacks, which tifffile and pillow read, and random trees with such files."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import tifffile
from hypothesis import strategies as st
from PIL import Image

from gp_arrays.sources.tiff import TiffArrayConfig
from gp_arrays.testing.oracle import Naive, Volume, naive
from gp_arrays.testing.strategies import voxels

from .trees import Pool, grows


@naive(TiffArrayConfig)
def tiff(config: TiffArrayConfig, naive: Naive) -> Volume:
    path = config.file_name
    if path.exists():
        with tifffile.TiffFile(path) as file:
            data, letters = file.asarray(), file.series[0].axes.lower()
    else:
        files = sorted(path.parent.glob(path.name), key=lambda each: int(re.findall(r"\d+", each.name)[-1]))
        data, letters = np.stack([np.asarray(Image.open(each)) for each in files]), "zyxs"
    named = config.axes or ["c" if letter == "s" else "z" if letter == "q" else letter for letter in letters]
    axes = [name.rstrip("^") for name in named][: data.ndim]
    spatial = [axis for axis in axes if axis not in "sct"]
    nonspatial = [axis for axis in axes if axis not in spatial]
    data = data.transpose([axes.index(axis) for axis in nonspatial + spatial])
    channels = tuple(map(str, range(data.shape[nonspatial.index("c")]))) if "c" in nonspatial else None
    return Volume(
        data.astype(data.dtype.newbyteorder("=")),
        naive.lengths(config.offset or [0] * len(spatial)),
        naive.lengths(config.voxel_size or [1] * len(spatial)),
        tuple(nonspatial),
        channels,
        data.dtype.name in ("uint8", "int8", "uint16", "int16", "float16", "float32", "float64"),
    )


@grows(TiffArrayConfig)
def grown(pool: Pool, name: str) -> Any:
    if pool.dims not in (2, 3):
        return None
    shape = tuple(pool.draw(st.integers(1, 5)) for _ in range(pool.dims))
    lead = pool.draw(st.sampled_from(["", "c", "t"]))
    data = pool.draw(voxels((*(2 for _ in lead), *shape)))
    options: dict[str, Any] = pool.draw(
        st.sampled_from([{}, {"compression": "zlib"}, {"tile": (16, 16)}, {"rowsperstrip": 2}, {"byteorder": ">"}])
    )
    content = repr((options, lead, data.dtype, data.shape)).encode()
    path = pool.folder / f"{hashlib.blake2b(data.tobytes() + content, digest_size=12).hexdigest()}.tif"
    axes = [*lead, *"zyx"[-pool.dims :]]
    if not path.exists():
        tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": "".join(axes).upper()}, **options)
    return TiffArrayConfig(name, path, pool.place(shape), pool.voxel_size, axes)
