"""A view: arrays as layers in rows, how they look at first, and what can be done with the view."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import neuroglancer
import neuroglancer.viewer_state

from ..errors import ConfigError, quoted
from ..model.array import Array
from ..model.base import ArrayConfig
from ..model.fields import to_path
from . import screenshot, server
from .kinds import LABELS, MASK, kind
from .layers import bounds, box_layer, layers_of, middle, screen_space
from .volume import volumes_of

#: The number of screen pixels that a small array fills at first.
PIXELS = 360
#: The orientation of the 3D panel at first, a quaternion: from above and from the side.
TILT = [0.27, 0.22, -0.06, 0.94]
#: The layer of the boxes.
BOXES = "roi"
#: The panel of colours, and the controls in it: the colours and the checkboxes of shaders.
LEGEND, LEGEND_QUERY = "colours", "type:shaderControl control:/^(color|show)/"

# the server forgets a viewer that nothing refers to
_open: list[View] = []


class View:
    """Arrays in a Neuroglancer viewer; see ``gp_arrays.view``."""

    def __init__(self, arrays: Any, host: str, port: int, unit: str | None, quiet: bool) -> None:
        self.rows = rows_of(arrays, unit)
        self.viewer = server.make_viewer(host, port)
        with self.viewer.txn() as state:
            _fill(state, self.rows)
        for volume in volumes_of(self.viewer):
            volume.on_failure = self._show_failure
        self.url: str = self.viewer.get_viewer_url()
        _open.append(self)
        if not quiet:
            print(self.url, flush=True)
            print(f"from another machine: {server.remote_line(self.url)}", flush=True)

    @property
    def arrays(self) -> dict[str, Array]:
        """The arrays that are shown, by the names of their layers."""
        return {_label(row, name): array for row, arrays in self.rows.items() for name, array in arrays.items()}

    def _show_failure(self, cause: str, text: str) -> None:
        """Show a message in the browser, where chunks that failed look like background."""
        with self.viewer.config_state.txn() as config:
            config.status_messages[cause] = text

    def serve(self) -> None:
        """Wait until Ctrl-C, then close the view even if voxels are being computed."""
        try:
            # a wait without a timeout cannot be interrupted on every platform
            while not threading.Event().wait(3600):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Serve this view no longer. The server ends with the last view."""
        if self in _open:
            _open.remove(self)
            server.close(self.viewer, last=not _open)

    def screenshot(self, path: str | Path, size: tuple[int, int] = (1000, 800), timeout: float = 120) -> None:
        """Write what a browser shows to a PNG file. It needs Chromium and no screen.

        Raises:
            StoreError: The file cannot be written.
            ComputeError: There is no Chromium, or no picture in time, or voxels that
                cannot be computed.
        """
        screenshot.save(self.viewer, to_path(path), size, timeout)

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank">{", ".join(self.arrays)}</a>'

    def __repr__(self) -> str:
        return f"<gp_arrays view of {', '.join(self.arrays)} at {self.url}>"


def rows_of(arrays: Any, unit: str | None) -> dict[str, dict[str, Array]]:
    """The arrays to show, by row and name; a single row has the name ""."""
    if isinstance(arrays, (Array, ArrayConfig)):
        arrays = {arrays.name: arrays}
    if not isinstance(arrays, Mapping) or not arrays:
        raise ConfigError("nothing to show", found=quoted(arrays), allowed="arrays or configs by name")
    nested = [isinstance(value, Mapping) for value in arrays.values()]
    if any(nested) and not all(nested):
        alone = ", ".join(str(name) for name, inner in zip(arrays, nested, strict=True) if not inner)
        raise ConfigError("arrays and rows of arrays are mixed", found=alone, allowed="arrays by name, or rows of them")
    rows = dict(arrays) if any(nested) else {"": arrays}
    return {str(row): _arrays(str(row), inner, unit) for row, inner in rows.items()}


def _arrays(row: str, arrays: Mapping[str, Any], unit: str | None) -> dict[str, Array]:
    if not arrays:
        raise ConfigError("a row has no arrays", path=(row,))
    for name, value in arrays.items():
        if not isinstance(value, (Array, ArrayConfig)):
            raise ConfigError("not an array", found=quoted(value), allowed="an array or its config", path=(str(name),))
    # separate trees: arrays of different rows may have the same name
    return {str(name): value if isinstance(value, Array) else Array(value, unit=unit) for name, value in arrays.items()}


def _label(row: str, name: str) -> str:
    return f"{row}/{name}" if row else name


def _fill(state: Any, rows: Mapping[str, Mapping[str, Array]]) -> None:
    """Put the layers into the state of a viewer, and choose what is visible at first."""
    space = screen_space([array for arrays in rows.values() for array in arrays.values()])
    layout = "4panel" if space.rank > 2 else "xy"
    first = list(next(iter(rows.values())).values())
    low, high = bounds(first, space)
    state.dimensions = space
    state.position = middle(first, space)
    panels = []
    for row, arrays in rows.items():
        boxes = next(name for name in (BOXES + "_" * i for i in itertools.count()) if name not in arrays)
        layers = [*layers_of(arrays), neuroglancer.ManagedLayer(boxes, box_layer(arrays, space))]
        for layer in layers:
            layer.name = _label(row, layer.name)
            state.layers.append(layer)
        panel = neuroglancer.LayerGroupViewer(layers=[layer.name for layer in layers], layout=layout)
        position = middle(list(arrays.values()), space)
        if not all(b <= p <= h for b, p, h in zip(low, position, high, strict=True)):
            # Far from the first row: it has a position of its own, which moves with the others. The browser
            # overwrites positions that are "unlinked" when it opens another row after them.
            panel.position = neuroglancer.LinkedPosition(link="relative", value=position)
        panels.append(panel)
    state.layout = neuroglancer.row_layout(panels) if len(panels) > 1 else layout
    smallest = min(float(scale) for scale in space.scales)
    extent = max((h - b) * float(s) / smallest for b, h, s in zip(low, high, space.scales, strict=True))
    # a small array fills a panel, a large one is first seen at full resolution in its middle
    state.cross_section_scale = min(1.0, extent / PIXELS)
    state.projection_scale = extent * 1.7
    state.projection_orientation = TILT
    state.hide_cross_section_background_3d = True
    state.show_slices = extent <= 4 * PIXELS
    shown = [array for arrays in rows.values() for array in arrays.values() if kind(array) != LABELS]
    state.tool_palettes[LEGEND] = neuroglancer.viewer_state.ToolPalette(
        query=LEGEND_QUERY,
        visible=any(kind(array) == MASK or len(array.channels or ()) > 1 for array in shown),
        side="left",
        size=200,
    )
