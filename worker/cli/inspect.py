"""`inspect`: what is inside given files and what would be sent; no network."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from worker.claim import CHUNK_BYTES
from worker.cli.console import masked, plural, rows_table, stdout
from worker.cli.options import Config, add_command, settings_from
from worker.screening import Screen, make_screen
from worker.settings import Settings
from worker.x12 import Finding, SplitClaim, Survey, split, survey

EPILOG = """Examples:

  precheck-worker inspect claims.837

  precheck-worker inspect /data/in --all --show-phi"""

SHOWN_CLAIMS = 20
COLUMNS = ("claim", "type", "payer", "tax id", "NPI", "patient control no.", "charge", "bytes", "would be")


class Inspection(msgspec.Struct, frozen=True):
    """What one file holds: its survey, the claims to show, and how many would be sent or refused, by reason."""

    survey: Survey
    shown: list[tuple[SplitClaim, str]]
    outcomes: Counter[str]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "inspect", inspect, EPILOG)


def inspect(
    paths: Annotated[list[Path], typer.Argument(help="837 files, or folders of them.", exists=True)],
    config: Config = None,
    show_phi: Annotated[bool, typer.Option("--show-phi", help="Show identifiers in full.")] = False,
    every: Annotated[bool, typer.Option("--all", help=f"Show every claim, not only the first {SHOWN_CLAIMS}.")] = False,
) -> int:
    """Show what is inside 837 files and what would be sent, claim by claim. Nothing is sent or moved.

    The exit code is 1 if something would be refused, or a file is not readable as X12.
    """
    settings = settings_from(config, online=False)
    console = stdout()
    sound = True
    for path in _files(paths):
        found = look_into(path, settings, most=None if every else SHOWN_CLAIMS)
        _show(console, path, found, show_phi=show_phi)
        sound = sound and found.survey.refusal is None and set(found.outcomes) <= {"sent"}
    return 0 if sound else 1


def look_into(path: Path, settings: Settings, *, most: int | None) -> Inspection:
    """Read one file; `most` bounds the claims that are kept to be shown."""
    screen = make_screen(settings.claims, settings.environment)
    found = Inspection(survey(_chunks(path)), [], Counter())
    if found.survey.refusal is not None:
        return found
    for claim in split(_chunks(path), found.survey, mode=settings.input.split):
        outcome = _outcome(claim, screen)
        found.outcomes[outcome] += 1
        if most is None or len(found.shown) < most:
            found.shown.append((claim, outcome))
    return found


def _outcome(claim: SplitClaim, screen: Screen) -> str:
    if claim.refusal is not None:
        return claim.refusal.code
    reason = screen(claim.facts)
    return "sent" if reason is None else reason.code


def _show(console: Console, path: Path, found: Inspection, *, show_phi: bool) -> None:
    surveyed = found.survey
    console.print(f"\n{path.name}", markup=False, style="bold")
    if surveyed.refusal is not None:
        console.print(f"  not processed: {surveyed.refusal.code}: {surveyed.refusal.text}", markup=False)
        return
    parts = (
        (surveyed.interchanges, "interchange"),
        (surveyed.groups, "functional group"),
        (surveyed.sets, "transaction set"),
        (surveyed.claims, "claim"),
    )
    console.print("  " + ", ".join(plural(count, noun) for count, noun in parts), markup=False)
    for finding in surveyed.findings:
        console.print(f"  {_finding(finding)}", markup=False)
    rows = [_row(claim, outcome, show_phi=show_phi) for claim, outcome in found.shown]
    console.print(rows_table("", COLUMNS, rows, right=("claim", "charge", "bytes")))
    hidden = sum(found.outcomes.values()) - len(found.shown)
    if hidden:
        console.print(f"  … and {hidden:,} more (--all shows them)", markup=False)
    for outcome, count in found.outcomes.most_common():
        verb = "would be sent" if outcome == "sent" else f"would be refused: {outcome}"
        console.print(f"  {plural(count, 'claim')} {verb}", markup=False)


def _finding(finding: Finding) -> str:
    place = f"interchange {finding.interchange}, segment {finding.segment}"
    return f"{finding.severity}: {finding.code}: {finding.text} ({place})"


def _row(claim: SplitClaim, outcome: str, *, show_phi: bool) -> tuple[str, ...]:
    facts = claim.facts
    return (
        str(claim.ordinal),
        facts.claim_type or "-",
        facts.payer_id or "-",
        masked(facts.provider_tax_id, show=show_phi),
        masked(facts.provider_npi, show=show_phi),
        masked(facts.patient_control_number, show=show_phi),
        facts.total_charge or "-",
        str(len(claim.interchange)) if claim.interchange else "-",
        outcome,
    )


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(child for child in path.iterdir() if child.is_file() and not child.name.startswith("."))
        else:
            yield path


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk
