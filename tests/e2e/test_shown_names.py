"""Names of files and texts as users see them: whatever is in them, they are shown as they are, and can be read."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from tests.e2e.harness import WORKER, Site, log_lines
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

NAMES = ("[bold]claims[bold].837", "a:smile:b.837", "%s{0}.837", "--help", 240 * "x" + ".837")


def named_file(folder: Path, name: str, ordinal: int) -> Path:
    (path,) = write_folder(folder, files=1, spec=GeneratorSpec(claims=1, first_ordinal=ordinal, planted={"OK-": 1.0}))
    return path.rename(folder / name)


def test_names_that_rich_would_take_for_markup_are_shown_as_they_are(site: Site) -> None:
    for number, name in enumerate(NAMES):
        named_file(site.inbox, name, 710_001 + number)
    site.run_once()

    inspected = site.run("inspect", str(next(site.archive.iterdir())))
    status, results = site.run("status"), site.run("results")

    for name in NAMES:
        for told in (inspected, status, results):
            assert name.encode() in told.stdout


def test_inspect_shows_no_control_characters_of_a_name(site: Site) -> None:
    path = named_file(site.root / "outgoing", "red\x1b[31m\n.837", 710_011)

    done = site.run("inspect", str(path))

    assert b"\x1b" not in done.stdout
    assert rb"red\x1b[31m\n.837" in done.stdout


def test_what_a_terminal_would_obey_or_reorder_in_a_claim_is_shown_as_an_escape(site: Site) -> None:
    path = named_file(site.root / "outgoing", "claims.837", 710_012)
    text = path.read_text()
    number = text.partition("CLM*")[2].partition("*")[0]
    path.write_text(text.replace(f"CLM*{number}*", "CLM*OK-\x1b[2J\u202e\x9b1m*"))
    (site.inbox / path.name).write_bytes(path.read_bytes())
    site.run_once()

    inspected = site.run("inspect", "--show-phi", str(path))
    shown, masked = site.run("results", "--show-phi"), site.run("results")

    for told in (inspected, shown, masked):
        assert not re.search("[\x1b\u202e\x9b]", told.stdout.decode())
    assert r"OK-\x1b[2J" in inspected.stdout.decode()
    assert r"OK-\x1b[2J" in shown.stdout.decode()


@pytest.mark.parametrize("command", ["inspect", "submit"])
def test_what_is_no_regular_file_is_named_and_not_waited_for(site: Site, command: str) -> None:
    fifo = site.root / "pipe.837"
    os.mkfifo(fifo)

    done = site.run(command, str(fifo))

    assert done.returncode == 1
    assert b"not processed: not_a_file" in done.stdout


@pytest.mark.parametrize("command", ["inspect", "submit"])
def test_a_folder_in_which_nothing_is_looked_at_is_said_to_hold_no_files(site: Site, command: str) -> None:
    folder = site.root / "outgoing"
    (folder / "2026").mkdir(parents=True)
    (folder / "claims.837.part").write_text("ISA")

    done = site.run(command, str(folder))

    assert b"no files there" in done.stderr
    assert b"claims.837.part" not in done.stdout


def test_inspect_says_why_a_claim_would_be_refused(site: Site) -> None:
    (path,) = write_folder(site.root / "outgoing", files=1, spec=GeneratorSpec(claims=1, payers=("ELSEWHERE",)))

    done = site.run("inspect", str(path))

    assert done.returncode == 1
    assert b"1 claim would be refused: payer_not_supported: the pre-check service does not answer" in done.stdout


def test_a_doubt_about_a_batch_is_logged_with_its_name_and_the_place(site: Site) -> None:
    path = named_file(site.inbox, "doubtful.837", 710_021)
    interchange = path.read_text()
    path.write_text(interchange + interchange.replace("*005010X222A1~", "*005010X222A2~"))

    done = site.run_once()

    (doubt, *_) = [line for line in log_lines(done.stdout) if line["event"] == "batch.doubted"]
    assert (doubt["batch"], doubt["code"], doubt["interchange"]) == ("doubtful.837", "guide_unexpected", 2)


def on_terminal(site: Site, columns: int, *arguments: str) -> list[str]:
    """Run a command on a terminal of so many columns; return the lines that it shows there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    told = {name: value for name, value in site.environ.items() if name != "COLUMNS"}  # xdist's, for its workers
    process = subprocess.Popen(
        [*WORKER, *arguments],
        cwd=site.root,
        env={**told, "TERM": "xterm", "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # EIO: nobody has the other end any more
            break
    os.close(ours)
    assert process.wait() == 0
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).split("\n")]


def test_reasons_can_be_read_on_a_narrow_terminal(site: Site) -> None:
    named_file(site.inbox, "claims.837", 710_021)
    site.run_once()

    narrow, wide = (on_terminal(site, columns, "results") for columns in (80, 250))

    assert narrow[0].split()[1:] == ["accepted", "claims.837"]
    assert narrow[1].startswith("  A2:20: The payer's check accepted the claim: ")
    assert max(map(len, narrow)) <= 80
    assert wide[0].split()[:3] == ["claim", "file", "disposition"]
    assert "accepted for processing (A2:20)." in wide[1]


def test_a_filter_that_nothing_passes_is_told(site: Site) -> None:
    site.run_once()

    assert b"no results match" in site.run("results", "--batch", "no-such.837").stderr
