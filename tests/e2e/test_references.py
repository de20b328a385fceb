"""An object in S3, announced by `enqueue`, comes out as results; `check` looks at broker and bucket before."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import RedisPlace
from tests.e2e.harness import Simulator, Site
from tests.oracle import assert_one_result_each, assert_silent_about, read_results
from tests.s3 import Store
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.remove()


@pytest.fixture
def fed(tmp_path: Path, simulator: Simulator, store: Store) -> Iterator[Site]:
    """Give a site whose input is a stream of its own, and whose messages may refer to the bucket."""
    place = RedisPlace(tmp_path)
    site = Site(tmp_path / "site", simulator.origin)
    site.environ |= {
        "PRECHECK_INPUT__URL": place.url,
        "PRECHECK_INPUT__REFERENCE_BUCKETS": json.dumps([store.place("day")]),
    }
    yield site
    place.remove()


def test_an_object_that_was_announced_is_checked_claim_by_claim(fed: Site, store: Store) -> None:
    spec = GeneratorSpec(claims=1, planted={"OK-": 1.0})
    (path,) = write_folder(fed.root / "given", files=1, claims_per_file=12, spec=spec)
    store.put("day/claims.837", path.read_bytes())

    enqueued = fed.run("enqueue", store.reference("day/claims.837"), store.reference("day/none.837"), "--create")
    checked = fed.run("check")
    done = fed.run_once()

    assert enqueued.returncode == 1
    assert "1 batch sent" in enqueued.stdout.decode()
    assert "there is no such object" in enqueued.stdout.decode()
    assert checked.returncode == 0, checked.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    results = read_results(fed.results)
    assert_one_result_each(results, 12)
    assert {result["batch_name"] for result in results} == {"claims.837"}
    assert list((fed.ledger.parent / "ledger.db.fetched").iterdir()) == []
    assert_silent_about(
        ["hunter2", *(result["patient_control_number"] for result in results)], done.stdout, done.stderr
    )


def test_an_object_that_cannot_be_asked_for_is_named_and_not_sent(fed: Site, store: Store) -> None:
    away = json.dumps([store.place("day", origin="http://127.0.0.1:9")])

    enqueued = fed.run("enqueue", store.reference("day/claims.837"), "--create", PRECHECK_INPUT__REFERENCE_BUCKETS=away)

    assert enqueued.returncode == 1
    assert "cannot be reached" in " ".join(enqueued.stdout.decode().split())
    assert "0 batches sent" in enqueued.stdout.decode()
    assert b"Traceback" not in enqueued.stderr


def test_check_says_what_the_input_lacks_and_which_command_makes_it(fed: Site) -> None:
    nowhere = fed.run("check")
    fed.run("enqueue", "s3://elsewhere/none.837", "--create")
    there = fed.run("check", PRECHECK_INPUT__REFERENCE_BUCKETS="[]")
    bucketless = fed.run(
        "check",
        PRECHECK_INPUT__REFERENCE_BUCKETS=fed.environ["PRECHECK_INPUT__REFERENCE_BUCKETS"].replace("-", "-0", 1),
    )
    down = fed.run("check", PRECHECK_INPUT__URL="redis://127.0.0.1:9/0?stream=claims")

    assert (nowhere.returncode, there.returncode, bucketless.returncode, down.returncode) == (2, 0, 3, 3)
    assert "is missing" in nowhere.stdout.decode()
    assert "--create" in nowhere.stdout.decode()
    assert "there is no bucket" in bucketless.stdout.decode()
    assert "the worker waits for it" in down.stdout.decode()
