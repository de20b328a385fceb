"""The catalogue of faults: what each entry is about, which tests inject it, and what none can inject here.

``pytest --fault-table`` prints it. The tests are found by their ``pytest.mark.fault(N)``, which must be written on a
test or as its module's ``pytestmark``.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import indent

TESTS = Path(__file__).parent

ENTRIES: Mapping[int, str] = dict(
    enumerate(
        """
        killed after reading a file, before its row
        killed after the row, before sending
        killed while sending
        killed with an answer that is not durable
        killed around a commit of the ledger
        killed inside a write of the sink
        killed between write and fsync of the sink
        killed between fsync and the ledger's note of it
        killed before the input is put away
        killed after the input was put away
        killed at random
        killed while recovering
        out of memory, and inputs that kill
        stopped and continued
        told to stop at any moment
        told to stop twice
        process 1
        more time to drain than the orchestrator gives
        a bug in one task
        the ledger's thread dies
        the event loop stands still
        power cut at random
        power cut after a result was logged
        power cut undoes a rename
        ledger lost or rolled back, sink kept
        ledger damaged or foreign
        disk full under the results
        disk full under the ledger only
        no inodes
        quota and file size limit
        short writes
        EIO at write
        EIO at fsync
        interrupted calls
        slow disk
        read-only at the start
        turns read-only
        the results' path is no file of ours
        drafts on another file system
        results changed by others
        two processes on one file
        the name of a result is taken
        a Postgres sink in all its troubles
        ledger locked, or on a network file system
        a result too large for its broker
        the log cannot be written
        half-written file
        file changes while it is read
        file disappears
        several workers on one folder
        a worker dies holding files
        empty files
        files that are no X12
        broken envelopes
        files too large
        symlinks and second names
        FIFOs, sockets, devices, folders
        unreadable files
        odd names
        very many files
        the same content again
        the same name again
        the folder goes away
        modification times far off
        wall clock jumps
        monotonic clock far ahead, or starting anew
        time zones
        token endpoint down
        token endpoint slow
        token endpoint answers nonsense
        credentials refused
        token endpoint asks to wait
        a token's life in all spellings
        tokens that fit no header
        token revoked under many calls
        401 for ever
        403
        a secret that is none
        secret rotated
        a caller of the token cancelled
        token endpoint redirects
        errors inside HTTP 200
        answers without sense, ids twice
        answers of another type
        truncated answers
        refused requests
        a claim too large for the service
        told to wait
        5xx once, for a minute, for ever
        504 although it was done
        redirects
        interim and odd statuses
        answers in a trickle
        answers without end
        packed answers
        JSON that is none
        an answer to another claim
        connections reset
        lost race for an idle connection
        service slower than its gateway
        names that do not resolve
        connections that fail
        TLS that cannot be trusted
        connections half open
        an environment that redirects or tells
        proxies that fail
        redelivery, leases and acks lost
        broker restarts with messages in flight
        a message that kills
        a broker's queues and streams tampered with
        """.strip().splitlines(),
        start=1,
    )
)

WITHOUT: Mapping[int, str] = {}
"""Entries that no test covers, with the reason."""

IN_PART: Mapping[int, str] = {
    13: "a file that kills while it is looked through in the input folder, before it is taken, is not counted",
    18: "the setting's warning; a kill after too short a grace is a kill at random (11)",
    32: "by strace on this worker's calls, not by a broken device",
    44: "a network file system cannot be mounted here: its name in the mount table is what is tested",
    110: "Kafka has no source here",
}
"""Entries of which a part is not tested, with the reason."""


def covering() -> dict[int, list[str]]:
    """Find the tests of each entry, as ``path::name`` below ``tests``."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for path in TESTS.rglob("test_*.py"):
        where = path.relative_to(TESTS).as_posix()
        for name, numbers in _marked(ast.parse(path.read_bytes())):
            for number in numbers:
                found[number].add(f"{where}::{name}")
    return {number: sorted(tests) for number, tests in sorted(found.items())}


def table() -> str:
    """Draw the whole catalogue, its tests below each entry."""
    found = covering()
    return "\n".join(_drawn(number, found) for number in ENTRIES)


def unaccounted(found: Mapping[int, list[str]], without: Mapping[int, str] = WITHOUT) -> list[str]:
    """Say what is wrong: entries with neither a test nor a reason, reasons beside tests, numbers of no entry."""
    return [
        *(f"{number} has neither a test nor a reason" for number in ENTRIES if number not in {*found, *without}),
        *(f"{number} has tests and a reason for having none" for number in without if number in found),
        *(f"{number} is said to be covered in part and is not" for number in IN_PART if number not in found),
        *(f"{number} is no entry: {found[number][0]}" for number in found if number not in ENTRIES),
    ]


def _drawn(number: int, found: Mapping[int, list[str]]) -> str:
    lines = list(found.get(number, ()))
    lines += [f"not in part: {IN_PART[number]}"] if number in IN_PART else []
    lines += [f"none: {WITHOUT[number]}"] if number in WITHOUT else []
    return f"{number:>3}  {ENTRIES[number].strip()}\n" + indent("\n".join(lines), " " * 5)


def _marked(module: ast.Module) -> Iterator[tuple[str, list[int]]]:
    of_all = [
        number
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for number in _numbers(node)
    ]
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, of_all + [number for mark in node.decorator_list for number in _numbers(mark)]


def _numbers(node: ast.AST) -> Iterator[int]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault":
            yield from (number.value for number in call.args if isinstance(number, ast.Constant))  # type: ignore[misc]
