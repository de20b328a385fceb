"""What callers do to the standard streams: close them, fill them, give them another encoding."""

import sys
from collections.abc import Sequence

import pytest

from tests.e2e.harness import WORKER, Run, Site
from tests.oracle import read_results
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec


def redirected(site: Site, arguments: Sequence[str], redirection: str, **environ: str) -> Run:
    program = ("sh", "-c", f'exec "$@" {redirection}', "sh", *WORKER)
    return Run(site, arguments, environ, program=program).wait()


def worked_site(site: Site) -> Site:
    write_folder(site.inbox, files=1, spec=GeneratorSpec(claims=3, first_ordinal=720_001, planted={"OK-": 1.0}))
    site.run_once()
    return site


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_a_run_whose_streams_are_closed_leaves_its_results_and_ends_well(site: Site, closed: str) -> None:
    write_folder(site.inbox, files=1, claims_per_file=3, spec=GeneratorSpec(claims=3, planted={"OK-": 1.0}))

    done = redirected(site, ["run", "--once"], closed)

    assert done.returncode == 0
    assert [result["disposition"] for result in read_results(site.results)] == ["accepted"] * 3
    assert site.run("status", "--reconcile").returncode == 0


def test_an_answer_that_nobody_wants_to_hear_is_no_crash(site: Site) -> None:
    worked_site(site)

    done = redirected(site, ["status"], ">&-")

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", [["status"], ["results", "--format", "csv"], ["--help"]])
def test_a_reader_that_has_enough_ends_a_command_as_it_ends_the_shells_own_tools(
    site: Site, command: list[str]
) -> None:
    worked_site(site)
    program = ("bash", "-c", '"$@" | true; exit "${PIPESTATUS[0]}"', "bash", *WORKER)

    done = Run(site, command, {}, program=program).wait()

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("command", [["status"], ["results", "--format", "csv"]])
def test_an_answer_that_does_not_fit_is_said_to_be_unwritten(site: Site, command: list[str]) -> None:
    worked_site(site)

    done = redirected(site, command, "> /dev/full")

    assert done.returncode == 3
    assert done.stderr.startswith(b"precheck-worker: the answer cannot be written: No space left on device")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [["results"], ["results", "--format", "csv"], ["inspect", "spool/in"]])
def test_characters_that_a_stream_cannot_encode_do_not_end_the_command(site: Site, command: list[str]) -> None:
    write_folder(site.inbox, files=1, spec=GeneratorSpec(claims=1, first_ordinal=720_002, planted={"OK-": 1.0}))
    site.run_once()
    write_folder(site.inbox, files=1, spec=GeneratorSpec(claims=1, first_ordinal=720_003, planted={"OK-": 1.0}))

    done = site.run(*command, PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert b"task.failed" not in done.stderr


INTERRUPTED = """
import os, runpy, signal, sys

def interrupt(frame, event, _):
    if f"{frame.f_code.co_filename}:{frame.f_code.co_name}".endswith(where) and loading in sys.modules:
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGINT)

where, loading = sys.argv.pop(1), sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell has started in the background
sys.setprofile(interrupt)
runpy.run_module("worker", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("where", "loading"),
    [
        ("worker/signals.py:<module>", "worker"),
        ("worker/cli/__init__.py:<module>", "worker.cli"),
        ("importlib._bootstrap>:cb", "worker.cli"),  # what is raised there is printed, and forgotten
        ("typer/main.py:get_command", "worker.cli"),
    ],
)
def test_an_interrupt_while_the_program_is_loaded_ends_it_without_a_traceback(
    site: Site, where: str, loading: str
) -> None:
    done = Run(site, [where, loading, "status"], {}, program=(sys.executable, "-c", INTERRUPTED)).wait()

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
