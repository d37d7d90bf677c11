"""A request becomes a list of tasks, each with its region and the tasks that give its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np

import gp_arrays as gpa
from gp_arrays.model.evaluate import make_tasks, owned, run
from gp_arrays.model.meta import Region


def raw(**fields: Any) -> Any:
    return gpa.NumpyArrayConfig("raw", data=np.arange(64, dtype=np.uint8).reshape(8, 8), **fields)


def diamond() -> Any:
    """Two arrays of one source, and their sum."""
    source = raw()
    low, high = gpa.ThresholdArrayConfig("low", source, 9, above=False), gpa.ThresholdArrayConfig("high", source, 50)
    return gpa.compile_plan({"low": low, "sum": gpa.SumArrayConfig("sum", [low, high, low])})


def test_each_part_says_which_task_it_comes_from() -> None:
    tasks = make_tasks(diamond(), [(3, Region((2, 0), (4, 8)))])
    assert [task.step for task in tasks.tasks] == [0, 1, 2, 3]
    source, *_, top = tasks.tasks
    assert [part.task.step for part in top.parts if part is not None] == [1, 2, 1]
    assert {part.task for task in tasks.tasks[1:3] for part in task.parts if part is not None} == {source}
    assert [part.task for part in tasks.results] == [top]


def test_contexts_are_computed_once(monkeypatch: Any) -> None:
    calls: list[str] = []
    context = gpa.ThresholdArrayConfig.context

    def counted(self: Any, *arguments: Any) -> Any:
        calls.append(self.name)
        return context(self, *arguments)

    monkeypatch.setattr(gpa.ThresholdArrayConfig, "context", counted)
    plan = diamond()
    run(make_tasks(plan, [(3, Region((0, 0), (8, 8))), (1, Region((0, 0), (8, 8)))]))
    assert sorted(calls) == ["high", "low"]


def test_a_request_inside_another_is_a_part_of_its_task() -> None:
    tasks = make_tasks(diamond(), [(1, Region((0, 0), (8, 8))), (1, Region((2, 2), (3, 4)))])
    assert [task.step for task in tasks.tasks] == [0, 1]
    outer, part = run(tasks)
    assert part.tolist() == outer[2:3, 2:4].tolist()
    outer[...] = 7  # the results share no memory
    assert part.tolist() == [[0, 0]]


def test_regions_in_one_chunk_are_read_together(tmp_path: Any) -> None:
    array = gpa.create_zarr(tmp_path / "a.zarr", "raw", gpa.Roi((0,), (64,)), (1,), "uint8", chunks=(16,))
    index = array.index
    requests = [(index, Region((0,), (2,))), (index, Region((60,), (62,))), (index, Region((10,), (12,)))]
    (regions,) = make_tasks(array.plan, requests).regions().values()
    assert sorted(regions, key=lambda region: region.begin) == [Region((0,), (12,)), Region((60,), (62,))]


def test_the_most_bytes_held_at_once() -> None:
    plan = diamond()
    everything = Region((0, 0), (8, 8))
    # raw, low and high hold 64 bytes each when the sum is computed, raw is gone by then; a sum
    # of three uint8 is uint16: 128 bytes, and as many while it is computed
    assert make_tasks(plan, [(3, everything)]).peak_bytes() == 64 + 64 + 2 * 128
    # low was requested too, but it is held anyway
    assert make_tasks(plan, [(3, everything), (1, everything)]).peak_bytes() == 64 + 64 + 2 * 128


def test_an_array_that_is_not_read_has_no_task() -> None:
    plan = gpa.compile_plan({"ones": gpa.OnesArrayConfig("ones", raw())})
    tasks = make_tasks(plan, [(1, Region((0, 0), (2, 2)))])
    assert [(task.step, task.parts) for task in tasks.tasks] == [(1, [None])]
    assert run(tasks)[0].tolist() == [[True, True], [True, True]]


def test_voxels_are_copied_unless_nothing_else_refers_to_their_memory() -> None:
    new = np.arange(6)
    assert owned(new) is new
    reshaped = np.arange(6).reshape(2, 3)
    assert owned(reshaped) is reshaped
    buffer = np.arange(6)
    shared = [buffer.reshape(2, 3), np.frombuffer(bytearray(48)).reshape(2, 3), np.arange(6).reshape(2, 3)[:1]]
    shared += [np.arange(6).reshape(2, 3).T, np.broadcast_to(np.arange(3), (2, 3))]
    for voxels in shared:
        copy = owned(voxels)
        assert not np.may_share_memory(copy, voxels)
        np.testing.assert_array_equal(copy, voxels)
        assert copy.flags.c_contiguous
    assert not np.may_share_memory(owned(new, [new]), new)
