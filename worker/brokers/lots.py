"""Publishing many messages before the first is confirmed, a lot at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def send_in_lots(send: Callable[[T], Awaitable[object]], items: Sequence[T], *, at_once: int) -> None:
    """Begin to send `at_once` items in their order, and the next as many once all of these are confirmed.

    :raises Exception: what the first of a lot that failed has raised, once no other of it is under way any more.
    """
    for start in range(0, len(items), at_once):
        outcomes = await asyncio.gather(*map(send, items[start : start + at_once]), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
