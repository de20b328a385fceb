"""What must hold between settings, and what is only warned of."""

from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.settings import guarded, load, warnings_of
from worker.settings.urls import parse_listen

PRODUCTION = {"environment": "production", "auth.client_id": "clinic", "auth.client_secret": "s"}
SANDBOX = {**PRODUCTION, "environment": "sandbox"}


def problems(flags: dict[str, object]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(None, {}, flags)
    return caught.value.problems


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({"api.base_url": "apigw.example"}, "api.base_url"),
        ({"api.base_url": "https://api.example/v1"}, "api.base_url"),
        ({"api.base_url": "https://api.example?x=1"}, "api.base_url"),
        ({"api.base_url": "https://api.example:99999"}, "api.base_url"),
        ({"api.base_url": "ftp://api.example"}, "api.base_url"),
        ({"api.base_url": "https://user:pass@api.example"}, "api.base_url"),
        ({"api.base_url": "https://api.example\n"}, "api.base_url"),
        ({"api.base_url": "http://api.example"}, "api.base_url"),
        ({"api.base_url": "http://10.0.0.7:8080"}, "api.base_url"),
        ({"auth.token_url": "http://login.example/token"}, "auth.token_url"),
        ({"auth.token_url": "/token"}, "auth.token_url"),
        ({"auth.token_path": "token"}, "auth.token_path"),
        ({"api.precheck_path": "//evil.example/x"}, "api.precheck_path"),
        ({"api.health_path": "/a b"}, "api.health_path"),
        ({"api.proxy": "socks5://proxy.example"}, "api.proxy"),
        ({"api.connect_timeout_s": 200}, "api.connect_timeout_s"),
        ({"api.root_field": "claimSubmission"}, "api.root_field"),
        ({"api.incomplete_check_patterns": [" "]}, "api.incomplete_check_patterns"),
        ({"api.headers": {"bad name": "x"}}, "api.headers.'bad name'"),
        ({"api.headers": {"x-a": "1\r\nx-b: 2"}}, "api.headers.'x-a'"),
        ({"api.headers": {"Authorization": "x"}}, "api.headers.'Authorization'"),
        ({"api.headers": {"ProviderTaxId": "x"}}, "api.headers.'ProviderTaxId'"),
        ({"api.codes": {"606": "again"}}, "api.codes.'606'"),
        ({"api.codes": {"305-301": "rejected"}}, "api.codes.'305-301'"),
        ({"api.codes": {" ": "rejected"}}, "api.codes.' '"),
        ({"api.codes": {"305 \u2013 301": "rejected"}}, "api.codes.'305 \u2013 301'"),
        ({"api.codes": {"not found": "rejected"}}, "api.codes.'not found'"),
        ({"api.codes": {"300-310": "retry", "305-320": "review"}}, "api.codes"),
        ({"api.ca_file": "/nowhere/ca.pem"}, "api.ca_file"),
        ({"api.ca_file": "/dev/null"}, "api.ca_file"),
        ({"api.client_cert": "/"}, "api.client_cert"),
        ({"api.client_cert": "a\0b"}, "api.client_cert"),
        ({"auth.client_secret": "a\nb"}, "auth.client_secret"),
        ({"input.url": "spool/in"}, "input.url"),
        ({"input.url": "dir:"}, "input.url"),
        ({"input.url": "amqp:queue"}, "input.url"),
        ({"input.url": "kafka://broker/claims"}, "input.url"),
        ({"output.urls": ["jsonl:a", "jsonl:a"]}, "output.urls"),
        ({"output.urls": ["dir:a"]}, "output.urls"),
        ({"state.url": "redis://host/0"}, "state.url"),
        ({"state.url": "postgresql:db"}, "state.url"),
        ({"flow.max_in_flight": 2, "flow.initial_in_flight": 8}, "flow.initial_in_flight"),
        ({"flow.shared_url": "redis://host/0"}, "flow.shared_url"),
        ({"flow.shared_url": "nats://host", "flow.shared_rate_per_s": 5}, "flow.shared_url"),
        ({"flow.shared_max_in_flight": 5}, "flow.shared_url"),
        (
            {"flow.shared_url": "redis://host", "flow.shared_max_in_flight": 5, "flow.shared_workers": 6},
            "flow.shared_max_in_flight",
        ),
        ({"retry.base_s": 90}, "retry.base_s"),
        ({"claims.payers": [""]}, "claims.payers"),
        ({"telemetry.http": "9837"}, "telemetry.http"),
        ({"telemetry.http": "::1:9837"}, "telemetry.http"),
        ({"telemetry.http": "localhost:70000"}, "telemetry.http"),
        ({"telemetry.http": "localhost:٩"}, "telemetry.http"),
        ({**PRODUCTION, "api.base_url": "https://sandbox-apigw.optum.com"}, "api.base_url"),
        ({**PRODUCTION, "api.base_url": "https://sandbox.gateway.example"}, "api.base_url"),
        ({**PRODUCTION, "auth.token_url": "https://sandbox-apigw.optum.com/token"}, "auth.token_url"),
        ({**SANDBOX, "api.base_url": "https://apigw.optum.com"}, "api.base_url"),
        ({**SANDBOX, "api.base_url": "https://APIGW.optum.com.:443"}, "api.base_url"),
        ({"api.base_url": "https://apigw.optum.com"}, "api.base_url"),
        ({**PRODUCTION, "api.headers": {"Environment": "Sandbox"}}, "api.headers.'environment'"),
        ({**SANDBOX, "api.headers": {"environment": "production"}}, "api.headers.'environment'"),
        ({**PRODUCTION, "auth.client_id": ""}, "auth.client_id"),
        ({**PRODUCTION, "auth.client_secret": "\n"}, "auth.client_secret"),
    ],
)
def test_what_cannot_be_meant_is_one_named_problem(flags: dict[str, object], name: str) -> None:
    (found,) = problems(flags)

    assert found.startswith(f"{name}:")


def test_a_proxy_is_asked_for_in_the_form_that_it_has() -> None:
    (problem,) = problems({"api.proxy": "proxy.example:3128"})

    assert problem.startswith("api.proxy: must be an origin like http://host:port, got")


@pytest.mark.parametrize(
    "flags",
    [
        {"api.base_url": "http://127.0.0.1:8377"},
        {"api.base_url": "http://[::1]:8377/"},
        {"api.base_url": "http://localhost"},
        {"api.proxy": "http://user:pass@proxy.example:3128", "api.base_url": "https://api.example"},
        {"api.request_format": "flat", "api.root_field": ""},
        {"api.headers": {"x-facility": "7", "accept": "application/json"}},
        {"api.codes": {"606": "retry", "301-305": "rejected", "GTW-12": "review", "401 \u2013 404": "retry"}},
        {"input.url": "amqps://u:p@a.example/vhost?queue=claims"},
        {"input.url": "nats://a.example:4222,b.example:4222"},
        {"input.url": "sqs:https://sqs.eu-central-1.example/1/claims"},
        {"input.url": "dir:/spool/in"},
        {"state.url": "postgresql:///precheck?host=/run/postgresql"},
        {"flow.mode": "fixed", "flow.max_in_flight": 2, "flow.initial_in_flight": 8},
        {"telemetry.http": ""},
        {"telemetry.http": "[::]:0"},
        PRODUCTION,
        {**SANDBOX, "api.headers": {"environment": "sandbox"}},
        {**PRODUCTION, "auth.client_secret": "secret\r\n"},
    ],
)
def test_what_can_be_meant_is_let_through(flags: dict[str, object]) -> None:
    load(None, {}, flags)


@pytest.mark.parametrize(
    ("setting", "url", "told"),
    [
        ("output.urls", "jsonl:{}/in/r.jsonl", "must not lie in the input folder"),
        ("output.urls", "edi:{}/out/../in", "must not lie in the input folder"),
        ("output.urls", "edi:{}/link", "must not lie in the input folder"),
        ("output.urls", "edi:{}/work", "must not lie in work/"),
        ("output.urls", "edi:{}/aside", "must not lie in work/"),
        ("output.urls", "jsonl:{}/ledger.db?rotate=daily", "must not be the ledger"),
        ("output.urls", "jsonl:{}/./first.jsonl", "must not name the same place twice"),
        ("output.urls", "edi:{}/acks?rotate=daily", "edi: takes no parameters"),
        ("state.url", "sqlite:{}/in/ledger.db", "must not lie in the input folder"),
    ],
)
def test_places_in_each_others_way_are_one_named_problem(tmp_path: Path, setting: str, url: str, told: str) -> None:
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "aside").symlink_to("work/acks")
    first, place = f"jsonl:{tmp_path}/first.jsonl", url.format(tmp_path)
    flags = {"input.url": f"dir:{tmp_path}/in", "state.url": f"sqlite:{tmp_path}/ledger.db"}

    (problem,) = problems({**flags, setting: [first, place] if setting == "output.urls" else place})

    assert problem.startswith(f"{setting}: {told}")


@pytest.mark.parametrize(
    ("taken", "put"),
    [
        ("amqp://u:p@rabbit/v?queue=q", "amqp://other@rabbit:5672/v?queue=q&dead=d"),
        ("amqps://rabbit/?queue=q", "amqps://rabbit:5671?queue=q"),
        ("nats://nats", "nats://nats:4222?subject=precheck.claims"),
        ("redis://cache/0", "redis://cache:6379?stream=precheck:claims"),
        ("sqs:https://sqs.eu-central-1.amazonaws.com/1/q", "sqs:https://sqs.eu-central-1.amazonaws.com/1/q?group=g"),
    ],
)
def test_results_on_the_queue_that_batches_come_from_are_one_named_problem(taken: str, put: str) -> None:
    (problem,) = problems({"input.url": taken, "output.urls": [put]})

    assert problem.startswith("output.urls: must not be the queue of input.url")


@pytest.mark.parametrize(
    ("taken", "put"),
    [
        ("amqp://rabbit/?queue=q", "amqp://rabbit/v?queue=q"),
        ("amqp://rabbit/?queue=q", "amqp://rabbit"),
        ("amqp://rabbit", "amqp://rabbit"),
        ("redis://cache/0", "redis://cache/1?stream=precheck:claims"),
        ("redis://cache/0?stream=a", "nats://cache?subject=a"),
        ("sqs:claims", "sqs:results"),
    ],
)
def test_results_on_another_queue_of_the_same_broker_are_let_through(taken: str, put: str) -> None:
    assert load(None, {}, {"input.url": taken, "output.urls": [put]}).output.urls == (put,)


def test_results_below_a_folder_of_the_input_folder_are_let_through(tmp_path: Path) -> None:
    flags = {"input.url": f"dir:{tmp_path}", "output.urls": [f"jsonl:{tmp_path}/out/r.jsonl"]}

    assert load(None, {}, flags).output.urls == (f"jsonl:{tmp_path}/out/r.jsonl",)


def test_secret_and_secret_file_together_are_a_problem(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")

    (found,) = problems({**PRODUCTION, "auth.client_secret_file": str(secret)})

    assert "keep one of them" in found


@pytest.mark.parametrize("address", ["127.0.0.1:9837", "localhost:1", "worker.internal:80"])
def test_an_address_to_listen_on_is_taken_apart(address: str) -> None:
    host, port = parse_listen(address)

    assert f"{host}:{port}" == address


def test_a_bracketed_address_loses_its_brackets() -> None:
    assert parse_listen("[::1]:9837") == ("::1", 9837)


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ({}, []),
        ({"telemetry.drain_s": 20}, ["telemetry.drain_s"]),
        ({"telemetry.stop_grace_s": 30}, ["telemetry.drain_s"]),
        ({"telemetry.stop_grace_s": 140}, []),
        ({"retry.deadline_s": 60}, ["retry.deadline_s"]),
        ({"api.precheck_path": "/oihub/claim/actions/v1"}, ["api.safe_to_repeat"]),
        ({"api.precheck_path": "/oihub/claim/actions/v1", "api.safe_to_repeat": False}, []),
        ({**PRODUCTION, "input.url": "amqp://broker.example/q"}, ["input.url"]),
        ({**PRODUCTION, "output.urls": ["redis://cache.example/0"]}, ["output.urls"]),
        ({**PRODUCTION, "output.urls": ["postgresql://u@db.example/d?sslmode=disable"]}, ["output.urls"]),
        ({**PRODUCTION, "output.urls": ["postgresql://u@db.example/d"]}, []),
        ({**PRODUCTION, "output.urls": ["postgresql://u@127.0.0.1/d?sslmode=disable"]}, []),
        ({**PRODUCTION, "input.url": "amqp://127.0.0.1/q"}, []),
        ({**PRODUCTION, "input.url": "sqs:claims?region=us-east-1&endpoint=http://sqs.example:9324"}, ["input.url"]),
        ({**PRODUCTION, "input.url": "sqs:claims?endpoint=http%3A%2F%2Fsqs.example"}, ["input.url"]),
        ({**PRODUCTION, "input.url": "sqs:http://sqs.example/1/claims"}, ["input.url"]),
        ({**PRODUCTION, "input.url": "sqs:claims?endpoint=http://127.0.0.1:9324"}, []),
        ({**PRODUCTION, "input.url": "sqs:https://sqs.us-east-1.amazonaws.com/1/claims"}, []),
        ({**PRODUCTION, "input.url": "amqps://broker.example/q"}, []),
        ({**PRODUCTION, "input.url": "nats://broker.example?subject=q"}, ["input.url"]),
        ({**PRODUCTION, "input.url": "nats://broker.example?subject=q&tls=true"}, []),
        ({"input.url": "amqp://broker.example/q"}, []),
    ],
)
def test_what_is_allowed_and_probably_not_meant_is_warned_of(flags: dict[str, object], names: list[str]) -> None:
    assert [warning.partition(":")[0] for warning in warnings_of(load(None, {}, flags))] == names


def test_the_sandbox_is_never_loaded_whatever_the_settings_say() -> None:
    flow = guarded(load(None, {}, {**SANDBOX, "flow.max_in_flight": 900, "flow.rate_per_s": 50})).flow

    assert (flow.max_in_flight, flow.initial_in_flight, flow.rate_per_s) == (2, 2, 1.0)


def test_a_gentler_flow_than_the_guard_is_kept() -> None:
    flow = guarded(load(None, {}, {**SANDBOX, "flow.max_in_flight": 1, "flow.rate_per_s": 0.2})).flow

    assert (flow.max_in_flight, flow.initial_in_flight, flow.rate_per_s) == (1, 1, 0.2)


def test_the_guard_is_for_the_sandbox_only() -> None:
    settings = load(None, {}, PRODUCTION)

    assert guarded(settings) is settings
