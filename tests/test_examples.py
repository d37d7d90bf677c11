"""Every example runs to its end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

#: A network that examples import; it is not a script.
SHARED = "unet"
EXAMPLES = [path for path in sorted((Path(__file__).parents[1] / "examples").glob("*.py")) if path.stem != SHARED]
#: Examples with networks. They are not slow tests, which run on one Python alone: .ci/run installs torch on another.
WITH_TORCH = {path.stem for path in EXAMPLES if re.search(rf"^ *(import torch|from {SHARED} )", path.read_text(), re.M)}


@pytest.mark.parametrize(
    "script",
    # each takes seconds, and other tests cover the same functions
    [pytest.param(path, marks=[pytest.mark.slow] * (path.stem not in WITH_TORCH), id=path.stem) for path in EXAMPLES],
)
def test_example(script, tmp_path, request):
    arguments = []
    if script.stem in WITH_TORCH:
        pytest.importorskip("torch", reason="the torch extra is not installed")
    if script.stem == "predict":
        # the complete volume and the default number of steps take minutes
        arguments = [str(request.getfixturevalue("fib25")), "--steps", "150", "--size", "120"]
    command = [sys.executable, str(script), *arguments]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
