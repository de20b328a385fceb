"""The README is true: its tables are those of the code, its commands exist."""

import json
import re
from pathlib import Path

import pytest
import typer

from worker.cli import app
from worker.settings import describe
from worker.telemetry.events import EVENTS

README = (Path(__file__).parents[2] / "README.md").read_text()


def settings_table() -> str:
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for setting in describe():
        # JSON, which is TOML as well for all that a setting can be.
        default = f"`{json.dumps(setting.default)}`" if setting.default not in ("", (), {}) else ""
        shown = default if len(default) <= 40 else "see `config/production.toml`"
        rows.append(f"| `{setting.name}` | {setting.type} | {shown} | {setting.meaning} |")
    return "\n".join(rows)


def events_table() -> str:
    rows = ["| event | level | meaning | what to do |", "|---|---|---|---|"]
    rows += [f"| `{event.name}` | {event.level} | {event.meaning} | {event.action} |" for event in EVENTS]
    return "\n".join(rows)


@pytest.mark.parametrize("table", [settings_table(), events_table()], ids=["settings", "events"])
def test_the_readme_tells_every_setting_and_every_event_as_the_code_does(table: str) -> None:
    missing = [row for row in table.splitlines() if row not in README]

    assert missing == []


def test_every_command_of_the_readme_exists_and_every_command_is_in_the_readme() -> None:
    commands = set(typer.main.get_group(app).commands)

    told = set(re.findall(r"precheck-worker (\w+)", README)) | set(re.findall(r"^\| `(\w+)[ `]", README, re.MULTILINE))

    assert commands <= told
    assert set(re.findall(r"\.venv/bin/precheck-worker (\w+)", README)) <= commands


def test_the_commands_that_ci_pastes_are_marked() -> None:
    for marker in ("demo", "tests"):
        assert re.search(rf"<!-- {marker} -->\n```sh\n\S.*\n```", README)
