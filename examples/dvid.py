"""A volume of a DVID server, copied to Zarr block by block.

    python examples/dvid.py SERVER UUID INSTANCE OUT.zarr     (a token is read from DVID_TOKEN)

Without arguments it reads from a small server that it runs itself, as a stand-in for yours.
"""

import contextlib
import sys
import tempfile
from pathlib import Path

import numpy as np

import gp_arrays as gpa
from gp_arrays.testing import DVIDServer


def copy(server: str, uuid: str, instance: str, store: Path) -> None:
    """Write all of an instance to dataset ``instance`` of a store. Called again, it goes on where it stopped."""
    volume = gpa.DVIDArrayConfig(instance, (server, uuid, instance))
    array = volume.array()  # one request: what the instance says of itself
    print(array)
    # chunks of whole DVID blocks, so that no block is fetched twice
    chunks = array.config.open().chunks
    result = gpa.materialize(volume, store, instance, num_workers=2, chunks=chunks, pyramid="auto", progress=False)
    print(f"{result.done} of {result.blocks} blocks in {store}")
    assert result.ok, result.failed


def main() -> None:
    with contextlib.ExitStack() as stack:
        if len(sys.argv) == 5:
            server, uuid, instance, store = sys.argv[1:]
        else:
            fake = stack.enter_context(DVIDServer())
            labels = np.arange(4 * 5 * 6, dtype=np.uint64).reshape(4, 5, 6).repeat(16, 0).repeat(16, 1).repeat(16, 2)
            fake.add("segmentation", labels, kind="labelmap", block=(32, 32, 32), voxel_size=(40, 8, 8))
            server, uuid, instance = fake.url, ":master", "segmentation"
            store = f"{tempfile.mkdtemp()}/copy.zarr"
        copy(server, uuid, instance, Path(store))


if __name__ == "__main__":
    main()
