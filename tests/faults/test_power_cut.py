"""Power cuts: what was logged as done is done, whatever the disk had not yet got.

CI runs four cuts at random moments. The long form:
``PRECHECK_POWER_CUTS=40 pytest tests/faults/test_power_cut.py -k random -s``.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from random import Random

import pytest

from tests.e2e.harness import Simulator
from tests.faults.crashing import hold_against
from tests.faults.powercut import FILE_SYSTEMS, Scene, disk_of
from tests.oracle import read_results

CUTS = int(os.environ.get("PRECHECK_POWER_CUTS", "4"))
CUTS_A_DISK = 2
DISKS_A_KIND = max(1, CUTS // CUTS_A_DISK // len(FILE_SYSTEMS))
CLAIMS = 120
CONTROL_TRIES = 3
# Exit code, and whether claims were sent again: a results file shorter than the ledger says is refused; a ledger
# that was rolled back asks for what it has forgotten.
CONTROL_ENDS = {"sink": (3, False), "ledger": (0, True)}

NewScene = Callable[[str], Scene]

pytestmark = pytest.mark.slow
on_both = pytest.mark.parametrize("kind", FILE_SYSTEMS)


@pytest.fixture(scope="module")
def own_simulator() -> Iterator[Simulator]:
    """Answers after some 50 ms, so that a cut finds calls under way; its books hold our claims only."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.02")
    yield simulator
    simulator.close()


@pytest.fixture(scope="module")
def scene_numbers() -> Iterator[int]:
    """Numbers for scenes, so that no two have a claim in common."""
    return count()


@pytest.fixture
def new_scene(tmp_path: Path, own_simulator: Simulator, scene_numbers: Iterator[int]) -> Iterator[NewScene]:
    """Makes a scene on a new disk with a file system of the given kind."""
    with ExitStack() as disks:

        def make(kind: str) -> Scene:
            number = next(scene_numbers)
            folder = tmp_path / str(number)
            folder.mkdir()
            return Scene(disks.enter_context(disk_of(kind, folder)), own_simulator, folder, number)

        yield make


@pytest.mark.fault(22)
@pytest.mark.parametrize("number", range(DISKS_A_KIND))
@on_both
def test_power_cuts_at_random_moments_leave_one_result_per_claim(new_scene: NewScene, kind: str, number: int) -> None:
    scene, random = new_scene(kind), Random(f"{kind} {number}")
    scene.deliver(claims=250)
    scene.deliver(files=50)
    claims = scene.given.claims.total()

    with scene.live() as life:
        life.await_lines("worker.started", 1)
        life.await_lines("claim.completed", random.randint(0, claims))
        time.sleep(random.uniform(0, 0.05))
        life.end_with(scene.disk)
    scene.assert_settled_are_archived()
    first = len(scene.completed())
    with scene.live() as life:
        time.sleep(random.uniform(0.3, 1.3))  # from its start, so that its recovery may be hit
        life.end_with(scene.disk)
    scene.assert_settled_are_archived()
    done = scene.site.run_once()

    results = read_results(scene.site.results)
    ids = {result["result_id"] for result in results}
    print(  # noqa: T201 - the long form's figures
        f"\n{kind} {number}: cuts after {first} and {len(scene.completed())} of {claims} claims,"
        f" lost {claims - len(ids)}, twice {len(results) - len(ids)}, asked again {len(scene.asked_again())}"
    )
    scene.assert_survived(done)


@pytest.mark.fault(23)
@on_both
def test_what_was_logged_just_before_the_cut_is_there_and_not_asked_again(new_scene: NewScene, kind: str) -> None:
    scene = new_scene(kind)
    scene.deliver(claims=CLAIMS)

    cut_after(scene, 1)
    logged = len(scene.completed())
    done = scene.site.run_once()

    assert 1 <= logged < CLAIMS
    scene.assert_survived(done)


@pytest.mark.fault(24)
@pytest.mark.parametrize("found_in", ["work", "in"])
@on_both
def test_an_input_whose_archiving_was_lost_is_recognised_and_not_sent_again(
    new_scene: NewScene, kind: str, found_in: str
) -> None:
    scene = new_scene(kind)
    scene.deliver(claims=20)
    (delivered,) = scene.site.inbox.iterdir()

    with scene.live(unsynced="input") as life:
        life.await_lines("batch.settled", 1)
        life.end_with(scene.disk)
    (back,) = (path for path in (scene.site.root / "spool/work").rglob("*") if path.name.endswith(delivered.name))
    if found_in == "in":
        # Both file systems journal in order, so the ledger's fsync has kept the first rename; others need not.
        back.rename(delivered)
    before = scene.site.results.read_bytes()
    done = scene.site.run_once()

    assert len(scene.completed()) == 20
    assert scene.site.results.read_bytes() == before
    scene.assert_survived(done)


@pytest.mark.fault(12)
@pytest.mark.fault(25)
@on_both
def test_a_lost_ledger_beside_a_kept_sink_makes_no_result_twice(new_scene: NewScene, kind: str) -> None:
    scene = new_scene(kind)
    scene.deliver(claims=CLAIMS)

    cut_after(scene, CLAIMS // 2)
    kept = scene.site.results.read_bytes().count(b"\n")
    for lost in scene.site.ledger.parent.glob("ledger.db*"):
        lost.unlink()
    cut_after(scene, CLAIMS // 4)
    done = scene.site.run_once()

    assert 0 < kept < CLAIMS
    assert done.returncode == 0
    hold_against(scene.site, scene.given, done)


@pytest.mark.fault(12)
@pytest.mark.fault(25)
@on_both
def test_a_ledger_rolled_back_by_the_cut_beside_a_kept_sink_makes_no_result_twice(
    new_scene: NewScene, kind: str
) -> None:
    scene = new_scene(kind)
    scene.deliver(claims=CLAIMS)

    cut_after(scene, CLAIMS // 2, unsynced="ledger-commits")
    kept = scene.site.results.read_bytes().count(b"\n")
    cut_after(scene, CLAIMS // 4)
    done = scene.site.run_once()

    assert 0 < kept < CLAIMS
    assert scene.asked_again() != []
    assert done.returncode == 0
    hold_against(scene.site, scene.given, done)


def cut_after(scene: Scene, claims: int, *, unsynced: str | None = None) -> None:
    with scene.live(unsynced=unsynced) as life:
        life.await_lines("claim.completed", claims)
        life.end_with(scene.disk)


@pytest.mark.fault(22)
@pytest.mark.parametrize("without", ["sink", "ledger"])
@on_both
def test_a_worker_without_an_fsync_fails_the_same_oracle(new_scene: NewScene, kind: str, without: str) -> None:
    assert not all(survives_without(without, new_scene(kind)) for _ in range(CONTROL_TRIES))


def survives_without(part: str, scene: Scene) -> bool:
    """Cut the power under a worker that leaves out the fsync of one part, and ask the same oracle."""
    begun = scene.site.run_once()  # makes ledger and sink durable, so that what is lost is results and not files
    scene.disk.sync()
    scene.deliver(claims=CLAIMS)
    cut_after(scene, CLAIMS // 2, unsynced=part)
    done = scene.site.run_once()
    try:
        scene.assert_survived(done)
    except AssertionError:
        # Failed, and for the right reason.
        assert (begun.returncode, done.returncode, bool(scene.asked_again())) == (0, *CONTROL_ENDS[part])
        return False
    return True
