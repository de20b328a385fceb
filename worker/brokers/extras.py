"""What is not there yet is a matter of settings: the message names the extra, or the command, that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager

from worker.errors import SettingsError

CREATE_IT = "create it: precheck-worker run --create (or enqueue --create, where claims are put)"


@contextmanager
def needs_extra(extra: str, *, setting: str) -> Iterator[None]:
    """Import an engine's module within this block.

    :raises worker.errors.SettingsError: naming the extra, if its library is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "worker":
            raise
        raise SettingsError(
            [f"{setting}: needs a library that is not installed; in a clone of this program: pip install '.[{extra}]'"]
        ) from None
