"""Named ways for the simulator to behave; each is a change to the defaults of `SimulatorConfig`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.simulator.hostile import NAMES as HOSTILE


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
    "queueing": Profile(
        "works on 50 claims at once, some 60 ms each; the others wait",
        {"latency_scale": 0.02, "faults": FaultSettings(capacity="queueing")},
    ),
    "shedding": Profile(
        "works on 50 claims at once, some 60 ms each, and answers the others with 503",
        {"latency_scale": 0.02, "faults": FaultSettings(capacity="shedding")},
    ),
    "rate_limited": Profile(
        "takes 50 claims a second and answers the others with 429 and Retry-After",
        {"latency_scale": 0.02, "faults": FaultSettings(capacity="rate")},
    ),
    "knee": Profile(
        "takes any number at once, but beyond 50 becomes slower by the square of their number",
        {"latency_scale": 0.02, "faults": FaultSettings(capacity="knee")},
    ),
    "constant_504": Profile(
        "works on 50 claims at once, some 60 ms each; the others get 504 after 2 s, always",
        {"latency_scale": 0.02, "gateway_timeout_s": 2.0, "faults": FaultSettings(capacity="gateway")},
    ),
    "heavy_tail": Profile(
        "never fails, but takes its time: P50 2.4 s, P95 6 s, P99 30 s",
        {"latency_scale": 1.0},
    ),
    "background_500": Profile(
        "one attempt in a hundred gets 500, whatever the load",
        {"latency_scale": 0.02, "faults": FaultSettings(http_500=0.01)},
    ),
    "outage": Profile(
        "answers 503 to everything, token and health included, until the faults are changed: outage = false",
        {"latency_scale": 0.02, "faults": FaultSettings(outage=True)},
    ),
    "outages": Profile(
        "is down for 20 s at the end of every minute, else answers in some 50 ms",
        {"latency_scale": 0.02, "faults": FaultSettings(outage_every_s=60.0, outage_for_s=20.0)},
    ),
    "tokens": Profile(
        "tokens live 2 s, all are revoked every 1,000 calls, one token call in five fails",
        {
            "token_lifetime_s": 2.0,
            "latency_scale": 0.02,
            "faults": FaultSettings(revoke_every=1000, token_500=0.1, token_page=0.1),
        },
    ),
    "refused": Profile(
        "the token endpoint refuses the client, until the faults are changed: token_refused = false",
        {"faults": FaultSettings(token_refused=True)},
    ),
    "unentitled": Profile(
        "gives tokens and answers 401 to each of them, until the faults are changed: bearer_refused = false",
        {"faults": FaultSettings(bearer_refused=True)},
    ),
    "portal": Profile(
        "answers each claim with 200 and a page to sign in, as a captive portal does",
        {"faults": FaultSettings(login_page=1.0)},
    ),
    "hostile": Profile(
        "one attempt in six gets an answer that must fool nobody: " + ", ".join(HOSTILE),
        {
            "latency_scale": 0.02,
            "faults": msgspec.convert(dict.fromkeys(HOSTILE, 0.014), FaultSettings),
        },
    ),
    "claim_actions": Profile(
        "the sibling that submits: its path and mutation; 3 % of 504 and 2 % cut-off answers after the work was done",
        {
            "precheck_path": "/oihub/claim/actions/v1",
            "root_field": "claimSubmission",
            "latency_scale": 0.02,
            "faults": FaultSettings(http_500=0.02, http_504=0.03, truncated=0.02),
        },
    ),
}

# What stays as it was when the profile is changed while the simulator runs: who may call it, and where.
_FIXED = frozenset(
    {"seed", "client_id", "client_secret", "token_path", "token_v2_path", "precheck_path", "health_path", "root_field"}
)


def profile(name: str, **overrides: Any) -> SimulatorConfig:
    """Return the named profile's settings, with single ones overridden.

    :raises KeyError: if there is no such profile.
    """
    return SimulatorConfig(**{**PROFILES[name].changes, **overrides})


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


def changed_profile(config: SimulatorConfig, wanted: bytes) -> SimulatorConfig:
    """Return the settings of the profile that a JSON object names; what cannot change while it runs stays.

    :raises msgspec.DecodeError: if it names none.
    """
    name = msgspec.json.decode(wanted, type=_Wanted).name
    if name not in PROFILES:
        raise msgspec.DecodeError(f"no profile {name!r}; there are {', '.join(PROFILES)}")
    return profile(name, **{field: getattr(config, field) for field in _FIXED})
