"""The file that pauses the worker."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.errors import SettingsError, StateError
from worker.pausing import Pause, pause, pause_file, read_pause, resume


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return pause_file(f"sqlite:{tmp_path}/state/ledger.db")


def test_a_pause_holds_until_it_is_resumed_and_says_why(file: Path) -> None:
    before = read_pause(file)
    pause(file, "maintenance", 1_000.0)
    held = read_pause(file)
    ended = resume(file)

    assert (before, held, ended) == (None, Pause(1_000.0, "maintenance"), True)
    assert read_pause(file) is None
    assert not resume(file)


def test_it_stands_beside_the_ledger_and_is_private(file: Path) -> None:
    pause(file, "", 1.0)

    assert file.name == "ledger.db.paused"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_another_reason_takes_the_place_of_the_first(file: Path) -> None:
    pause(file, "one", 1.0)
    pause(file, "two", 2.0)

    assert read_pause(file) == Pause(2.0, "two")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"since": "soon"}', b'{"since": 1, "reason": "\\u001b[2J"}'])
def test_whatever_is_in_it_its_presence_pauses(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)

    found = read_pause(file)

    assert found is not None
    assert found.reason == ""


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda file: file.symlink_to("/nowhere")])
def test_what_is_no_file_pauses_and_is_not_waited_for(file: Path, make: Callable[[Path], None]) -> None:
    file.parent.mkdir()
    make(file)

    assert read_pause(file) is not None


@pytest.mark.parametrize("reason", ["two\nlines", "\x1b[2J", "long" * 100])
def test_a_reason_that_is_no_line_is_refused_and_nothing_is_paused(file: Path, reason: str) -> None:
    with pytest.raises(SettingsError, match="--reason"):
        pause(file, reason, 1.0)

    assert read_pause(file) is None


def test_a_pause_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")

    with pytest.raises(StateError, match="pause: cannot write"):
        pause(pause_file(f"sqlite:{tmp_path}/state/ledger.db"), "", 1.0)


def test_a_state_without_a_place_for_it_is_told() -> None:
    with pytest.raises(SettingsError, match=r"state\.url"):
        pause_file("postgresql://host/db")
