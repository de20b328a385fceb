"""Batches met again: how their deaths are counted, and how many of them are begun at a time."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.sources.moves import open_folder
from worker.sources.names import counts_of, is_at_rest, original_of
from worker.sources.returned import Returned
from worker.sources.workfolder import Held, held_in

LIMIT = 5


class Work:
    """A work folder in which each life of a worker meets what lies there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = open_folder(path)

    def put(self, name: str, inode: int) -> None:
        (self.path / f"{inode:x}-{name}").write_text("x")

    def held(self) -> list[Held]:
        return list(held_in(self.fd))

    def life(self, answered: int = 0) -> tuple[list[str], list[str]]:
        """Meet everything; return the names of what is begun, and of what is refused."""
        returned = Returned(LIMIT)
        found = self.held()
        refused = returned.meet(found, {held.entry: answered for held in found})
        return [held.name for held in returned.next(self.fd)], [held.name for held, _ in refused]


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    work = Work(tmp_path)
    yield work
    os.close(work.fd)


def test_the_fifth_death_in_a_row_is_the_last(work: Work) -> None:
    work.put("a-b.837", 0x2F1C)

    lives = [work.life() for _ in range(LIMIT)]

    assert lives == [(["a-b.837"], [])] * (LIMIT - 1) + [([], ["a-b.837"])]


def test_a_new_answer_between_two_deaths_makes_the_count_begin_again(work: Work) -> None:
    work.put("a.837", 1)

    lives = [work.life(answered) for answered in (0, 0, 0, 7, 7, 7, 7)]
    last = work.life(7)

    assert [begun for begun, _ in lives] == [["a.837"]] * 7
    assert last == ([], ["a.837"])


@pytest.mark.parametrize("name", ["n" * 253, "n" * 250, "plain", "with-dash", "1.2.3-x"])
def test_whatever_the_name_it_is_kept_and_the_count_with_it(work: Work, name: str) -> None:
    if len(name) > 252:
        (work.path / "1").mkdir()
        (work.path / "1" / name).write_text("x")
    else:
        work.put(name, 1)

    lives = [work.life() for _ in range(3)]

    (held,) = work.held()
    assert [begun for begun, _ in lives] == [[name]] * 3
    assert held.name == name
    assert counts_of(held.entry) == ("1", 3, 0, False)
    assert original_of(held.entry) in ("", name)


def test_the_oftener_they_were_there_the_fewer_are_begun_at_a_time(work: Work) -> None:
    for inode in range(1, 101):
        work.put(f"{inode}.837", inode)

    many = [len(work.life()[0]) for _ in range(3)]

    assert many[0] == 64
    assert many[1] <= 64


def test_one_that_is_done_makes_room_for_the_next_and_one_that_is_gone_is_passed_over(work: Work) -> None:
    for inode in range(1, 67):
        work.put(f"{inode}.837", inode)
    returned = Returned(LIMIT)
    found = work.held()
    returned.meet(found, {})
    first = returned.next(work.fd)
    nothing = returned.next(work.fd)
    begun = {held.name for held in first}
    next_in_turn = next(held for held in found if held.name not in begun)
    (work.path / next_in_turn.entry).unlink()

    returned.drop(first[0])
    gone = returned.next(work.fd)
    then = returned.next(work.fd)

    assert (len(first), nothing) == (64, [])
    assert (gone, len(then)) == ([], 1)
    assert not returned.waiting
    assert first[0].entry not in returned.entries


def rest_all(work: Work, answered: int) -> None:
    """End a life in order: what lies there is at rest with so many answers."""
    returned = Returned(LIMIT)
    for held in work.held():
        returned.rest(work.fd, held, answered)


def test_stopping_in_order_is_no_death_and_what_was_at_rest_is_begun_at_once(work: Work) -> None:
    for inode in range(1, 101):
        work.put(f"{inode}.837", inode)

    lives = []
    for answered in (0, 3, 3, 3, 3, 3, 3):
        rest_all(work, answered)
        lives.append(work.life(answered))

    assert [(len(begun), refused) for begun, refused in lives] == [(100, [])] * 7


def test_deaths_before_a_stop_in_order_still_count_unless_an_answer_came_since(work: Work) -> None:
    work.put("a.837", 1)

    for _ in range(3):
        work.life()
    rest_all(work, 0)
    work.life()
    (suspected,) = work.held()
    rest_all(work, 5)
    (cleared,) = work.held()

    assert counts_of(suspected.entry) == ("1", 3, 0, False)
    assert counts_of(cleared.entry) == ("1", 0, 5, True)


@pytest.mark.parametrize("name", ["n" * 253, "n" * 248, "plain", "with-dash"])
def test_whatever_the_name_a_batch_can_be_left_at_rest(work: Work, name: str) -> None:
    if len(name) > 252:
        (work.path / "1").mkdir()
        (work.path / "1" / name).write_text("x")
    else:
        work.put(name, 1)

    rest_all(work, 40)
    (rested,) = work.held()
    begun, _ = work.life(40)

    assert rested.name == name
    assert is_at_rest(rested.entry)
    assert begun == [name]
    assert [is_at_rest(held.entry) for held in work.held()] == [False]
