"""What a plane of 512 x 512 pixels costs the view, at several zooms, beside plain zarr.

    python tests/benchmarks/bench_view.py

The peer reads the same plane with strides (zarr decodes every chunk of it) and packs it as
the browser wants it. Medians of runs taken in turn, in a made-up volume of 64 x 2048 x 2048
voxels in chunks of 64^3, uint8, with a pyramid of four levels.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from neuroglancer.chunks import encode_npz
from scipy.ndimage import gaussian_filter
from timing import medians

import gp_arrays as gpa
from gp_arrays.viewer.volume import Volume

SHAPE = (64, 2048, 2048)


def make(store: Path) -> None:
    tile = gaussian_filter(np.random.default_rng(0).normal(size=(64, 256, 256)), 2, mode="wrap")
    data = np.tile(np.clip(128 + 300 * tile, 0, 255).astype(np.uint8), (1, 8, 8))
    datasets = []
    for level in range(4):
        size = 8 << level
        made = gpa.create_zarr(
            store, f"raw/s{level}", gpa.Roi((0,) * 3, [n * size for n in data.shape]), (size,) * 3, "uint8"
        )
        made[:] = data
        (store / "raw" / f"s{level}" / ".zattrs").unlink()
        moves = [{"type": "scale", "scale": [size] * 3}, {"type": "translation", "translation": [(size - 8) / 2] * 3}]
        datasets.append({"path": f"s{level}", "coordinateTransformations": moves})
        data = np.ascontiguousarray(data[::2, ::2, ::2])
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    pyramid = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": datasets}]}
    (store / "raw" / ".zattrs").write_text(json.dumps(pyramid))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "a.zarr"
        make(store)
        plain = zarr.open(str(store), mode="r")["raw/s0"]
        # one that is told its place belongs to no pyramid
        alone = gpa.ZarrArrayConfig("alone", store, "raw/s0", offset=(0, 0, 0))
        raw = gpa.ZarrArrayConfig("raw", store, "raw/s0")
        for factor in (1, 2, 4):
            key = ",".join([str(factor)] * 3)

            def ours(config: Any, key: str = key) -> Callable[[], Any]:
                volume = Volume(gpa.IntensitiesArrayConfig("norm", config, 0, 255).array())
                return lambda: volume.get_encoded_subvolume("npz", (3, 0, 0), (4, 512, 512), key)

            z, edge = 3 * factor, 512 * factor

            def peer(z: int = z, edge: int = edge, factor: int = factor) -> bytes:
                plane = plain[z : z + 1, :edge:factor, :edge:factor]
                return encode_npz(np.float32(plane) / 255)

            with_pyramid, without, plainly = medians(ours(raw), ours(alone), peer)
            print(
                f"zoom {factor}:1   stored pyramid {with_pyramid:8.1f} ms   none {without:8.1f} ms   plain zarr {plainly:8.1f} ms"
            )


if __name__ == "__main__":
    main()
