"""The laws of arrays that appended gunpowder nodes compute."""

from __future__ import annotations

from typing import Any

import numpy as np
from oracles.appended import add_sign

import gp_arrays as gpa
from gp_arrays.testing import ArrayTypeLaws
from gp_arrays.train.pipeline_array import PipelineArrayConfig


class TestLaws(ArrayTypeLaws):
    type = PipelineArrayConfig

    def configs(self, folder: Any) -> Any:
        data = np.random.default_rng(0).integers(-2, 3, (2, 4, 5)).astype("i2")
        plain = gpa.NumpyArrayConfig("plain", data=data[0], offset=(1, 2), voxel_size=(2, 3))
        stack = gpa.NumpyArrayConfig("stack", data=data, axes=("c", "y", "x"))
        return [
            PipelineArrayConfig("signs", plain, add_sign, dtype="int8"),
            PipelineArrayConfig("both", stack, add_sign, dtype="int8", interpolatable=True),
        ]

    def refused(self) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        return [
            lambda value=value: PipelineArrayConfig("p", raw, value) for value in (None, 3, "here", lambda p, s, t: p)
        ]

    def misfits(self, folder: Any) -> Any:
        raw = gpa.DummyArrayConfig("raw")
        return [
            PipelineArrayConfig("p", raw, "oracles.appended:nothing"),
            PipelineArrayConfig("p", raw, add_sign, context_size=(1000, 0, 0)),
            PipelineArrayConfig("p", raw, add_sign, context_size=(1, 1)),
        ]
