import threading
import time
from functools import partial

import anyio
import pytest

from tests.virtualtime import START_S, Stalled, run, virtual_time, wall_clock


@virtual_time
async def test_an_hour_passes_at_once_and_exactly() -> None:
    begun = time.monotonic()

    await anyio.sleep(3600)

    assert anyio.current_time() == START_S + 3600
    assert time.monotonic() - begun < 1


@virtual_time
async def test_timers_fire_in_order_of_their_time() -> None:
    fired: list[tuple[float, float]] = []

    async def note_after(delay: float) -> None:
        await anyio.sleep(delay)
        fired.append((delay, anyio.current_time() - START_S))

    async with anyio.create_task_group() as tasks:
        for delay in (30.0, 0.5, 7200.0, 1.0):
            tasks.start_soon(note_after, delay)

    assert [delay for delay, _ in fired] == [0.5, 1.0, 30.0, 7200.0]
    assert all(at == pytest.approx(delay) for delay, at in fired)


@virtual_time
async def test_a_time_out_is_a_time_out() -> None:
    with anyio.move_on_after(5) as scope:
        await anyio.sleep(6)

    assert scope.cancelled_caught
    assert anyio.current_time() == START_S + 5


@virtual_time
async def test_sockets_carry_bytes_while_time_stands() -> None:
    async def echo(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await anyio.sleep(10)
            await stream.send(await stream.receive())

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(partial(listener.serve, echo))
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - anyio's extra, not Django's
        async with await anyio.connect_tcp("127.0.0.1", port) as client:
            await client.send(b"ping")
            with anyio.fail_after(11):
                assert await client.receive() == b"ping"
        tasks.cancel_scope.cancel()


def test_time_stands_while_a_thread_works() -> None:
    async def main() -> float:
        with anyio.move_on_after(100):
            await anyio.to_thread.run_sync(time.sleep, 0.02)
        return anyio.current_time()

    assert run(main(), threads=True) == START_S


def test_a_lost_wake_up_is_told_instead_of_hanging() -> None:
    async def main() -> None:
        await anyio.Event().wait()

    with pytest.raises(Stalled):
        run(main(), stall_s=0.05)


@virtual_time
async def test_the_wall_clock_keeps_pace() -> None:
    before = wall_clock()

    await anyio.sleep(90)

    assert wall_clock() - before == pytest.approx(90)


def test_no_loop_is_left_behind() -> None:
    run(anyio.sleep(1))

    assert threading.active_count() == 1
