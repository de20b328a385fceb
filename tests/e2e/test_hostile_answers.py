"""None of the hostile answers yields a wrong verdict, a leak, a hang or memory without bound."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.harness import Run, Simulator, Site, log_lines
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, assert_silent_about, read_results
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec
from worker.simulator.hostile import BOMB_BYTES, LENGTHY_BYTES, NAMES

MEMORY_CAP_BYTES = 200 << 20
LENGTHY_CAP_BYTES = 400 << 20
UNDECIDED = {"undetermined", "review", "undelivered"}
# What each claim's number asks the simulator for, and so the truth about the claim.
TRUTHS = {"OK-": "accepted", "REJ7-": "rejected", "M301-": "rejected"}


@pytest.fixture(scope="module")
def hostile() -> Iterator[Simulator]:
    """One simulator whose faults each test sets anew."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.02")
    yield simulator
    simulator.close()


@pytest.fixture
def elsewhere() -> Iterator["Elsewhere"]:
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


class Elsewhere:
    """Another host: counts who comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.visits = 0
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            with closing(visitor):
                self.visits += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def put_each(folder: Path, claims: int) -> None:
    """Write a file for each truth; the claims of all have numbers of their own."""
    for place, magic in enumerate(TRUTHS, start=1):
        first = 100_000 * place
        spec = GeneratorSpec(claims=claims, first_ordinal=first, control_number=first, planted={magic: 1.0})
        write_folder(folder, files=1, claims_per_file=claims, spec=spec, prefix=magic.rstrip("-"))


def assert_nobody_was_fooled(site: Site, done: Run, claims: int) -> list[str]:
    """Hold each result against the truth; returns the dispositions of those that are decided."""
    results = read_results(site.results)
    assert done.returncode == 0
    assert_one_result_each(results, len(TRUTHS) * claims)
    assert_ledger_at_rest(site.ledger)
    decided = [result for result in results if result["disposition"] not in UNDECIDED]
    for result in decided:
        magic = result["patient_control_number"].rpartition("-")[0] + "-"
        assert result["disposition"] == TRUTHS[magic]
    numbers = [result["patient_control_number"] for result in results]
    assert_silent_about([*numbers, "simulator-secret", "sim-"], done.stdout, done.stderr)
    assert not any(line["event"] == "task.failed" for line in log_lines(done.stdout))
    assert done.peak_bytes < MEMORY_CAP_BYTES
    return [result["disposition"] for result in decided]


QUICK = {
    "PRECHECK_API__ATTEMPT_TIMEOUT_S": "1.5",
    "PRECHECK_API__CONNECT_TIMEOUT_S": "1.5",
    "PRECHECK_API__MAX_RESPONSE_BYTES": str(1 << 20),
    "PRECHECK_RETRY__MAX_ATTEMPTS": "12",
    "PRECHECK_RETRY__BUDGET_RATIO": "0.9",
}


@pytest.mark.fault(84)
@pytest.mark.fault(91)
@pytest.mark.fault(93)
@pytest.mark.fault(94)
@pytest.mark.fault(95)
@pytest.mark.fault(96)
@pytest.mark.fault(97)
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_answer_in_three_fools_nobody(
    site: Site, hostile: Simulator, elsewhere: Elsewhere, name: str
) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = hostile.origin
    hostile.set_faults(**dict.fromkeys(NAMES, 0.0), redirect_to=elsewhere.address)
    hostile.set_faults(**{name: 0.33})
    put_each(site.inbox, 20)

    done = site.start("run", "--once", **QUICK).wait()

    decided = assert_nobody_was_fooled(site, done, 20)
    assert hostile.get("stats")["faults"][name] >= 10
    assert elsewhere.visits == 0
    assert set(decided) == {"accepted", "rejected"}
    assert BOMB_BYTES > MEMORY_CAP_BYTES // 4  # or a bomb that goes off would not be seen


@pytest.mark.fault(97)
def test_all_of_them_at_once_under_load_fool_nobody(site: Site, hostile: Simulator) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = hostile.origin
    hostile.set_faults(**{**dict.fromkeys(NAMES, 0.02), "unsolicited": 0.2, "wrong_answer": 0.1})
    put_each(site.inbox, 200)

    done = site.start("run", "--once", **QUICK, PRECHECK_FLOW__MODE="fixed", PRECHECK_FLOW__MAX_IN_FLIGHT="64").wait(
        within_s=120
    )

    decided = assert_nobody_was_fooled(site, done, 200)
    assert len(decided) > 300
    assert hostile.get("stats")["faults"].keys() == set(NAMES)


@pytest.mark.fault(97)
def test_answers_of_megabytes_are_taken_and_kept_few_at_a_time(site: Site, hostile: Simulator) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = hostile.origin
    hostile.set_faults(**dict.fromkeys(NAMES, 0.0))
    hostile.set_faults(lengthy=1.0)
    put_each(site.inbox, 80)

    done = site.run_once(PRECHECK_FLOW__MODE="fixed", PRECHECK_FLOW__MAX_IN_FLIGHT="200")

    results = read_results(site.results)
    assert done.returncode == 0
    assert_one_result_each(results, len(TRUTHS) * 80)
    assert {result["disposition"] for result in results} == {"accepted", "rejected"}
    assert sum(len(result["x12_277ca"] or "") for result in results) > 100 * LENGTHY_BYTES
    assert done.peak_bytes < LENGTHY_CAP_BYTES


def test_a_simulator_whose_client_hangs_up_on_an_endless_answer_has_nothing_to_complain_of(tmp_path: Path) -> None:
    with Simulator("--profile", "fast", "--fault", "endless=1.0") as simulator:
        site = Site(tmp_path, simulator.origin)
        write_folder(site.inbox, files=4, spec=GeneratorSpec(claims=1))

        done = site.run_once(PRECHECK_RETRY__MAX_ATTEMPTS="2")

    assert done.returncode == 0
    assert "library.logged" not in simulator.stderr
