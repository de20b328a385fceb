"""A whole run over a link that loses packets, or is narrow: the same verdicts as over a good one, later.

Real are the processes, the sockets and the kernel's TCP on both sides; what is bad about the link is told in
`tests.faults.badlink`.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.e2e.harness import log_lines
from tests.faults.badlink import FILES, MAX_ATTEMPTS, PER_FILE
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results

pytestmark = pytest.mark.fault(102)

ALONE = ("unshare", "--net")
CLAIMS = FILES * PER_FILE
BURST_S = 0.33  # 4 kB that may go at once


class Ended(msgspec.Struct):
    """What a run came to: what `badlink` told, the results by claim number, the log."""

    told: dict[str, Any]
    results: dict[str, dict[str, Any]]
    log: list[dict[str, Any]]

    @property
    def verdicts(self) -> dict[str, tuple[str, str | None]]:
        return {name: (each["disposition"], each["status_code"]) for name, each in self.results.items()}

    @property
    def attempts(self) -> dict[str, int]:
        return {name: each["attempts"] for name, each in self.results.items()}


@pytest.fixture(scope="module")
def namespaces() -> None:
    allowed = subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode == 0
    if os.geteuid() or not allowed or not Path("/dev/net/tun").exists():
        pytest.skip("needs root, /dev/net/tun and the right to make network namespaces")


@pytest.fixture(scope="module")
def good(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The same claims over the same link, when it is well."""
    return run_over(tmp_path_factory.mktemp("good"), loss=0.0)


def run_over(root: Path, *, loss: float, rate: str = "-", attempt_timeout_s: float = 15.0) -> Ended:
    command = [*ALONE, sys.executable, "-m", "tests.faults.badlink", str(root), str(loss), rate, str(attempt_timeout_s)]
    done = subprocess.run(command, check=False, capture_output=True, timeout=140, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["code"] == 0, done.stderr.decode()
    results = read_results(root / "spool/out/results.jsonl")
    assert_one_result_each(results, CLAIMS)
    assert_ledger_at_rest(root / "spool/state/ledger.db")
    return Ended(
        told, {each["patient_control_number"]: each for each in results}, log_lines((root / "worker.log").read_bytes())
    )


def assert_same_verdicts(ended: Ended, good: Ended) -> None:
    """Every claim has the verdict that it has over a good link.

    But for those that the API never finishes checking: they use up their attempts over any link, and over a bad one
    the last of them may be lost.
    """
    unfinished = {name for name, most in good.attempts.items() if most == MAX_ATTEMPTS}
    lost = {name for name in unfinished if ended.verdicts[name] == ("undelivered", None)}

    assert 0 < len(unfinished) < CLAIMS / 10
    assert {**ended.verdicts, **{name: good.verdicts[name] for name in lost}} == good.verdicts
    assert {name: ended.attempts[name] for name in lost} == dict.fromkeys(lost, MAX_ATTEMPTS)


def assert_attempts_counted_once(ended: Ended) -> None:
    """Every attempt that arrived was counted, and every attempt but a claim's last left its line."""
    retried = Counter(line["claim_id"] for line in ended.log if line["event"] == "claim.retried")
    counted = {each["claim_id"]: each["attempts"] for each in ended.results.values()}
    free = Counter(line["claim_id"] for line in ended.log if line.get("reason") == "idle_connection_lost")

    assert {name: most for name, most in ended.told["received"].items() if most > ended.attempts[name]} == {}
    assert counted == {claim_id: 1 + retried[claim_id] - free[claim_id] for claim_id in counted}


@pytest.mark.parametrize(("loss", "attempt_timeout_s"), [(0.15, 15.0), (0.3, 3.0)], ids=["15 %", "30 % and hasty"])
def test_lost_packets_cost_time_and_no_verdict(
    good: Ended, tmp_path: Path, loss: float, attempt_timeout_s: float
) -> None:
    ended = run_over(tmp_path, loss=loss, attempt_timeout_s=attempt_timeout_s)

    assert_same_verdicts(ended, good)
    assert_attempts_counted_once(ended)
    assert ended.told["dropped"] > 0.5 * loss * ended.told["carried"]
    if attempt_timeout_s < 5.0:
        assert sum(ended.attempts.values()) > sum(good.attempts.values())  # some were not answered in time


def test_a_narrow_link_costs_time_and_no_verdict(good: Ended, tmp_path: Path) -> None:
    ended = run_over(tmp_path, loss=0.0, rate="100kbit", attempt_timeout_s=10.0)

    assert_same_verdicts(ended, good)
    assert_attempts_counted_once(ended)
    assert 8 * ended.told["carried_bytes"] < 100_000 * (ended.told["took_s"] + BURST_S)


def test_over_a_good_link_each_claim_costs_what_its_verdict_asks_for(good: Ended) -> None:
    assert good.told["received"] == good.attempts
    assert good.told["dropped"] == 0
    assert_attempts_counted_once(good)
