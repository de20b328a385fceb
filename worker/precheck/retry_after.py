"""How long the server asked everybody to wait: the Retry-After header.

Source: RFC 9110 §10.2.3 (delay-seconds or HTTP-date) and §5.6.7 (the three forms of a date). A header that is
neither is no wish at all.
"""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER_S = 300.0

# `int` and `\d` accept every script's digits, the RFC does not.
_DELAY_SECONDS = re.compile(r"[0-9]+\Z", re.ASCII)
_MAX_DIGITS = 9  # more is beyond the cap anyway, and `int` refuses thousands of them
_MAX_DATE_CHARS = 40


def parse_retry_after(value: str | None, now: float) -> float | None:
    """Say how many seconds to wait, between 0 and the cap, or None where the header is absent or unreadable.

    `now` is seconds since the epoch; a date in the past means 0.
    """
    if value is None:
        return None
    value = value.strip(" \t")
    if _DELAY_SECONDS.match(value):
        return MAX_RETRY_AFTER_S if len(value) > _MAX_DIGITS else min(float(value), MAX_RETRY_AFTER_S)
    moment = read_date(value)
    return None if moment is None else min(max(moment - now, 0.0), MAX_RETRY_AFTER_S)


def read_date(value: str) -> float | None:
    """Read an HTTP date as seconds since the epoch; None for anything else, however far off its numbers are."""
    if not value.isascii() or len(value) > _MAX_DATE_CHARS:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" and the asctime form give a naive datetime; HTTP dates are UTC, whatever they say.
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
