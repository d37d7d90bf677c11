"""Jobs that read a DVID server: the version they read is kept, and a branch that moves is noticed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from job_helpers import environment

import gp_arrays as gpa
from gp_arrays.cli import run
from gp_arrays.testing import DVIDServer

pytestmark = pytest.mark.usefixtures("one_process")

CUT = {"num_workers": 1, "progress": False, "chunks": (16, 16, 16), "block": (128, 128, 128)}
SECOND = "abc1" + "0" * 28


@pytest.fixture
def server():
    with DVIDServer() as running:
        data = np.random.default_rng(0).integers(1, 9, (32, 32, 32)).astype(np.uint64)
        running.add("seg", data, kind="labelmap", begin=(-16, 3, 5), block=(16, 16, 16))
        yield running


def masks_of(server, ref):
    labels = gpa.DVIDArrayConfig("seg", (server.url, ref, "seg"))
    return gpa.BinarizeArrayConfig("masks", labels, [("three", [3]), ("any", [])])


def test_a_job_writes_the_voxels_and_the_version_of_a_dvid_server(server, tmp_path):
    result = gpa.materialize(masks_of(server, ":master"), tmp_path / "out.zarr", **CUT)
    assert (result.ok, result.done) == (True, 8)
    # each block reads the voxels that it needs, and no more
    assert [seen.size for seen in server.voxel_requests()] == [(16, 16, 16)] * 8
    data = server.versions[server.root]["seg"].data
    written = gpa.open_zarr(tmp_path / "out.zarr", "masks")
    assert written.roi == gpa.Roi((-128, 24, 40), (256, 256, 256))
    assert np.array_equal(written[0], data == 3)
    provenance = json.loads((tmp_path / "out.zarr/masks/.zattrs").read_text())["gp_arrays"]
    assert json.dumps([server.url, server.root, "seg"]) in json.dumps(provenance["tree"])


def test_a_job_is_not_resumed_if_its_branch_has_new_commits(server, tmp_path):
    config = masks_of(server, "3f8c:master")
    first = gpa.materialize(config, tmp_path / "out.zarr", roi=gpa.Roi((-128, 24, 40), (128, 128, 128)), **CUT)
    assert (first.ok, first.done) == (True, 1)
    server.commit(SECOND)
    with pytest.raises(gpa.StoreError, match=f"{server.root}.*{SECOND}"):
        gpa.materialize(config, tmp_path / "out.zarr", **CUT)
    # what the branch was when the job began is another name for the same version
    rest = gpa.materialize(masks_of(server, ":master~1"), tmp_path / "out.zarr", **CUT)
    assert (rest.before, rest.done, rest.ok) == (1, 8, True)


def test_nothing_is_written_if_the_server_does_not_reply(server, tmp_path):
    config = masks_of(server, ":master")
    server.__exit__()
    with pytest.raises(gpa.StoreError, match="does not reply"):
        gpa.materialize(config, tmp_path / "out.zarr", **CUT)
    assert not (tmp_path / "out.zarr").exists()


def test_info_and_verify_send_one_request_each(server, tmp_path, capsys):
    gpa.save_tree([gpa.DVIDArrayConfig("seg", (server.url, server.root, "seg"))], tmp_path / "tree.toml")
    assert run(["info", str(tmp_path / "tree.toml")]) == 0
    assert "seg: DVIDArrayConfig, uint64[32, 32, 32]" in capsys.readouterr().out
    assert run(["verify", str(tmp_path / "tree.toml")]) == 0
    assert [seen.path for seen in server.seen] == [f"/api/node/{server.root}/seg/info"] * 2


@pytest.mark.slow
def test_the_dvid_example_copies_a_volume(server, tmp_path):
    script = Path(__file__).parents[2] / "examples" / "dvid.py"
    command = [sys.executable, str(script), server.url, "3f8c", "seg", str(tmp_path / "copy.zarr")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())
    assert ran.returncode == 0, ran.stderr
    copy = gpa.open_zarr(tmp_path / "copy.zarr", "seg", scale=0)
    assert np.array_equal(copy[:], server.versions[server.root]["seg"].data)
