"""Named ways for the simulator to behave; each is a change to the defaults of `SimulatorConfig`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from worker.simulator.config import FaultSettings, SimulatorConfig


class Profile(msgspec.Struct, frozen=True):
    """A line for people, and the settings that differ from the defaults."""

    description: str
    changes: Mapping[str, Any] = {}


PROFILES: dict[str, Profile] = {
    "fast": Profile("answers at once and never fails"),
    "demo": Profile(
        "answers in some 50 ms, now and then 500, 504 or 429",
        {
            "latency_scale": 0.02,
            "faults": FaultSettings(http_500=0.01, http_504=0.005, http_429=0.002),
        },
    ),
    "realistic": Profile(
        "answers as the vendor's neighbouring services do: P50 2.4 s, P95 6 s, P99 30 s",
        {
            "latency_scale": 1.0,
            "faults": FaultSettings(http_500=0.005, http_504=0.002),
        },
    ),
    "flaky": Profile(
        "30 % of attempts get 500, 10 % get 504 although the work was done",
        {
            "latency_scale": 0.02,
            "faults": FaultSettings(http_500=0.30, http_504=0.10),
        },
    ),
    "odd": Profile(
        "answers with | ^ } as delimiters, short-lived tokens, HTML from the gateway, resets, cut-off answers",
        {
            "answer_delimiters": "pipes",
            "token_lifetime_s": 5.0,
            "latency_scale": 0.02,
            "faults": FaultSettings(http_502=0.02, http_503=0.02, reset=0.02, truncated=0.02, revoke_every=2000),
        },
    ),
}


def profile(name: str, **overrides: Any) -> SimulatorConfig:
    """Return the named profile's settings, with single ones overridden.

    :raises KeyError: if there is no such profile.
    """
    return SimulatorConfig(**{**PROFILES[name].changes, **overrides})
