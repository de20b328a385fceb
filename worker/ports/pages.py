"""Pages: what is read of the ledger at a time, by its bytes."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

PAGE_BYTES = 8 << 20


def page_of(found: Iterable[T], length: Callable[[T], int]) -> list[T]:
    """Take of what is found until it is longer than a page; never nothing if there is something."""
    page, left = [], PAGE_BYTES
    for one in found:
        page.append(one)
        left -= length(one)
        if left < 0:
            break
    return page
