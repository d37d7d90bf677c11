"""Journals: exactly the records that workers wrote are read, also from a damaged file."""

import json

import numpy as np
import pytest

from gp_arrays.errors import StoreError
from gp_arrays.storage.journal import (
    BOOT,
    DONE,
    FAILED,
    LEFT,
    MARK,
    RECORD,
    STARTED,
    Journal,
    Mark,
    read_done,
    read_records,
    this_start,
)
from gp_arrays.storage.metadata.documents import Node


def test_records_are_read_as_they_were_written(tmp_path):
    journal = Journal(tmp_path / "j")
    # more than the space that is reserved
    written = [(kind, block) for block in (0, 7, 2**63) for kind in (STARTED, FAILED, DONE)] * 100 + [(LEFT, 0)]
    for kind, block in written:
        journal.add(kind, block)
    records = read_records(tmp_path / "j")
    assert list(zip(records["kind"].tolist(), records["block"].tolist(), strict=True)) == written


def test_zeros_and_incomplete_records_are_ignored(tmp_path):
    (tmp_path / "zeros").write_bytes(bytes(10 * RECORD.size))
    assert len(read_records(tmp_path / "zeros")) == 0
    journal = Journal(tmp_path / "j")
    for block in range(5):
        journal.add(DONE, block + 10)
    data = (tmp_path / "j").read_bytes()
    for cut in range(4 * RECORD.size + 1, 5 * RECORD.size):
        for tail in (b"", bytes(40)):
            (tmp_path / "torn").write_bytes(data[:cut] + tail)
            blocks = read_records(tmp_path / "torn")["block"].tolist()
            # a record may end with bytes that are zero
            assert blocks in ([10, 11, 12, 13], [10, 11, 12, 13, 14])
            assert blocks[4:] == [] or (data[:cut] + tail)[: 5 * RECORD.size] == data[: 5 * RECORD.size]
    assert len(read_records(tmp_path / "nothing")) == 0


def test_every_flipped_bit_of_a_record_is_seen(tmp_path):
    Journal(tmp_path / "j").add(DONE, 3)
    data = bytearray((tmp_path / "j").read_bytes()[: RECORD.size])
    for bit in range(8 * RECORD.size):
        data[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped").write_bytes(data)
        assert len(read_records(tmp_path / "flipped")) == 0, bit
        data[bit // 8] ^= 1 << bit % 8


def test_done_is_the_union_of_journals_and_bitmap(tmp_path):
    folder = tmp_path / "journals/a"
    folder.mkdir(parents=True)
    (tmp_path / "done").mkdir()
    (tmp_path / "done/a").write_bytes(np.packbits([1, 0, 0, 0, 0, 0]).tobytes())
    one, two = Journal(folder / "r-1.0"), Journal(folder / "r-1.1")
    for journal, block in ((one, 1), (two, 1), (two, 4), (two, 99)):  # a block twice, and a block that does not exist
        journal.add(STARTED, block)
        journal.add(DONE, block)
    one.add(FAILED, 5)
    assert read_done(tmp_path, "a", (2, 3)).tolist() == [[True, True, False], [False, True, False]]
    # after a restart of this machine the journals may name blocks whose voxels never reached the disk
    host = this_start().split(" ")[0]
    (tmp_path / BOOT).write_text(f"{host} another-start")
    assert read_done(tmp_path, "a", (2, 3)).sum() == 1
    (tmp_path / BOOT).write_text("another-host start")
    assert read_done(tmp_path, "a", (2, 3)).sum() == 3


@pytest.mark.parametrize("value", [3, {}, {"job": "a"}, [1]])
def test_a_damaged_mark_is_an_error(value):
    with pytest.raises(StoreError, match="mark of an unfinished output is damaged"):
        Mark.of(Node("a", 2, {MARK: value}))


def test_a_mark_is_read_as_it_was_written():
    mark = Mark("id", "labels/a", "state", "a", (0, -4), (2, 8), (3, 1))
    assert Mark.of(Node("a", 2, {MARK: json.loads(json.dumps(mark.document()))})) == mark
    assert Mark.of(Node("a", 2, {})) is None
