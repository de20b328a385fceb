"""What one look at an input folder has shown, or why it could not be looked at."""

from pathlib import Path

import msgspec

from worker.disk import explained
from worker.errors import SourceUnavailable


class View(msgspec.Struct, frozen=True, gc=False):
    """What a look has shown: the number of the pass, whether it has ended, and then what its end knows.

    `near`: something is about to be decided. `again_s`: when to look again though nothing stirs.
    """

    passed: int
    ended: bool
    near: bool
    again_s: float


def unavailable(spool: Path, error: OSError) -> SourceUnavailable:
    """Say that a folder of this spool cannot be used, and by which error."""
    return SourceUnavailable(f"input: {spool} cannot be used: {explained(error)}")
