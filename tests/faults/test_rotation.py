"""The worker dies at each step of beginning a new results file; then as in `test_crash_points`."""

import pytest

from tests.e2e.harness import Site
from tests.faults.crashing import die, put_usual, recover

POINTS = ("rotation_drafted", "rotation_linked", "rotation_renamed", "rotation_synced")


@pytest.fixture
def rotating(site: Site) -> Site:
    """A site whose results file is set aside every few dozen results."""
    site.environ["PRECHECK_OUTPUT__URLS"] = '["jsonl:spool/out/results.jsonl?rotate=50kB"]'
    return site


def assert_whole_files(site: Site) -> None:
    """Every file of results has one name, and nothing half made is left."""
    found = list(site.results.parent.iterdir())
    assert len(found) > 2
    assert {path.stat().st_nlink for path in found} == {1}
    assert {path.suffix for path in found} == {".jsonl"}


@pytest.mark.fault(8)
@pytest.mark.parametrize("at", ["rotation_linked:1", "rotation_renamed:3"])
def test_a_new_file_begun_by_half_is_begun_by_the_next_start(rotating: Site, at: str) -> None:
    given = put_usual(rotating.inbox)

    died = die(rotating, at)
    recover(rotating, given, died)

    assert_whole_files(rotating)


@pytest.mark.fault(8)
@pytest.mark.fault(12)
def test_deaths_around_a_rotation_neither_lose_nor_double_a_result(rotating: Site) -> None:
    given = put_usual(rotating.inbox)
    points = ("sink_after_fsync:2", "rotation_linked:1", "rotation_linked:1", "sink_after_write:2", "sink_torn:2")

    died = [die(rotating, point) for point in (*points, *(f"{point}:1" for point in POINTS))]

    recover(rotating, given, *died)
    assert_whole_files(rotating)
