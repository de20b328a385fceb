"""What follows from `environment`: the simulator's credentials, and the guard of the sandbox.

The vendor forbids load and production data in the sandbox (contract.md §1), so what may happen there is no
setting. The simulator's credentials are public: it accepts no others and guards nothing.
"""

from typing import Any

import msgspec

from worker.settings.sections import FlowSettings, Settings

SIMULATOR_CLIENT_ID = "simulator"
SIMULATOR_CLIENT_SECRET = "simulator-secret"  # noqa: S105 - public, it opens nothing

# contract.md §1; which of them is talked to is decided in `worker.precheck.endpoints`.
VENDOR_HOSTS = {"sandbox": "sandbox-apigw.optum.com", "production": "apigw.optum.com"}

SANDBOX_MAX_IN_FLIGHT = 2
SANDBOX_RATE_PER_S = 1.0
SANDBOX_CLAIMS_PER_RUN = 50


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what is not given and follows from what is; `values` maps names of settings."""
    filled = dict(values)
    environment = str(filled.get("environment", Settings().environment))
    if environment == "simulator":
        filled["auth.client_id"] = filled.get("auth.client_id") or SIMULATOR_CLIENT_ID
        if not (filled.get("auth.client_secret") or filled.get("auth.client_secret_file")):
            filled["auth.client_secret"] = SIMULATOR_CLIENT_SECRET
    if "flow.initial_in_flight" not in filled and "flow.max_in_flight" in filled:
        filled["flow.initial_in_flight"] = min(filled["flow.max_in_flight"], FlowSettings().initial_in_flight)
    return filled


def guarded(settings: Settings) -> Settings:
    """Bring the flow down to what the sandbox allows; other environments stay as they are."""
    if settings.environment != "sandbox":
        return settings
    flow = settings.flow
    rate = min(flow.rate_per_s or SANDBOX_RATE_PER_S, SANDBOX_RATE_PER_S)
    return msgspec.structs.replace(
        settings,
        flow=msgspec.structs.replace(
            flow,
            max_in_flight=min(flow.max_in_flight, SANDBOX_MAX_IN_FLIGHT),
            initial_in_flight=min(flow.initial_in_flight, SANDBOX_MAX_IN_FLIGHT),
            rate_per_s=rate,
        ),
    )


def claims_per_run(environment: str) -> int | None:
    """Say how many claims one run may send; None for any number."""
    return SANDBOX_CLAIMS_PER_RUN if environment == "sandbox" else None
