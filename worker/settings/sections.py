"""Every setting with its type, default, bounds and meaning, one frozen struct a section.

This is the single place for all of that: loading, checking, `--help` and the README are made from it. Durations
are seconds as floats, sizes are bytes. The names are promised to users.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from worker.settings.secret import MASK, Secret, masked, without_newline

Environment = Literal["simulator", "sandbox", "production"]

PRECHECK_QUERY = (
    "query claimPreCheck($input: ClaimInput!) { claimPreCheck(input: $input) "
    "{ transactionId x12ResponseData responseType x12Response277CA message statusCode } }"
)

# contract.md §3: the payers the service answers for.
SUPPORTED_PAYERS = (
    "87726", "03432", "96385", "95467", "86050", "86047", "95378", "06111", "00773",
    "36273", "37602", "39026", "41161", "41194", "52461", "65088", "74227", "76342",
    "76343", "78857", "81400", "88337", "94265", "95958", "USN01", "25463", "UHNDC",
)  # fmt: skip


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all sections: frozen, by name only, no unknown keys; no repr shows a secret."""

    def __repr__(self) -> str:
        """Show every setting, secrets masked."""
        shown = ", ".join(f"{name}={value}" for name, value in self._shown())
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich the same: by itself it walks the fields."""
        return list(self._shown())

    def _shown(self) -> Iterator[tuple[str, str]]:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Section):
                yield field.name, repr(value)
            else:
                yield field.name, MASK if value and is_secret(field.type) else masked(value)


def is_secret(annotation: Any) -> bool:
    """Tell whether a setting's value must never be shown."""
    metas = getattr(annotation, "__metadata__", ())
    return any(meta.extra and meta.extra.get("secret") for meta in metas)


def _secret(meaning: str) -> Meta:
    return Meta(description=meaning, extra={"secret": True})


class ApiSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[api]`: where and how a claim is posted."""

    base_url: Annotated[str, Meta(description="Origin of the API, scheme://host[:port]; empty: by `environment`.")] = ""
    precheck_path: Annotated[
        str, Meta(description="Path that a claim is posted to, appended to the origin as it is.")
    ] = "/oihub/pre-service/v1/claim/precheck"
    health_path: Annotated[str, Meta(description="Path that is asked whether the service is up.")] = (
        "/oihub/pre-service/v1/healthcheck"
    )
    request_format: Annotated[
        Literal["graphql", "flat"],
        Meta(description="How the claim is wrapped: a GraphQL query with variables, or x12RequestData alone."),
    ] = "graphql"
    query: Annotated[str, Meta(description="The GraphQL query; the service refuses field names it does not know.")] = (
        PRECHECK_QUERY
    )
    root_field: Annotated[str, Meta(description="The query's field that the answer is found under, inside `data`.")] = (
        "claimPreCheck"
    )
    headers: Annotated[
        dict[str, str], _secret("Further request headers, name = value; the worker's own cannot be replaced.")
    ] = {}
    attempt_timeout_s: Annotated[
        float, Meta(gt=0, description="How long one call may take in all; the service's gateway gives up after 110 s.")
    ] = 120.0
    connect_timeout_s: Annotated[float, Meta(gt=0, description="How long making a connection may take.")] = 10.0
    max_response_bytes: Annotated[int, Meta(ge=1024, description="Answers larger than this are not read on.")] = 4 << 20
    safe_to_repeat: Annotated[
        bool,
        Meta(description="Whether a claim may be sent again after an unknown outcome; false for calls that submit."),
    ] = True
    ca_file: Annotated[str, Meta(description="PEM file of the authorities to trust instead of the system's.")] = ""
    client_cert: Annotated[str, Meta(description="PEM file with client certificate and key, for mutual TLS.")] = ""
    proxy: Annotated[str, Meta(description="HTTP proxy for every call; proxies in the environment are ignored.")] = ""
    codes: Annotated[
        dict[str, str],
        Meta(
            description='Body statusCode or range "a-b" = decide, retry, rejected or review; beats the built-in table.'
        ),
    ] = {}
    incomplete_check_patterns: Annotated[
        tuple[str, ...],
        Meta(description="277CA free texts that say the check was not done, so that its acceptance is no acceptance."),
    ] = ("could not be completed", "service failure", "unable to complete")


class AuthSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[auth]`: where the token comes from.

    `client_secret` is held as a `Secret`: a `str` whose repr is masked and that msgspec refuses to encode.
    """

    token_path: Annotated[str, Meta(description="Path of the token endpoint, appended to the API's origin.")] = (
        "/apip/auth/sntl/v1/token"  # noqa: S105 - a path, no secret
    )
    token_url: Annotated[str, Meta(description="Absolute URL of the token endpoint, instead of `token_path`.")] = ""
    token_encoding: Annotated[
        Literal["form", "json"], Meta(description="How the token request is written; the older V2 endpoint wants json.")
    ] = "form"  # noqa: S105 - an encoding, no secret
    scope: Annotated[str, Meta(description="OAuth2 scope to ask for; empty: none.")] = ""
    client_id: Annotated[str, _secret("OAuth2 client id.")] = ""
    client_secret: Annotated[str, _secret("OAuth2 client secret; better given as a variable or a file.")] = ""
    client_secret_file: Annotated[
        str, Meta(description="File with the client secret alone; read again for every token, so it may be rotated.")
    ] = ""

    def __post_init__(self) -> None:
        """Wrap the secret, wherever these settings come from."""
        msgspec.structs.force_setattr(self, "client_secret", Secret(without_newline(self.client_secret)))


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
            description="After so long without a sign of life a message is another's (Redis, SQS, new NATS consumers).",
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
        str, Meta(description="Folder that file: references in messages may name files of; empty: none are followed.")
    ] = ""
    reference_buckets: Annotated[
        tuple[str, ...],
        Meta(description="Places s3://bucket/folder/ that s3: references may name objects of; empty: none."),
    ] = ()


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
        str, Meta(description="This worker's name in a shared ledger, no other's; empty: the host's name.")
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
        float, Meta(ge=1, description="After so long without a sign of life a worker's part is the others'.")
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
        float, Meta(gt=0, description="A claim gets no attempt later than this after its first; stops while paused.")
    ] = 900.0
    budget_ratio: Annotated[
        float, Meta(ge=0, le=1, description="Most of all attempts that may be repeats, beyond 10 a second.")
    ] = 0.5


class ClaimSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[claims]`: what is refused here as `invalid`, unsent."""

    payers: Annotated[
        tuple[str, ...], Meta(description="Payer ids the service answers for; an empty list sends the claims of all.")
    ] = SUPPORTED_PAYERS
    types: Annotated[
        tuple[Literal["professional", "institutional", "dental"], ...],
        Meta(min_length=1, description="Kinds of claims that are sent."),
    ] = ("professional", "institutional")
    local_checks: Annotated[
        tuple[Literal["npi", "charge"], ...],
        Meta(description="Further checks made here: the provider's NPI check digit, the charge being a number."),
    ] = ()


class TelemetrySettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[telemetry]`: logs, probes and how long a drain may take."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least level that is logged.")
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
        Meta(ge=0, description="Seconds from SIGTERM to SIGKILL where the worker runs, to be warned; 0: not known."),
    ] = 0.0


class Settings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings, complete and checked."""

    environment: Annotated[
        Environment, Meta(description="What is talked to; chooses base URL and guards. Sandbox is never loaded.")
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
