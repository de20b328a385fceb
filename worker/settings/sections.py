"""Every setting with its type, default, bounds and meaning, one frozen struct a section.

Those that describe the service stand in `worker.settings.service`. This is the single place for all of that: loading,
checking, `--help` and the README are made from it. Durations are seconds as floats, sizes are bytes. The names are
promised to users.
"""

from typing import Annotated, Literal

from msgspec import Meta

from worker.settings.section import Section
from worker.settings.service import ApiSettings, AuthSettings, ClaimSettings

Environment = Literal["simulator", "sandbox", "production"]


class InputSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[input]`: where batches come from."""

    url: Annotated[
        str, Meta(description="Where batches come from: dir:FOLDER, or a broker: amqp://, nats://, redis://, sqs:.")
    ] = "dir:spool/in"
    split: Annotated[
        Literal["claim", "transaction", "none"],
        Meta(description="How batches are cut: to single claims, to transaction sets, or not at all."),
    ] = "claim"
    duplicates: Annotated[
        Literal["reuse", "submit"],
        Meta(description="What happens to a batch seen before: its results are given again, or it is sent again."),
    ] = "reuse"
    max_batch_bytes: Annotated[int, Meta(gt=0, description="Larger batches go to quarantine unread.")] = 2 << 30
    ready: Annotated[
        Literal["complete", "renamed"],
        Meta(description="When a file is taken: once complete and unchanged, or only when renamed into the folder."),
    ] = "complete"
    incomplete_after_s: Annotated[
        float, Meta(gt=0, description="A file that is incomplete and unchanged for so long goes to quarantine.")
    ] = 3600.0
    prefetch: Annotated[
        int, Meta(ge=0, description="Most messages of a broker held at once; 0: as many as flow.max_in_flight.")
    ] = 0
    lease_s: Annotated[
        float,
        Meta(
            gt=0,
            description="A message without a sign of life for so long goes to another worker "
            "(Redis, SQS, new NATS consumers).",
        ),
    ] = 60.0
    poison_after: Annotated[
        int,
        Meta(
            ge=1,
            description="A file or message in work at so many deaths of a worker goes to quarantine or dead letters.",
        ),
    ] = 5
    reference_root: Annotated[
        str,
        Meta(description="Folder below which file: references in messages may name files; empty: none are followed."),
    ] = ""
    reference_buckets: Annotated[
        tuple[str, ...],
        Meta(description="Places s3://bucket/folder/ below which s3: references may name objects; empty: none."),
    ] = ()
    fetch_folder: Annotated[
        str,
        Meta(description="Own folder for fetched objects; empty: beside the ledger's file, or spool/fetched/NAME."),
    ] = ""


class OutputSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[output]`: where results go; each sink has its own position."""

    urls: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Where results go, one or more of jsonl:FILE, edi:FOLDER, amqp://, nats://, redis://, sqs:, postgresql://.",
        ),
    ] = ("jsonl:spool/out/results.jsonl",)


class StateSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[state]`: the durable memory."""

    url: Annotated[
        str, Meta(description="The ledger: sqlite:FILE on a local disk, or postgresql://, which a fleet shares.")
    ] = "sqlite:spool/state/ledger.db"
    worker_name: Annotated[
        str, Meta(description="This worker's own name in a shared ledger; empty: the host's name.")
    ] = ""
    retention_days: Annotated[
        float, Meta(ge=0, description="How long claim content is kept in the ledger after its batch is settled.")
    ] = 30.0


class FlowSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[flow]`: how much is in flight."""

    mode: Annotated[
        Literal["adaptive", "fixed"], Meta(description="Find the service's capacity, or keep `max_in_flight` as it is.")
    ] = "adaptive"
    max_in_flight: Annotated[int, Meta(ge=1, description="Most calls under way at once.")] = 400
    initial_in_flight: Annotated[
        int, Meta(ge=1, description="Calls under way at once before anything is known of the service.")
    ] = 8
    rate_per_s: Annotated[float, Meta(ge=0, description="Most calls started in a second; 0: no such limit.")] = 0.0
    shared_url: Annotated[
        str, Meta(description="Redis in which a fleet shares the limits below: redis://host/0?key=…; empty: none.")
    ] = ""
    shared_max_in_flight: Annotated[
        int, Meta(ge=0, description="Most calls under way at once in the whole fleet; 0: no such limit.")
    ] = 0
    shared_rate_per_s: Annotated[
        float, Meta(ge=0, description="Most calls started in a second in the whole fleet; 0: no such limit.")
    ] = 0.0
    shared_workers: Annotated[
        int, Meta(ge=1, description="Most workers of the fleet: each keeps to its share while Redis is away.")
    ] = 1
    shared_lease_s: Annotated[
        float, Meta(ge=1, description="A worker without a sign of life for so long loses its part to the others.")
    ] = 10.0
    once_timeout_s: Annotated[
        float, Meta(ge=0, description="How long `run --once` may take, an outage included; 0: as long as it takes.")
    ] = 0.0


class RetrySettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retry]`: what a claim may cost."""

    max_attempts: Annotated[
        int,
        Meta(
            ge=1, description="Most attempts for one claim, the first included; those lost to an outage do not count."
        ),
    ] = 6
    base_s: Annotated[float, Meta(gt=0, description="Longest pause before the second attempt; doubled every time.")] = (
        1.0
    )
    max_s: Annotated[float, Meta(gt=0, description="Longest pause between two attempts.")] = 60.0
    deadline_s: Annotated[
        float,
        Meta(
            gt=0,
            description="No attempt of a claim later than this after its first; stands still in pauses, "
            "unless the claim fails every trial.",
        ),
    ] = 900.0
    budget_ratio: Annotated[
        float, Meta(ge=0, le=1, description="Largest share of all attempts that may be repeats, beyond 10 a second.")
    ] = 0.5


class TelemetrySettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[telemetry]`: logs, probes and how long a drain may take."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The lowest level that is logged.")
    ] = "info"
    log_format: Annotated[
        Literal["json", "console"], Meta(description="JSON lines for machines, or text for a terminal.")
    ] = "json"
    http: Annotated[
        str, Meta(description="host:port of probes, metrics and status page; empty: none, port 0: any free one.")
    ] = "127.0.0.1:9837"
    drain_s: Annotated[
        float, Meta(gt=0, description="How long calls under way may take to end once the worker is told to stop.")
    ] = 130.0
    stop_grace_s: Annotated[
        float,
        Meta(
            ge=0, description="Seconds from SIGTERM to SIGKILL where the worker runs, to warn if too few; 0: not known."
        ),
    ] = 0.0


class Settings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, complete and checked."""

    environment: Annotated[
        Environment,
        Meta(description="Which API is called; chooses base URL and guards. The sandbox is never put under load."),
    ] = "simulator"
    api: ApiSettings = ApiSettings()
    auth: AuthSettings = AuthSettings()
    input: InputSettings = InputSettings()
    output: OutputSettings = OutputSettings()
    state: StateSettings = StateSettings()
    flow: FlowSettings = FlowSettings()
    retry: RetrySettings = RetrySettings()
    claims: ClaimSettings = ClaimSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
