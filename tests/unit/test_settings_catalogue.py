"""Every setting is described once, and the shipped config files explain and load all of them."""

import re
from pathlib import Path

import msgspec
import pytest

from worker.screening import LOCAL_CHECKS
from worker.settings import ClaimSettings, Settings, describe, load

CONFIG = Path(__file__).parents[2] / "config"
NEEDED = {"PRECHECK_AUTH__CLIENT_ID": "clinic"}


def test_every_setting_has_a_type_a_variable_and_a_meaning() -> None:
    settings = describe()

    assert len(settings) == len({setting.name for setting in settings})
    for setting in settings:
        assert setting.meaning.endswith((".", ".)"))
        assert setting.type
        assert setting.variable == "PRECHECK_" + setting.name.upper().replace(".", "__")


def test_every_default_is_a_value_that_its_own_setting_accepts() -> None:
    for setting in describe():
        assert setting.convert(msgspec.to_builtins(setting.default)) == setting.default


@pytest.mark.parametrize("text", ["[]", '["a"]', "1", "true", "x"])
def test_no_text_makes_converting_raise_anything_but_what_it_promises(text: str) -> None:
    for setting in describe():
        try:
            setting.convert(text, text=True)
        except ValueError:
            continue


def test_the_local_checks_that_may_be_named_are_those_that_exist() -> None:
    (checks,) = (setting for setting in describe() if setting.name == "claims.local_checks")

    assert checks.convert(list(LOCAL_CHECKS)) == tuple(LOCAL_CHECKS)
    for name in ("npi", "charge"):
        assert name in LOCAL_CHECKS
    assert ClaimSettings().local_checks == ()


def test_production_toml_explains_every_setting_with_its_default() -> None:
    text = (CONFIG / "production.toml").read_text()
    section, shown = "", {}
    for line in text.splitlines():
        if heading := re.match(r"\[(\w+)\]\Z", line):
            section = f"{heading[1]}."
        elif entry := re.match(r"(#?)(\w+) = (.*)\Z", line):
            shown[section + entry[2]] = (entry[1], entry[3])

    known = {setting.name: setting for setting in describe()}
    assert shown.keys() == known.keys()
    for name, (commented, written) in shown.items():
        if commented:
            value = known[name].convert(msgspec.toml.decode(f"x = {written}")["x"])
            assert value == known[name].default, name


def test_every_setting_is_preceded_by_its_explanation() -> None:
    previous = ""
    for line in (CONFIG / "production.toml").read_text().splitlines():
        if re.match(r"#?\w+ = ", line):
            assert previous.startswith("#"), line
        previous = line


def test_the_local_file_loads_as_it_is() -> None:
    settings = load(CONFIG / "local.toml", {})

    assert settings.environment == "simulator"
    assert settings.claims.payers == ()


@pytest.mark.parametrize("environment", ["sandbox", "production"])
def test_the_other_files_load_once_they_have_their_credentials(tmp_path: Path, environment: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")

    settings = load(CONFIG / f"{environment}.toml", NEEDED, {"auth.client_secret_file": str(secret)})

    assert settings.environment == environment
    assert settings.api == Settings().api


def test_sandbox_and_production_share_no_place() -> None:
    sandbox, production = (load(CONFIG / f"{name}.toml", {}, online=False) for name in ("sandbox", "production"))

    assert sandbox.auth.client_secret_file != production.auth.client_secret_file
    assert sandbox.input.url != production.input.url
    assert sandbox.state.url != production.state.url
    assert not {*sandbox.output.urls} & {*production.output.urls}
