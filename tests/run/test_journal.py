import errno
import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from corea.errors import ConfigError, DataError
from corea.run.journal import Journal


def _open(path: Path, tau: float = 0.5, seen: list[tuple[int, bytes]] | None = None) -> Journal:
    def on_trace(row: int, trace: bytes) -> bool:
        if seen is not None:
            seen.append((row, trace))
        return b"failed" not in trace

    return Journal(path).open({"policy": {"tau": tau}}, on_trace)


def _filled(path: Path) -> bytes:
    with _open(path) as journal:
        for row in (2, 0, 1):
            journal.start(row, Decimal("0.5"))
        journal.done(2, 22, b'{"n":2}')
        journal.done(0, 20, b'{"n":0}')
    return path.read_bytes()


def test_what_is_written_is_read_again_in_the_order_of_rows(tmp_path: Path) -> None:
    _filled(tmp_path / "j")
    seen: list[tuple[int, bytes]] = []
    with _open(tmp_path / "j", seen=seen) as journal:
        assert seen == [(2, b'{"n":2}'), (0, b'{"n":0}')]
        assert list(journal.traces()) == [b'{"n":0}', b'{"n":2}']
        assert [journal.finished(row) for row in range(4)] == [True, False, True, False]
        assert (journal.key(2), journal.answered) == (22, 2)
        assert (journal.lost.questions, journal.lost.at_most_usd) == (1, Decimal("0.5"))


def test_a_kill_is_not_forgotten_when_the_question_was_answered_later(tmp_path: Path) -> None:
    _filled(tmp_path / "j")
    with _open(tmp_path / "j") as journal:
        journal.start(1, Decimal("0.25"))
        journal.done(1, 21, b'{"n":1}')
    with _open(tmp_path / "j") as journal:
        assert (journal.lost.questions, journal.lost.at_most_usd) == (1, Decimal("0.5"))


def test_cut_anywhere_it_keeps_every_whole_line(tmp_path: Path) -> None:
    whole = _filled(tmp_path / "j")
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(ends[0], len(whole) + 1):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with _open(tmp_path / "cut") as journal:
            assert (tmp_path / "cut").stat().st_size == max(end for end in ends if end <= cut)
            journal.done(9, 29, b'{"n":9}')
        with _open(tmp_path / "cut") as journal:
            assert list(journal.traces())[-1] == b'{"n":9}'


def test_zeros_after_a_power_cut_are_cut_off(tmp_path: Path) -> None:
    whole = _filled(tmp_path / "j")
    (tmp_path / "j").write_bytes(whole + bytes(100))
    with _open(tmp_path / "j") as journal:
        assert journal.answered == 2


def test_damage_in_the_middle_is_told_with_its_line(tmp_path: Path) -> None:
    whole = bytearray(_filled(tmp_path / "j"))
    whole[whole.index(b'{"n":2}') + 5] ^= 1
    (tmp_path / "j").write_bytes(whole)
    with pytest.raises(DataError, match="j:5: a line before the last is damaged"):
        _open(tmp_path / "j")


def test_another_configuration_or_file_is_refused_in_one_line(tmp_path: Path) -> None:
    _filled(tmp_path / "j")
    with pytest.raises(ConfigError, match=r"j: begun with another configuration: policy\.tau: 0\.5 -> 0\.7; restore"):
        _open(tmp_path / "j", 0.7)
    (tmp_path / "notes").write_text("my notes\n")
    with pytest.raises(DataError, match="is not a journal"):
        _open(tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "my notes\n"
    with pytest.raises(DataError, match="cannot be opened"):
        _open(tmp_path / "no" / "j")


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with _open(tmp_path / "j"), pytest.raises(ConfigError, match="another run is writing it"):
        _open(tmp_path / "j")
    _open(tmp_path / "j").close()


def test_a_failed_question_is_to_be_asked_again_and_the_newest_trace_counts(tmp_path: Path) -> None:
    with _open(tmp_path / "j") as journal:
        journal.done(0, 1, b'{"status":"failed"}')
    with _open(tmp_path / "j") as journal:
        assert not journal.finished(0)
        assert list(journal.traces()) == [b'{"status":"failed"}']
        journal.done(0, 1, b'{"n":0}')
        assert journal.finished(0)
        assert list(journal.traces()) == [b'{"n":0}']
        assert journal.answered == 1


def test_on_a_full_disk_half_a_line_is_taken_back(tmp_path: Path) -> None:
    whole = _filled(tmp_path / "j")

    room = len(whole) + 130  # for one line more and half of another

    def full(descriptor: int, data: bytes) -> int:
        left = room - os.fstat(descriptor).st_size
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data[:left])

    journal = Journal(tmp_path / "j", write=full).open({"policy": {"tau": 0.5}}, lambda row, trace: True)
    with journal:
        journal.done(1, 21, b'{"n":1}')
        journal.done(3, 23, b'{"n":3}')
        with pytest.raises(DataError, match=r"No space left on device.*safe.*same command again") as caught:
            journal.flush()
    assert "\n" not in str(caught.value)
    lines = (tmp_path / "j").read_bytes().removeprefix(whole)
    assert lines.count(b"\n") == 1
    assert b'"done":1' in lines


def test_every_line_is_json_that_other_tools_can_read(tmp_path: Path) -> None:
    lines = [json.loads(line)["line"] for line in _filled(tmp_path / "j").splitlines()]
    assert lines[0] == {"journal": 2, "settings": {"policy": {"tau": 0.5}}}
    assert lines[1] == {"start": 2, "at_most_usd": "0.5"}
    assert lines[4]["trace"] == {"n": 2}


# --- owners -----------------------------------------------------------------------------------------------------------


def _owned(path: Path, epoch: int) -> Journal:
    return Journal(path).open({"a": 1}, lambda row, trace: True, epoch=epoch)


def test_a_worker_earlier_than_the_owner_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    with _owned(tmp_path / "j", 7) as journal:
        journal.done(0, 1, b"{}")
    before = (tmp_path / "j").read_bytes()
    for epoch in (7, 6):
        with pytest.raises(DataError, match=f"j: its owner is worker 7; this earlier worker, {epoch}, is refused"):
            _owned(tmp_path / "j", epoch)
    assert (tmp_path / "j").read_bytes() == before


def test_a_worker_that_wakes_up_after_another_took_over_appends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corea.run.journal.TAKEOVER_SECONDS", 0.0)
    stale = _owned(tmp_path / "j", 1)
    stale.start(0, None)
    stale.flush()
    with _owned(tmp_path / "j", 2) as owner:
        assert owner.lost.questions == 1
        owner.start(0, None)
        owner.done(0, 1, b"{}")
        owner.flush()
        stale.done(0, 1, b"{}")
        with pytest.raises(DataError, match="j: another worker has taken it over, and this one, worker 1, stops"):
            stale.flush()
        stale.close()
        owner.done(1, 2, b"{}")
    with _owned(tmp_path / "j", 3) as third:
        assert (third.answered, third.owner, third.lost.questions) == (2, 2, 1)
