"""`inspect`: what is inside given files and what would be sent; no network."""

import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from worker.claim import CHUNK_BYTES
from worker.cli.console import NO_FILES, amount, known_payers, masked, payer, plural, rows_table, stderr, stdout
from worker.cli.options import Config, add_command, settings_from
from worker.errors import SettingsError
from worker.screening import Screen, make_screen
from worker.settings import Settings
from worker.sources.listed import files_in, finding_of, problem_with
from worker.sources.names import displayed
from worker.sources.readiness import too_large
from worker.sources.reading import Candidate, NotAFile, Unreadable
from worker.x12 import Finding, SplitClaim, Survey, split, survey

EPILOG = """Examples:

  precheck-worker inspect claims.837

  precheck-worker inspect /data/in --all --show-phi"""

SHOWN_CLAIMS = 20
SENT = ("sent", "")
COLUMNS = ("claim", "type", "payer", "tax id", "NPI", "patient control no.", "charge", "bytes", "would be")


class Inspection(msgspec.Struct, frozen=True):
    """What one file holds: its survey, the claims to show, and how many would be sent or refused, by code and text."""

    survey: Survey
    shown: list[tuple[SplitClaim, str]]
    outcomes: Counter[tuple[str, str]]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "inspect", inspect, EPILOG)


def inspect(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="837 files, or folders of them.", readable=False)
    ],
    config: Config = None,
    show_phi: Annotated[bool, typer.Option("--show-phi", help="Show identifiers in full.")] = False,
    every: Annotated[bool, typer.Option("--all", help=f"Show every claim, not only the first {SHOWN_CLAIMS}.")] = False,
) -> int:
    """Show what is inside 837 files and what would be sent, claim by claim. Nothing is sent or moved.

    The exit code is 1 if something would be refused, or a file is not readable as X12.
    """
    settings = settings_from(config, online=False)
    if problems := [problem for path in paths if (problem := problem_with(path)) is not None]:
        raise SettingsError(problems)
    console = stdout()
    sound: list[bool] = []
    for path in _files(paths):
        found = look_into(path, settings, most=None if every else SHOWN_CLAIMS)
        _show(console, path, found, known_payers(settings), show_phi=show_phi)
        sound.append(found.survey.refusal is None and set(found.outcomes) <= {SENT})
    if not sound:
        stderr().print(NO_FILES)
    return 0 if all(sound) else 1


def look_into(path: Path, settings: Settings, *, most: int | None) -> Inspection:
    """Read one file; `most` bounds the claims that are kept to be shown. What cannot be read is refused."""
    try:
        with Candidate(path, None, ask=False, follow=True) as file:
            if (excess := too_large(file.size, settings.input.max_batch_bytes)) is not None:
                return _unread(excess)
            return _read(file, settings, most=most)
    except (NotAFile, Unreadable, OSError) as error:
        return _unread(finding_of(error))


def _read(file: Candidate, settings: Settings, *, most: int | None) -> Inspection:
    screen = make_screen(settings.claims, settings.environment)
    found = Inspection(survey(_chunks(file)), [], Counter())
    if found.survey.refusal is not None:
        return found
    file.rewind()
    for claim in split(_chunks(file), found.survey, mode=settings.input.split):
        outcome = _outcome(claim, screen)
        found.outcomes[outcome] += 1
        if most is None or len(found.shown) < most:
            found.shown.append((claim, outcome[0]))
    return found


def _unread(finding: Finding) -> Inspection:
    return Inspection(Survey(complete=False, refusal=finding), [], Counter())


def _outcome(claim: SplitClaim, screen: Screen) -> tuple[str, str]:
    if claim.refusal is not None:
        return claim.refusal.code, claim.refusal.text
    reason = screen(claim.facts)
    return SENT if reason is None else (reason.code, reason.text.removeprefix("Not sent: ").removesuffix("."))


def _show(console: Console, path: Path, found: Inspection, payers: Collection[str], *, show_phi: bool) -> None:
    surveyed = found.survey
    console.print(f"\n{displayed(path.name)}", style="bold")
    if surveyed.refusal is not None:
        console.print(f"  not processed: {surveyed.refusal.code}: {surveyed.refusal.text}")
        return
    parts = (
        (surveyed.interchanges, "interchange"),
        (surveyed.groups, "functional group"),
        (surveyed.sets, "transaction set"),
        (surveyed.claims, "claim"),
    )
    console.print("  " + ", ".join(plural(count, noun) for count, noun in parts))
    for finding in surveyed.findings:
        console.print(f"  {_finding(finding)}")
    rows = [_row(claim, outcome, payers, show_phi=show_phi) for claim, outcome in found.shown]
    console.print(rows_table("", COLUMNS, rows, right=("claim", "charge", "bytes")))
    hidden = sum(found.outcomes.values()) - len(found.shown)
    if hidden:
        console.print(f"  … and {hidden:,} more (--all shows them)")
    for (code, text), count in found.outcomes.most_common():
        verb = "would be sent" if (code, text) == SENT else f"would be refused: {code}: {text}"
        console.print(f"  {plural(count, 'claim')} {verb}")


def _finding(finding: Finding) -> str:
    place = f" (interchange {finding.interchange}, segment {finding.segment})" if finding.segment else ""
    return f"{finding.severity}: {finding.code}: {finding.text}{place}"


def _row(claim: SplitClaim, outcome: str, payers: Collection[str], *, show_phi: bool) -> tuple[str, ...]:
    facts = claim.facts
    return (
        str(claim.ordinal),
        facts.claim_type or "-",
        payer(facts.payer_id, payers, show=show_phi),
        masked(facts.provider_tax_id, show=show_phi),
        masked(facts.provider_npi, show=show_phi),
        masked(facts.patient_control_number, show=show_phi),
        amount(facts.total_charge, show=show_phi),
        str(len(claim.interchange)) if claim.interchange else "-",
        outcome,
    )


def _files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(files_in(path))
        else:
            yield path


def _chunks(file: Candidate) -> Iterator[bytes]:
    while chunk := os.read(file.fd, CHUNK_BYTES):
        yield chunk
