"""No message, repr or dump of the settings shows a secret."""

import os
import pickle
import traceback
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from rich.pretty import pretty_repr

from worker.errors import SettingsError
from worker.settings import AuthSettings, Secret, load, masked_url, read_secret

CANARY = "canary-7f3a"
FLAGS: dict[str, object] = {
    "environment": "production",
    "auth.client_id": f"id-{CANARY}",
    "auth.client_secret": CANARY,
    "api.headers": {"x-api-key": CANARY},
    "api.proxy": f"http://user:{CANARY}@proxy.example:3128",
    "input.url": f"amqps://user:{CANARY}@broker.example/q",
    "output.urls": [f"postgresql://db.example/r?password={CANARY}"],
    "state.url": f"postgresql://user:{CANARY}@db.example/ledger",
}


def test_no_repr_of_the_settings_shows_a_secret() -> None:
    settings = load(None, {}, FLAGS)
    console = Console(width=4000)

    with console.capture() as captured:
        console.print(settings, settings.auth, locals())

    for shown in (repr(settings), str(settings), f"{settings.auth}", pretty_repr(settings), captured.get()):
        assert CANARY not in shown
    assert CANARY not in repr(vars_of(settings.auth))


def vars_of(auth: AuthSettings) -> list[object]:
    return [auth.client_secret, {"secret": auth.client_secret}]


def test_dumping_the_settings_fails_instead_of_showing_the_secret() -> None:
    settings = load(None, {}, FLAGS)

    for dump in (msgspec.json.encode, msgspec.to_builtins, msgspec.msgpack.encode):
        with pytest.raises(TypeError) as caught:
            dump(settings)
        assert CANARY not in str(caught.value)


def test_the_secret_is_a_plain_text_where_it_is_used_on_purpose() -> None:
    secret = load(None, {}, FLAGS).auth.client_secret

    assert secret == CANARY
    assert type(str(secret)) is str
    assert f"client_secret={secret}" == f"client_secret={CANARY}"


def test_a_secret_stays_one_through_replacing_and_copying() -> None:
    auth = load(None, {}, FLAGS).auth

    replaced = msgspec.structs.replace(auth, scope="x")

    assert isinstance(replaced.client_secret, Secret)
    assert isinstance(pickle.loads(pickle.dumps(auth.client_secret)), Secret)  # noqa: S301 - made in this line


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth.client_secret": 7},
        {"auth.client_secret": [CANARY]},
        {"auth.client_secret": f"{CANARY}\nx"},
        {"auth.client_id": f"{CANARY}\r"},
        {"api.headers": {"x-key": f"{CANARY}\n"}},
        {"api.headers": {"x-key": 5, "y": CANARY}},
        {"api.headers": {"x key": CANARY}},
        {"api.base_url": f"http://u:{CANARY}@api.example"},
        {"auth.token_url": f"https://u:{CANARY}@api.example/token"},
        {"api.proxy": f"socks://u:{CANARY}@proxy.example"},
        {"input.url": f"kafka://u:{CANARY}@broker.example"},
        {"input.url": f"amqp:u:{CANARY}@broker.example"},
        {"output.urls": [f"kafka://u:{CANARY}/x@y@broker.example"]},
        {"output.urls": f"amqp://u:{CANARY}@broker.example"},
        {"state.url": f"mysql://db.example/x?api_key={CANARY}"},
    ],
)
def test_no_problem_and_no_traceback_shows_a_secret(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(None, {}, {**FLAGS, **wrong})

    shown = "".join(traceback.format_exception(caught.value, chain=True)).partition("SettingsError")[2]
    assert CANARY not in shown
    assert CANARY not in repr(caught.value.problems)
    assert caught.value.__cause__ is None


def test_wrong_secrets_in_variables_are_not_shown() -> None:
    environ = {"PRECHECK_API__HEADERS": f'{{"x-key": "{CANARY}"', "PRECHECK_AUTH__CLIENT_SECRT": CANARY}

    with pytest.raises(SettingsError) as caught:
        load(None, environ)

    assert len(caught.value.problems) == 2
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://u:p@host/q", "amqp://***@host/q"),
        ("amqp://u:p/a@ss@host/q", "amqp://***@host/q"),
        ("amqp:u:p@host", "amqp:***@host"),
        ("postgresql://host/db?user=a&password=b&x=1", "postgresql://host/db?user=a&password=***&x=1"),
        ("jsonl:spool/out.jsonl", "jsonl:spool/out.jsonl"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert masked_url(url) == shown


@pytest.mark.parametrize("content", [b"hush", b"hush\n", b"hush\r\n"])
def test_one_newline_at_the_end_of_a_secret_file_is_not_part_of_the_secret(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)

    secret = read_secret(str(path))

    assert secret == "hush"
    assert repr(secret) == "'***'"


@pytest.mark.fault(78)
@pytest.mark.parametrize("content", [b"", b"\n", b"hush\n\n", b"hu\nsh", b"hush\xff", b"h" * 70_000])
def test_a_secret_file_without_one_secret_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    flags = {**FLAGS, "auth.client_secret": None, "auth.client_secret_file": str(path)}

    with pytest.raises(SettingsError) as caught:
        load(None, {}, flags)

    (problem,) = caught.value.problems
    assert problem.startswith(f"auth.client_secret_file: cannot use {str(path)!r}: ")
    assert "hush" not in problem


@pytest.mark.fault(78)
def test_a_secret_file_that_is_none_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "locked").write_text("hush")
    paths = [tmp_path / "missing", tmp_path, tmp_path / "fifo", Path("/dev/null")]

    for path in paths:
        with pytest.raises(SettingsError, match="client_secret_file"):
            read_secret(str(path))


def test_a_secret_file_may_be_a_link_as_kubernetes_makes_them(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("hush\n")
    (tmp_path / "secret").symlink_to("data")

    assert read_secret(str(tmp_path / "secret")) == "hush"
