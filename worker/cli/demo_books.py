"""Holds a run's results against what the simulator answered: in = out, none twice, the same verdicts."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from worker.result import Disposition, Result, decode_result
from worker.simulator.answers import Entry


class Books(msgspec.Struct, frozen=True):
    """What was found. `problems` is empty if the books balance; `held` counts the verdicts that were compared."""

    results: int
    counts: Counter[str]
    held: int
    problems: list[str]


def read_results(path: Path) -> list[Result]:
    """Read a jsonl sink's file.

    :raises msgspec.DecodeError: if a line is no result.
    """
    with path.open("rb") as lines:
        return [decode_result(line) for line in lines]


def balance(results: Iterable[Result], answers: Iterable[Entry], *, claims_in: int) -> Books:
    """Compare; `claims_in` is how many claims were put in, files that were refused whole left out.

    Results and answers are matched by patient control number, so those must be unique among the claims.
    """
    problems: list[str] = []
    found = list(results)
    ids = Counter(result.result_id for result in found)
    twice = [result_id for result_id, count in ids.items() if count > 1]
    if twice:
        problems.append(f"{len(twice)} results are there more than once, the first is {twice[0]}")
    if len(ids) != claims_in:
        problems.append(f"{claims_in} claims went in, {len(ids)} results came out")
    meant = {answer.patient_control_number: answer for answer in answers}
    held = 0
    for result in found:
        answer = meant.pop(result.patient_control_number or "", None)
        if problem := _compare(result, answer):
            problems.append(problem)
        held += answer is not None
    if meant:
        problems.append(f"{len(meant)} claims were answered and have no result")
    return Books(len(ids), Counter(result.disposition.value for result in found), held, problems)


def _compare(result: Result, answer: Entry | None) -> str | None:
    if answer is None:
        if result.disposition is Disposition.INVALID:
            return None
        return f"{result.claim_id} is {result.disposition.value}, but the simulator was never asked"
    if result.disposition is not answer.meaning:
        return f"{result.claim_id} is {result.disposition.value}, the simulator meant {answer.meaning.value}"
    return None
