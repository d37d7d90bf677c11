"""Workers on other hosts: network namespaces of their own, one of which is cut off in the middle."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from gated import allow, gated
from job_helpers import alive, done_of, wait_for, workers_of

import gp_arrays as gpa


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def hosts():
    """Two namespaces, and the address at which they reach this one."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2 on Linux")
    names = [f"gpa{os.getpid()}{i}" for i in (1, 2)]
    # addresses of their own, should the tests run twice at once
    nets = [f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 100 * 2 + i}" for i in (0, 1)]
    with contextlib.ExitStack() as stack:
        for name, net in zip(names, nets, strict=True):
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False, capture_output=True)
            try:
                ip("link", "add", name[-13:], "type", "veth", "peer", "name", "eth0", "netns", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no virtual links here: {error.stderr.decode().strip()}")
            stack.callback(subprocess.run, ["ip", "link", "del", name[-13:]], check=False, capture_output=True)
            ip("addr", "add", f"{net}.1/24", "dev", name[-13:])
            ip("link", "set", name[-13:], "up")
            ip("-n", name, "addr", "add", f"{net}.2/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "route", "add", "default", "via", f"{net}.1")
        yield names, f"{nets[0]}.1"


@pytest.mark.slow
def test_a_job_is_completed_although_one_of_two_hosts_is_cut_off(hosts, tmp_path):
    hosts, here = hosts
    data = np.random.default_rng(3).integers(0, 9, (96, 64, 64)).astype(np.uint64)
    gpa.create_zarr(tmp_path / "in.zarr", "ids", gpa.Roi((0, 0, 0), (96, 64, 64)), (1, 1, 1), "uint64")[:] = data
    ids = gpa.ZarrArrayConfig("ids", tmp_path / "in.zarr", "ids")
    binary = gpa.BinarizeArrayConfig("binary", ids, groupings=[("odd", [1, 3, 5, 7])])
    masks = gated(binary, tmp_path / "gate", "masks")
    allow(tmp_path / "gate", 40)
    start = tmp_path / "start"
    start.write_text(
        "#!/bin/sh\n"
        f'case "$DAISY_CONTEXT" in *worker_id=0*) host={hosts[0]};; *) host={hosts[1]};; esac\n'
        f'echo "$host" >> {tmp_path}/hosts\n'
        'exec ip netns exec "$host" "$@"\n'
    )
    start.chmod(0o755)
    out, state = tmp_path / "out.zarr", tmp_path / "out.zarr.gp_arrays/masks"
    running = {}

    def cut():
        wait_for(lambda: done_of(state, "masks", (12, 8, 8)).sum() > 20 and len(workers_of(state)) == 2)
        running["workers"] = workers_of(state)
        ip("link", "set", hosts[0][-13:], "down")
        allow(tmp_path / "gate")

    thread = threading.Thread(target=cut)
    thread.start()
    result = gpa.materialize(
        masks,
        out,
        chunks=(8, 8, 8),
        block=(8, 8, 8),
        progress=False,
        workers=gpa.Workers(timeout=5),
        worker_command=f"{start} {{worker}}",
        host=here,
    )
    thread.join()
    assert result.ok
    assert result.failed == ()
    assert set((tmp_path / "hosts").read_text().split()) == set(hosts)
    np.testing.assert_array_equal(gpa.open_zarr(out, "masks")[0], (data % 2 == 1).astype(np.uint8))
    wait_for(lambda: not any(map(alive, running["workers"])))
