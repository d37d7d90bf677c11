"""Arrays in Neuroglancer: the voxels that are looked at are computed, chunk by chunk.

Neuroglancer is imported when an array is shown, not with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .shown import View


def view(arrays: Any, host: str = "127.0.0.1", port: int = 0, unit: str | None = None, quiet: bool = False) -> View:
    """Show arrays in Neuroglancer, each as a layer, and print the address to open.

    Voxels are computed where they are looked at: a volume of any size opens at once. Floats
    and other interpolatable values are shown as grey or, with channels, mixed colours; ids
    as coloured segments above them; masks as tints under the segments. A panel beside the picture
    tells masks and channels by their colours. Boxes mark the rois. Rows that lie far apart have
    positions of their own, which move together. The view exists as long as the program runs: a
    script ends with ``serve()``, which waits for Ctrl-C.

    Args:
        arrays: Configs or arrays by name, one alone, or several datasets as rows:
            ``{"train": {"raw": raw, "labels": labels}, "validate": {...}}``.
        host: The address to listen on: by default this machine alone. The address that is
            printed contains a secret: whoever knows it sees the data.
        port: 0 picks a free one.
        unit: The unit of the trees; by default the unit in their files, else nm.
        quiet: True to print nothing.

    Returns:
        The view: ``url``, ``viewer`` (the ``neuroglancer.Viewer``, whose state may be
        changed), ``serve()``, ``screenshot(path)``, ``close()``.

    Raises:
        ConfigError: An argument is not an array, or host or port cannot be used.
        TreeError, StoreError: As ``compile_plan``.

    >>> import gp_arrays as gpa, numpy as np
    >>> raw = gpa.NumpyArrayConfig("raw", data=np.zeros((10, 10, 10), np.uint8), voxel_size=(8, 8, 8))
    >>> view = gpa.view({"raw": raw, "bright": gpa.ThresholdArrayConfig("bright", raw, 128)}, quiet=True)
    >>> view.url.split(":")[:2]
    ['http', '//127.0.0.1']
    >>> [layer.name for layer in view.viewer.state.layers]
    ['raw', 'bright', 'roi']
    >>> view.close()
    """
    from .shown import View

    return View(arrays, host, port, unit, quiet)
