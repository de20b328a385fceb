"""The settings that describe the service: its calls, token, and the claims it answers for (contract.md §1 to §4)."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from worker.settings.secret import Secret, without_newline
from worker.settings.section import Section, secret

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


class ApiSettings(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[api]`: where and how a claim is posted."""

    base_url: Annotated[str, Meta(description="Origin of the API, scheme://host[:port]; empty: by `environment`.")] = ""
    precheck_path: Annotated[
        str, Meta(description="Path that a claim is posted to, appended to the origin as it is.")
    ] = "/oihub/pre-service/v1/claim/precheck"
    health_path: Annotated[
        str, Meta(description="Path of the health endpoint, which tells whether the service is up.")
    ] = "/oihub/pre-service/v1/healthcheck"
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
        dict[str, str], secret("Further request headers, name = value; the worker's own cannot be replaced.")
    ] = msgspec.field(default_factory=dict)
    attempt_timeout_s: Annotated[
        float, Meta(gt=0, description="How long one call may take in all; the service's gateway gives up after 110 s.")
    ] = 120.0
    connect_timeout_s: Annotated[float, Meta(gt=0, description="How long making a connection may take.")] = 10.0
    max_response_bytes: Annotated[
        int, Meta(ge=1024, description="Answers larger than this are not read to the end.")
    ] = 4 << 20
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
    ] = msgspec.field(default_factory=dict)
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
    client_id: Annotated[str, secret("OAuth2 client id.")] = ""
    client_secret: Annotated[str, secret("OAuth2 client secret; better given as a variable or a file.")] = ""
    client_secret_file: Annotated[
        str, Meta(description="File with the client secret alone; read again for every token, so it may be rotated.")
    ] = ""

    def __post_init__(self) -> None:
        """Wrap the secret, wherever these settings come from."""
        msgspec.structs.force_setattr(self, "client_secret", Secret(without_newline(self.client_secret)))


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
