import threading

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from worker.from_thread import ask_loop, ask_loop_within, is_awaited


def test_a_thread_gets_its_answer_although_the_task_that_waits_for_it_was_cancelled() -> None:
    answers = []

    async def answer(number: int) -> int:
        await anyio.to_thread.run_sync(threading.get_ident)  # as a ledger does
        return number

    def look(scope: anyio.CancelScope) -> None:
        anyio.from_thread.run_sync(scope.cancel)
        answers.append(ask_loop(answer, 7))

    async def taking_over() -> None:
        with anyio.CancelScope() as scope:
            await anyio.to_thread.run_sync(look, scope)

    beside = threading.Thread(target=anyio.run, args=(taking_over,), daemon=True)
    beside.start()
    beside.join(10.0)

    assert answers == [7]


async def test_a_thread_waits_for_an_answer_only_so_long() -> None:
    def look() -> None:
        with pytest.raises(TimeoutError):
            ask_loop_within(0.01, anyio.sleep_forever)

    with anyio.fail_after(10.0):
        await anyio.to_thread.run_sync(look)


async def test_a_thread_is_told_whether_its_task_was_cancelled() -> None:
    told = []

    def look(scope: anyio.CancelScope) -> None:
        told.append(is_awaited())
        anyio.from_thread.run_sync(scope.cancel)
        told.append(is_awaited())

    with anyio.CancelScope() as scope:
        await anyio.to_thread.run_sync(look, scope)

    assert told == [True, False]
