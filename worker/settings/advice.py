"""What is allowed and still probably not meant; logged once at the start as `settings.warned`."""

from collections.abc import Iterator

from worker.settings.problem import Problem
from worker.settings.sections import Settings
from worker.settings.urls import sent_in_the_clear


def warnings_of(settings: Settings) -> list[str]:
    """Say what an operator should look at, each beginning with the setting's name; the worker runs all the same."""
    return [str(found) for found in (*_times(settings), *_repeats(settings), *_transports(settings))]


def _times(settings: Settings) -> Iterator[Problem]:
    drain_s, attempt_s = settings.telemetry.drain_s, settings.api.attempt_timeout_s
    grace_s = settings.telemetry.stop_grace_s
    if drain_s < attempt_s:
        yield Problem(
            "telemetry.drain_s",
            f"{drain_s:g} s is less than api.attempt_timeout_s ({attempt_s:g} s): a stop can cut calls under way, "
            "whose claims are then sent again",
        )
    if 0 < grace_s <= drain_s:
        yield Problem(
            "telemetry.drain_s",
            f"{drain_s:g} s is not less than telemetry.stop_grace_s ({grace_s:g} s): the worker is killed before it "
            "has drained; nothing is lost, but claims are sent again",
        )
    if settings.retry.deadline_s < attempt_s:
        yield Problem(
            "retry.deadline_s",
            f"{settings.retry.deadline_s:g} s is less than api.attempt_timeout_s ({attempt_s:g} s): a slow first "
            "attempt leaves no time for a second",
        )


def _repeats(settings: Settings) -> Iterator[Problem]:
    # contract.md §6: the sibling of the same shape that submits the claim.
    if settings.api.safe_to_repeat and "/claim/actions/" in settings.api.precheck_path:
        yield Problem("api.safe_to_repeat", "is true, but api.precheck_path names a call that submits claims")


def _transports(settings: Settings) -> Iterator[Problem]:
    if settings.environment != "production":
        return
    inward, outward, state = (settings.input.url,), settings.output.urls, (settings.state.url,)
    for name, urls in (("input.url", inward), ("output.urls", outward), ("state.url", state)):
        if any(map(sent_in_the_clear, urls)):
            yield Problem(name, "names a broker or database without TLS: claims cross the network in the clear")
