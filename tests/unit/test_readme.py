"""The README is true: its tables are those of the code, its commands exist."""

import json
import re
from pathlib import Path

import pytest
import typer

from worker.cli import app
from worker.settings import describe
from worker.tally import Tally
from worker.telemetry.events import EVENTS
from worker.telemetry.metrics import TallyCollector

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


def metrics_table() -> str:
    tally = Tally()
    tally.answers[200] = 1  # every metric has a sample then, and with it its labels
    rows = ["| metric | type | meaning |", "|---|---|---|"]
    for metric in TallyCollector(tally).collect():
        labels = metric.samples[0].labels.keys() - {"le"}
        name = f"{metric.name}{'_total' if metric.type == 'counter' else ''}{{{', '.join(labels)}}}".removesuffix("{}")
        rows.append(f"| `{name}` | {metric.type} | {metric.documentation} |")
    return "\n".join(rows)


TABLES = {"settings": settings_table(), "events": events_table(), "metrics": metrics_table()}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_readme_tells_every_setting_event_and_metric_as_the_code_does(table: str) -> None:
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


def test_every_link_within_the_readme_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}

    links = set(re.findall(r"\]\(#([^)]+)\)", README))

    assert links
    assert links <= anchors
