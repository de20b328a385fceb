"""Numbers and times in words, as the report tells them."""

from html import escape


def percent(part: int, whole: int) -> str:
    """Write a share; never 100 % of less than all, never 0 % of more than nothing."""
    if not whole:
        return "-"
    share = round(1000 * part / whole)
    share = min(share, 999) if part < whole else share
    return f"{max(share, 1 if part else 0) / 10:.1f} %"


def duration(ms: int | None) -> str:
    """Write a duration; a dash for none."""
    if ms is None:
        return "-"
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:g} s"


def minutes_text(minutes: int) -> str:
    """Name a step of so many minutes, as in "each minute", "each 5 minutes"."""
    for unit, name in ((1440, "day"), (60, "hour"), (1, "minute")):
        if minutes % unit == 0:
            many = minutes // unit
            return name if many == 1 else f"{many:,} {name}s"
    return f"{minutes} minutes"


def attempts_text(tries: int) -> str:
    """Write a number of attempts."""
    return "1 attempt" if tries == 1 else f"{tries} attempts"


def time_text(at: str) -> str:
    """Write a time to the minute, escaped."""
    return escape(at[:16].replace("T", " "))


def spoken(name: str) -> str:
    """Write the name of a disposition as words."""
    return name.replace("_", " ")


def short(text: str, most: int = 40) -> str:
    """Cut a text to so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
