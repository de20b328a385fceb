"""When a file that stands in the folder is ready, and when it never will be.

==================== ========================== ==============================================================
what was seen        about to be decided        what becomes of it
==================== ========================== ==============================================================
complete, unwritten                             taken at once
``being_written``    for 5 s after a change     looked at again; as if unwritten once unchanged for an hour
``settling``         yes                        only where the kernel cannot tell: unchanged for 1 s, then read
``being_read``       yes                        a large file on its way through the survey
``linked``           for 5 s after a change     another name for the same bytes exists: left alone
empty, not X12       yes                        unchanged for 5 s: quarantined
``incomplete``       no                         unchanged for an hour: quarantined
refused otherwise                               quarantined at once
``unreadable``       no                         tried again a few times, then quarantined
==================== ========================== ==============================================================

"Unchanged" means: the same inode, size and modification time at two looks, by our monotonic clock. A modification
time is never compared with a clock, for either can be wrong. Hours and seconds are those of `Rules`.
"""

import msgspec

from worker.paths import Sight
from worker.x12 import Finding, Survey

_FORMLESS = frozenset({"empty_input", "not_x12"})
_INCOMPLETE = Finding("incomplete", "an interchange is not closed by its IEA", "error")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What decides about readiness; `renamed` means that whatever is visible is ready. Durations in seconds.

    `poison_after`: so many deaths of a worker in a row with a batch in work are its fault.
    """

    renamed: bool = False
    incomplete_after_s: float = 3600.0
    formless_after_s: float = 5.0
    settled_after_s: float = 1.0
    largest_bytes: int = 2 << 30
    unreadable_tries: int = 5
    poison_after: int = 5


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Not ready: why, for how many seconds not to look again unless it changes, and if a decision is `near`."""

    code: str
    again_s: float
    near: bool = False


def ref_of(sight: Sight) -> str:
    """Make a delivery's `ref`: the same after a restart, and after a power cut that undid a rename."""
    return f"{sight[0]}:{sight[1]}:{sight[2]}"


def too_large(size: int, largest_bytes: int) -> Finding | None:
    """Refuse a file for its size, before a byte of it is read."""
    if size <= largest_bytes:
        return None
    return Finding("too_large", f"{size} bytes, and input.max_batch_bytes is {largest_bytes}", "error")


def judge(survey: Survey, unchanged_s: float, rules: Rules) -> Finding | Wait | None:
    """Decide about a file that nobody writes: a finding refuses it, None takes it."""
    refusal = survey.refusal
    if survey.complete and refusal is None:
        return None
    if refusal is None:
        refusal = _INCOMPLETE
    formless = refusal.code in _FORMLESS
    if rules.renamed or (survey.complete and not formless):
        return refusal
    patience_s = rules.formless_after_s if formless else rules.incomplete_after_s
    if unchanged_s >= patience_s:
        return refusal
    # One look more after a second: a change within a clock tick of the first look leaves the same time and size.
    first = unchanged_s < rules.settled_after_s < patience_s
    again_s = rules.settled_after_s if first else patience_s - unchanged_s
    return Wait(refusal.code if formless else "incomplete", again_s, near=formless)


def wait_for_writer(unchanged_s: float, rules: Rules) -> Wait:
    """Say how long to leave a file alone that somebody has open for writing: the quieter it is, the longer."""
    return Wait("being_written", min(max(unchanged_s, 0.002), 1.0), near=unchanged_s < rules.formless_after_s)


def wait_for_unlink(unchanged_s: float, rules: Rules) -> Wait:
    """Say how long to leave a file alone that has a second name; a producer may be about to remove the first."""
    return Wait("linked", min(max(unchanged_s, 0.05), 1.0), near=unchanged_s < rules.formless_after_s)


def wait_for_access(tries: int, rules: Rules) -> Finding | Wait:
    """Decide about a file that could not be read `tries` times."""
    if tries >= rules.unreadable_tries:
        return Finding("unreadable", f"could not be read, tried {tries} times", "error")
    return Wait("unreadable", min(2.0 ** (tries - 1), 60.0))
