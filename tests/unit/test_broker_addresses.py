"""A broker's URL is read completely or refused, and never told with its password."""

import sys
from pathlib import Path

import pytest

from worker.brokers.address import parse_address
from worker.brokers.extras import needs_extra
from worker.brokers.senders import sender_from_url
from worker.errors import SettingsError
from worker.postgres.address import parse_address as parse_database_address
from worker.settings import InputSettings
from worker.settings.overlaps import _BROKERS
from worker.sources import inlet_from_url


def test_a_url_is_taken_apart_and_its_repr_shows_no_password() -> None:
    address = parse_address(
        "redis://us%40er:hun%2Fter2@host:7000/3?stream=a",
        setting="input.url",
        port=1,
        parameters={"stream": "", "x": "y"},
    )

    assert (address.host, address.port, address.path, address.user) == ("host", 7000, "3", "us@er")
    assert (str(address.password), address["stream"], address["x"]) == ("hun/ter2", "a", "y")
    assert "hun" not in repr(address) + address.shown


def test_the_password_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")

    address = parse_address(f"redis://u@host?password_file={file}", setting="input.url", port=1, parameters={})

    assert str(address.password) == "hunter2"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "redis://u:hunter2@host?streem=a",
            "input.url: unknown parameter 'streem', known are ca_file, password_file, stream",
        ),
        ("redis://u:hunter2@host:port", "input.url: is no URL that can be read"),
        ("redis://u:hunter2@?stream=a", "input.url: must name a host"),
        ("redis://u:hunter2@host?stream=", "input.url: parameter stream is empty"),
        ("redis://u@host?password_file=/nowhere/hunter", "input.url: cannot use '/nowhere/hunter'"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_without_its_password(url: str, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_address(url, setting="input.url", port=1, parameters={"stream": "s"})

    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


PASSWORDS = (
    "hunt@er/2",
    "hunt@er?2",
    "hunt@er#2",
    "11#hunter",
    "11?hunter",
    "11/hunter",
    "11?x=hunter",
    "hunt/er@2",
    "[hunter",
)


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_that_breaks_the_url_is_refused_with_what_helps_and_not_told(password: str) -> None:
    with pytest.raises(SettingsError) as broker:
        parse_address(f"redis://u:{password}@host:7000/3?stream=a", setting="x", port=1, parameters={"stream": ""})
    with pytest.raises(SettingsError) as database:
        parse_database_address(f"postgresql://u:{password}@host:5432/base?table=a", setting="x")

    for told in (str(broker.value), str(database.value)):
        assert "%40 for @" in told
        assert not any(part in told for part in ("hunt", "er2", "11"))


def test_an_at_sign_in_a_parameter_is_no_part_of_a_password(tmp_path: Path) -> None:
    file = tmp_path / "pass@word"
    file.write_text("hunter2")

    address = parse_address(f"redis://u@host?password_file={file}", setting="input.url", port=1, parameters={})

    assert str(address.password) == "hunter2"


def test_a_library_that_is_not_installed_names_its_extra() -> None:
    missing = "worker_test_no_such_library"
    assert missing not in sys.modules

    told = r"input.url: .*pip install '\.\[redis\]'"
    with pytest.raises(SettingsError, match=told), needs_extra("redis", setting="input.url"):
        __import__(missing)


def test_an_unknown_broker_is_named_without_what_follows() -> None:
    with pytest.raises(SettingsError, match="--to: no broker is known for 'kafka:'") as refused:
        sender_from_url("kafka://u:hunter2@host", setting="--to", place="x")

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("scheme", _BROKERS)
def test_the_settings_know_where_a_source_takes_from_if_its_url_does_not_say(scheme: str) -> None:
    parameter, port, default = _BROKERS[scheme]

    address = vars(inlet_from_url(f"{scheme}://host", InputSettings()))["_address"]

    assert (address.port, address[parameter]) == (port, default)
