from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.precheck.retry_after import MAX_RETRY_AFTER_S, parse_retry_after

NOW = datetime(2025, 6, 15, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.fault(88)
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 \t", 7.0),
        ("007", 7.0),
        ("300", 300.0),
        ("301", 300.0),
        ("1000000000", 300.0),
        ("9" * 5000, 300.0),
        ("Sun, 15 Jun 2025 12:00:30 GMT", 30.0),
        ("Sunday, 15-Jun-25 12:00:30 GMT", 30.0),
        ("Sun Jun 15 12:00:30 2025", 30.0),
        ("Sun, 15 Jun 2025 12:00:30 -0000", 30.0),
        ("Sun, 15 Jun 2025 14:00:30 +0200", 30.0),
        ("Sun, 15 Jun 2025 11:00:00 GMT", 0.0),
        ("Wed, 15 Jun 2095 12:00:00 GMT", 300.0),
    ],
)
def test_a_wait_is_understood_and_capped(value: str, seconds: float) -> None:
    assert parse_retry_after(value, NOW) == seconds


NO_WAIT = (
    *(None, "", " ", "-5", "+5", "1.5", "1e9", "0x10", "1_0", "5 seconds", "soon", "Sun", "GMT", "\x00", "5\n6"),
    *("\u0661\u0662", "\uff15"),  # digits of other scripts, which `int` takes
    *("Sun, 99 Jun 2025 12:00:30 GMT", "Sun, 15 Jun 2025 99:99:99 GMT"),
)


@pytest.mark.fault(88)
@pytest.mark.parametrize("value", NO_WAIT)
def test_what_is_no_wait_is_ignored(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,5} .*"))
def test_whatever_the_server_sends_the_wait_is_bounded(value: str) -> None:
    seconds = parse_retry_after(value, NOW)

    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


@given(st.integers(min_value=0, max_value=int(MAX_RETRY_AFTER_S)))
def test_seconds_and_date_say_the_same(seconds: int) -> None:
    date = format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)

    assert parse_retry_after(str(seconds), NOW) == parse_retry_after(date, NOW) == seconds
