"""When a file is ready: the table of `worker.sources.readiness`."""

from collections.abc import Callable

import pytest

from worker.sources.readiness import (
    Rules,
    Wait,
    judge,
    ref_of,
    too_large,
    wait_for_access,
    wait_for_unlink,
    wait_for_writer,
)
from worker.sources.sightings import Sightings
from worker.x12 import Finding, Survey

RULES = Rules()
RENAMED = Rules(renamed=True)
WHOLE = Survey(complete=True, interchanges=1, claims=1)


def refused(code: str) -> Survey:
    return Survey(complete=code != "incomplete", refusal=Finding(code, "why", "error"))


@pytest.mark.parametrize("unchanged_s", [0.0, 10_000.0])
@pytest.mark.parametrize("rules", [RULES, RENAMED])
def test_a_whole_batch_is_taken_at_once(unchanged_s: float, rules: Rules) -> None:
    assert judge(WHOLE, unchanged_s, rules) is None


@pytest.mark.parametrize(
    ("code", "unchanged_s", "found"),
    [
        ("incomplete", 0.0, Wait("incomplete", 1.0)),
        ("incomplete", 1.0, Wait("incomplete", 3599.0)),
        ("incomplete", 3599.0, Wait("incomplete", 1.0)),
        ("incomplete", 3600.0, "incomplete"),
        ("empty_input", 0.0, Wait("empty_input", 1.0, near=True)),
        ("not_x12", 2.0, Wait("not_x12", 3.0, near=True)),
        ("not_x12", 5.0, "not_x12"),
        ("empty_input", 5.0, "empty_input"),
        ("isa_width", 0.0, "isa_width"),
        ("control_number_mismatch", 0.0, "control_number_mismatch"),
        ("no_claims", 0.0, "no_claims"),
    ],
)
def test_what_is_not_whole_waits_for_as_long_as_it_may_still_change(
    code: str, unchanged_s: float, found: Wait | str
) -> None:
    decision = judge(refused(code), unchanged_s, RULES)

    assert (decision.code if isinstance(decision, Finding) else decision) == found


@pytest.mark.parametrize("code", ["incomplete", "empty_input", "not_x12", "no_claims"])
def test_what_was_renamed_in_and_is_not_whole_is_refused_at_once(code: str) -> None:
    decision = judge(refused(code), 0.0, RENAMED)

    assert isinstance(decision, Finding)
    assert decision.code == code


def test_an_incomplete_survey_without_a_refusal_is_refused_as_incomplete_in_the_end() -> None:
    survey = Survey(complete=False)

    assert isinstance(judge(survey, 0.0, RULES), Wait)
    decision = judge(survey, 3600.0, RULES)
    assert isinstance(decision, Finding)
    assert decision.code == "incomplete"


def test_a_file_being_written_is_looked_at_less_often_the_quieter_it_is() -> None:
    pauses = [wait_for_writer(unchanged_s, RULES).again_s for unchanged_s in (0.0, 0.1, 0.5, 100.0)]

    assert pauses == [0.002, 0.1, 0.5, 1.0]


@pytest.mark.parametrize("waiting", [wait_for_writer, wait_for_unlink])
def test_a_writer_is_expected_to_end_only_for_a_while(waiting: Callable[[float, Rules], Wait]) -> None:
    assert waiting(4.9, RULES).near
    assert not waiting(5.0, RULES).near


def test_an_unreadable_file_is_tried_again_with_growing_pauses_and_then_refused() -> None:
    decisions = [wait_for_access(tries, RULES) for tries in range(1, 6)]

    assert [found.again_s for found in decisions if isinstance(found, Wait)] == [1.0, 2.0, 4.0, 8.0]
    assert isinstance(decisions[-1], Finding)


def test_size_is_judged_without_reading() -> None:
    assert too_large(10, 10) is None
    found = too_large(11, 10)
    assert found is not None
    assert found.code == "too_large"


def test_a_ref_names_inode_time_and_size() -> None:
    assert ref_of((12, 1_700_000_000_000_000_001, 345)) == "12:1700000000000000001:345"


def test_an_unchanged_file_keeps_its_sighting_and_a_changed_one_starts_anew() -> None:
    sightings = Sightings()
    first = sightings.met("a", (1, 2, 3), 100.0)

    assert sightings.met("a", (1, 2, 3), 200.0) is first
    assert sightings.met("a", (1, 2, 4), 300.0).since == 300.0


def test_memory_for_sightings_is_bounded_but_not_for_large_files_being_read() -> None:
    sightings = Sightings(most=2)

    for number in range(10):
        sightings.met(f"small {number}", (number, 0, 1), 0.0)
    sightings.met("large", (99, 0, 2 << 20), 0.0)

    assert len(sightings) == 3
    assert sightings.of("large") is not None


def test_what_a_pass_did_not_meet_is_forgotten() -> None:
    sightings = Sightings()
    sightings.met("stays", (1, 0, 1), 0.0).passed = 2
    sightings.met("gone", (2, 0, 1), 0.0).passed = 1

    sightings.sweep(2)

    assert sightings.of("stays") is not None
    assert sightings.of("gone") is None
