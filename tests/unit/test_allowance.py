"""Bytes in memory of what is large: how many at once, and who is next."""

import anyio

from tests.virtualtime import run
from worker.flow.allowance import Allowance


async def hold(allowance: Allowance, size: int, told: list[int], *, for_s: float = 1.0) -> None:
    async with allowance.taking(size):
        told.append(size)
        await anyio.sleep(for_s)


def test_no_more_is_held_than_there_is_and_who_came_first_goes_first() -> None:
    async def scenario() -> list[list[int]]:
        allowance, told, seen = Allowance(10), list[int](), []
        async with anyio.create_task_group() as group:
            for size in (6, 8, 1, 3):
                group.start_soon(hold, allowance, size, told)
                await anyio.sleep(0.01)
            for _ in range(3):
                seen.append([allowance.taken_bytes, *told])
                await anyio.sleep(1.0)
        return [*seen, [allowance.taken_bytes, *told]]

    # 1 would fit beside 6, but then 8 might wait for ever.
    assert run(scenario()) == [[6, 6], [9, 6, 8, 1], [3, 6, 8, 1, 3], [0, 6, 8, 1, 3]]


def test_what_is_larger_than_all_of_it_gets_it_alone() -> None:
    async def scenario() -> list[tuple[int, int]]:
        allowance, told, seen = Allowance(10), list[int](), []
        async with anyio.create_task_group() as group:
            for size in (4, 25, 4):
                group.start_soon(hold, allowance, size, told)
                await anyio.sleep(0.01)
            for _ in range(3):
                seen.append((allowance.taken_bytes, len(told)))
                await anyio.sleep(1.0)
        return seen

    assert run(scenario()) == [(4, 1), (25, 2), (4, 3)]


def test_who_gives_up_waiting_holds_nothing_and_nobody_up() -> None:
    async def scenario() -> tuple[list[int], int]:
        allowance, told = Allowance(10), list[int]()
        async with anyio.create_task_group() as group:
            group.start_soon(hold, allowance, 10, told)
            await anyio.sleep(0.01)
            with anyio.move_on_after(0.1):
                await hold(allowance, 10, told)
            group.start_soon(hold, allowance, 5, told)
        return told, allowance.taken_bytes

    assert run(scenario()) == ([10, 5], 0)


def test_what_is_there_already_counts_whether_or_not_there_is_room() -> None:
    async def scenario() -> tuple[int, list[int], list[int]]:
        allowance, told = Allowance(10), list[int]()
        allowance.add(15)
        async with anyio.create_task_group() as group:
            group.start_soon(hold, allowance, 2, told)
            await anyio.sleep(0.5)
            before = list(told)
            allowance.give_back(10)
        return allowance.taken_bytes, before, told

    assert run(scenario()) == (5, [], [2])
