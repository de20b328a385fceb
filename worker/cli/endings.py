"""Which failure ends a command with which exit code."""

from worker.errors import CredentialsRefused, SettingsError, StateError, Unfinished
from worker.upkeep import Interrupted

# In this order: of several failures at once, the first kind of these says why the command ends.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (StateError, 3),
    (CredentialsRefused, 4),
    (SettingsError, 2),
    (Unfinished, 1),
)


def ending_of(error: BaseException) -> tuple[BaseException, int] | None:
    """Find the failure that ended a command, alone or in a group, and its exit code; None for one without a name."""
    interrupted = _find(error, Interrupted)
    if isinstance(interrupted, Interrupted):
        return interrupted, interrupted.code
    for kind, code in _CODES:
        if (found := _find(error, kind)) is not None:
            return found, code
    return None


def _find(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    if isinstance(error, kind):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _find(inner, kind))), None)
    return None
