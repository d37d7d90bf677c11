"""Neuroglancer opens a written pyramid from a web server and shows it at its position."""

import functools
import http.server
import threading

import neuroglancer
import numpy as np
import pytest

import gp_arrays as gpa
from gp_arrays.storage.chunked.engine import FORMATS
from gp_arrays.viewer import screenshot

VOXEL_SIZE, BEGIN = (40, 8, 8), (400, 80, 160)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Access-Control-Allow-Origin", "*")
        super().end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(screenshot.browser() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("zarr_format", FORMATS)
def test_neuroglancer_shows_a_written_pyramid(tmp_path, served, zarr_format):
    voxels = np.random.default_rng(5).integers(1, 255, (8, 96, 128), dtype=np.uint8)
    raw = gpa.NumpyArrayConfig("raw", data=voxels, voxel_size=VOXEL_SIZE, offset=BEGIN)
    written = gpa.materialize(
        raw,
        tmp_path / "out.zarr",
        num_workers=1,
        pyramid="mean",
        storage=gpa.Storage("gzip", zarr_format),
        progress=False,
    )
    assert written.ok
    neuroglancer.set_server_bind_address("127.0.0.1")
    viewer = neuroglancer.Viewer(allow_credentials=False)
    try:
        with viewer.txn() as state:
            state.dimensions = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=VOXEL_SIZE[::-1])
            # the corner of voxel (5, 40, 60), in voxels of the world; a translation in NGFF marks a
            # voxel's centre, so that Neuroglancer draws each voxel around where we say it begins
            state.position = [BEGIN[2] / 8 + 60 - 0.5, BEGIN[1] / 8 + 40 - 0.5, BEGIN[0] / 40 + 5.5 - 0.5]
            state.layers["raw"] = neuroglancer.ImageLayer(
                source=f"{served}/out.zarr/raw/|zarr{zarr_format}:",
                shader="void main(){emitGrayscale(toNormalized(getDataValue()));}",
            )
            state.layout, state.cross_section_scale = "xy", 1
            state.show_axis_lines = state.show_scale_bar = state.show_default_annotations = False
        shown = screenshot.take(viewer, (60, 40), 90).image_pixels[..., 0]
    finally:
        neuroglancer.stop()
    assert np.array_equal(shown, voxels[5, 20:60, 30:90])
