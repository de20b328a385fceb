"""What is logged of the API: token, gate, limits, connections."""

from worker.telemetry.catalogue.event import Event

EVENTS: tuple[Event, ...] = (
    Event("token.refreshed", "info", "a new token is in use", "expires_in_s latency_ms generation"),
    Event(
        "token.refresh_failed",
        "warning",
        "no new token for now; the old one stays in use while it lasts",
        "code delay_s",
        "if it lasts: see whether the token endpoint can be reached",
    ),
    Event(
        "token.refused",
        "error",
        "the token endpoint refuses our credentials",
        "code delay_s",
        "correct the client id or the secret; claims stay pending meanwhile",
    ),
    Event("connection.dropped", "debug", "an idle connection was not fit for another claim", "reason"),
    Event(
        "gate.shut",
        "error",
        "submission is paused; no claim is charged an attempt",
        "reason detail advice failures trace_ids correlation_ids",
        "do what `advice` says; quote the ids in a ticket",
    ),
    Event(
        "gate.held",
        "warning",
        "submission stays paused: a trial failed, or only one of several reasons is gone",
        "reason detail reasons shut_s",
        "see the `gate.shut` before it",
    ),
    Event("gate.probed", "info", "the service seems to be back; a few claims try it", "reason"),
    Event(
        "health.unusable",
        "warning",
        "the health endpoint does not exist or is not for us, so a few claims try the service instead",
        "http_status",
        "correct api.health_path, or ask the vendor what the client id may call; see `precheck-worker check`",
    ),
    Event("gate.opened", "info", "submission goes on", "reason shut_s"),
    Event(
        "fleet.unavailable",
        "warning",
        "the limits that the fleet shares cannot be asked for; this worker keeps to its share, nothing stops",
        "detail limit",
        "bring Redis back; meanwhile idle workers' shares lie idle",
    ),
    Event("fleet.available", "info", "the limits that the fleet shares are asked for again"),
    Event(
        "limiter.changed",
        "info",
        "clearly more or fewer calls may be under way; at most one line in 10 s",
        "limit before reason",
    ),
    Event(
        "limiter.forgotten",
        "warning",
        "no room to remember the limit; the next run starts slowly",
        "limit",
        "make room on the disk",
    ),
)
