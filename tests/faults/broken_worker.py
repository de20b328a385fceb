"""The worker with one part broken on purpose, as a program: ``broken_worker.py FAULT run --once``.

What a test of crashes is worth shows only where it fails; and some faults no file or socket of the outside can
inject. Both need another worker than the one that ships, so its parts are replaced here, in a process of its own.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from threading import Event
from typing import Any

from structlog.tracebacks import ExceptionDictTransformer

from worker import app, preparing
from worker.cli import main
from worker.ledger import sqlite
from worker.ledger.commits import Group
from worker.ledger.writer import Step, Writer
from worker.precheck import client
from worker.precheck.verdict import HttpAnswer, Rules, judge
from worker.result import Verdict
from worker.sinks import jsonl
from worker.sinks.scan import Scan
from worker.sources import reading
from worker.sources.reading import Reading, SurveyOf
from worker.telemetry import logs
from worker.telemetry.watchdog import watch_loop
from worker.x12 import ClaimFacts, Single, SplitClaim, Survey, read_single, split

SLOW_FSYNC_S = 0.7
BLOCKED_S = 4.0
POISON = "E999-"  # one of the simulator's magic values, for the generator takes no others
SOUND_COMMITS = 5


class Gone(BaseException):
    """What no `except Exception` catches."""


def without_rescan() -> None:
    """Let the jsonl sink believe that it holds nothing after the ledger's position."""
    vars(jsonl)["scan"] = lambda fd, *_: Scan(set(), os.fstat(fd).st_size)


def with_slow_fsync() -> None:
    """Let each fsync of a file take its time."""
    sync = os.fsync

    def fsync_slowly(fd: int) -> None:
        time.sleep(SLOW_FSYNC_S)
        sync(fd)

    vars(os)["fsync"] = fsync_slowly


def with_a_ledger_bug() -> None:
    """Let a bug in the ledger's thread show after some commits."""
    _break_writer(lambda: RuntimeError("planted"))


def with_a_lost_ledger_thread() -> None:
    """Let the ledger's thread end by what nobody expects after some commits."""
    _break_writer(lambda: Gone("planted"))


def with_a_blocked_loop() -> None:
    """Let reading the third answer take some seconds, in which nothing else runs."""
    judged = count(1)

    def judge_slowly(*arguments: Any) -> Verdict:
        if next(judged) == 3:
            time.sleep(BLOCKED_S)
        return judge(*arguments)

    vars(client)["judge"] = judge_slowly
    vars(app)["watch_loop"] = partial(watch_loop, BLOCKED_S / 4)


def with_a_bug_in_reading_answers() -> None:
    """Let every fifth answer meet a bug."""
    judged = count(1)

    def judge_badly(answer: HttpAnswer, facts: ClaimFacts, rules: Rules) -> Verdict:
        number = facts.patient_control_number  # what a traceback with local variables would tell
        if next(judged) % 5 == 0:
            raise RuntimeError(f"planted: {number}")
        return judge(answer, facts, rules)

    vars(client)["judge"] = judge_badly


def with_a_bug_in_splitting() -> None:
    """Let cutting a claim whose number says so meet a bug."""

    def split_badly(chunks: Iterable[bytes], survey: Survey, *, seed: int, mode: str) -> Iterator[SplitClaim]:
        for one in split(chunks, survey, seed=seed, mode=mode):
            if one.facts.patient_control_number.startswith(POISON):
                raise RuntimeError("planted")
            yield one

    vars(preparing)["split"] = split_badly


def that_dies_in_splitting() -> None:
    """Let cutting a claim whose number says so end the process, as running out of memory would."""

    def split_to_death(chunks: Iterable[bytes], survey: Survey, *, seed: int, mode: str) -> Iterator[SplitClaim]:
        for one in split(chunks, survey, seed=seed, mode=mode):
            if one.facts.patient_control_number.startswith(POISON):
                os.kill(os.getpid(), signal.SIGKILL)
            yield one

    vars(preparing)["split"] = split_to_death


def that_dies_in_reading() -> None:
    """Let reading a file with such a claim, small or large, end the process before it is taken."""
    read_through = reading.read_through

    def read_single_to_death(data: bytes) -> Single | None:
        if POISON.encode() in data:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_single(data)

    def read_through_to_death(fd: int, survey: SurveyOf, stopped: Event) -> Reading:
        if POISON.encode() in os.pread(fd, 4096, 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return read_through(fd, survey, stopped)

    vars(reading).update(read_single=read_single_to_death, read_through=read_through_to_death)


def that_logs_local_variables() -> None:
    """Let a bug be told as rich and structlog tell it by default: with all that was at hand."""
    with_a_bug_in_reading_answers()
    tell = ExceptionDictTransformer(show_locals=True, use_rich=False)

    def with_locals(error: BaseException) -> dict[str, Any]:
        return {"frames": tell((type(error), error, error.__traceback__))}

    vars(logs)["exception_fields"] = with_locals


def _break_writer(failure: Callable[[], BaseException]) -> None:
    class BreakingWriter(Writer):
        commits = 0

        def write(self, group: Group[Step]) -> None:
            BreakingWriter.commits += 1
            if BreakingWriter.commits > SOUND_COMMITS:
                raise failure()
            super().write(group)

    vars(sqlite)["Writer"] = BreakingWriter


FAULTS = {
    each.__name__: each
    for each in (
        without_rescan,
        with_slow_fsync,
        with_a_ledger_bug,
        with_a_lost_ledger_thread,
        with_a_blocked_loop,
        with_a_bug_in_reading_answers,
        with_a_bug_in_splitting,
        that_dies_in_splitting,
        that_dies_in_reading,
        that_logs_local_variables,
    )
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    main()
