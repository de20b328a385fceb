"""`results`: results out of the ledger, as a table for people, as JSON for programs, as CSV for spreadsheets."""

import csv
import io
import re
from collections.abc import AsyncIterator, Callable
from enum import StrEnum
from typing import Annotated

import anyio
import msgspec
import typer
from rich.padding import Padding

from worker.cli.console import NO_RESULTS, UNFOLDED, amount, known_payers, masked, payer, rows_table, stderr, stdout
from worker.cli.options import Config, add_command, settings_from
from worker.ledger import BEFORE_ALL, read_state
from worker.result import Disposition, Result, decode_result, encode_result
from worker.settings import Settings

EPILOG = """Examples:

  precheck-worker results --disposition rejected --disposition review --config production.toml

  precheck-worker results --batch claims-0117.837 --format csv --show-phi > claims-0117.csv"""

PAGE = 500
TABLE_ROWS = 100
COLUMNS = (
    "claim", "file", "disposition", "reason", "patient control no.", "payer", "charge", "attempts", "completed",
)  # fmt: skip

_BEGIN_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?")


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Wanted(msgspec.Struct, frozen=True):
    """Which results; what is empty does not matter. Of several dispositions any will do."""

    dispositions: frozenset[Disposition]
    reason_code: str | None
    batch: str | None
    limit: int | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "results", results, EPILOG)


def results(
    disposition: Annotated[
        list[Disposition] | None, typer.Option(help="Only results of this disposition; may be given several times.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only results with this reason code.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only results of the batch with this id or file name.")] = None,
    written_as: Annotated[
        Format, typer.Option("--format", help="table; json: one object a line; csv: for a spreadsheet.")
    ] = Format.TABLE,
    show_phi: Annotated[
        bool, typer.Option("--show-phi", help="Show identifiers in full; json and csv get the complete records.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"At most this many, oldest first; a table shows {TABLE_ROWS} unless told otherwise."),
    ] = None,
    config: Config = None,
) -> int:
    """Show the latest result of each claim. The worker may be running; nothing is locked or changed.

    In csv, what a spreadsheet would take for a formula begins with an apostrophe.

    Identifiers of patients and providers are masked, and what the payer wrote is left out, unless you add --show-phi.
    """
    settings = settings_from(config, online=False)
    if written_as is Format.TABLE and limit is None:
        limit = TABLE_ROWS
    wanted = Wanted(frozenset(disposition or ()), reason, batch, limit)
    write = {Format.TABLE: _write_table, Format.JSON: _write_json, Format.CSV: _write_csv}[written_as]
    anyio.run(write, settings, wanted, whole if show_phi else without_phi(settings))
    return 0


async def read(settings: Settings, wanted: Wanted) -> AsyncIterator[Result]:
    """Read results page by page, so that their number costs no memory."""
    left = wanted.limit
    only = next(iter(wanted.dispositions)) if len(wanted.dispositions) == 1 else None
    after = BEFORE_ALL
    async with read_state(settings.state) as ledger:
        while page := await ledger.results(
            disposition=only, reason_code=wanted.reason_code, batch=wanted.batch, after=after, limit=PAGE
        ):
            after = page[-1].seq
            for emission in page:
                result = decode_result(emission.body)
                if wanted.dispositions and result.disposition not in wanted.dispositions:
                    continue
                if left == 0:
                    stderr().print(f"there are more; --limit {wanted.limit} ends here")
                    return
                left = None if left is None else left - 1
                yield result


def whole(result: Result) -> Result:
    """Show it as it is."""
    return result


def without_phi(settings: Settings) -> Callable[[Result], Result]:
    """Make what masks identifiers, and leaves out texts and documents of the payer, which may quote anything."""
    payers = known_payers(settings)

    def shown(result: Result) -> Result:
        return msgspec.structs.replace(
            result,
            message=None,
            patient_control_number=_hidden(result.patient_control_number),
            payer_id=result.payer_id and payer(result.payer_id, payers, show=False),
            provider_tax_id=_hidden(result.provider_tax_id),
            provider_npi=_hidden(result.provider_npi),
            total_charge=_amount(result.total_charge),
            payer_claim_number=_hidden(result.payer_claim_number),
            edits=[msgspec.structs.replace(edit, text=None, amount=_amount(edit.amount)) for edit in result.edits],
            x12_999=None,
            x12_277ca=None,
        )

    return shown


def _hidden(value: str | None) -> str | None:
    return value and masked(value, show=False)


def _amount(value: str | None) -> str | None:
    return value and amount(value, show=False)


async def _write_table(settings: Settings, wanted: Wanted, shown: Callable[[Result], Result]) -> None:
    rows = [_row(shown(result)) async for result in read(settings, wanted)]
    if not rows:
        stderr().print(NO_RESULTS)
    console, table = stdout(), rows_table("", COLUMNS, rows, right=("charge", "attempts"))
    if console.measure(table, options=console.options.update_width(UNFOLDED)).maximum <= console.width:
        console.print(table)
        return
    for claim, file, disposition, reason, *others in rows:  # a column for sentences would have room for syllables
        console.print(f"{claim}  {disposition}  {file}")
        told = ", ".join(f"{name} {value}" for name, value in zip(COLUMNS[4:], others, strict=True))
        console.print(Padding(f"{reason}\n{told}", (0, 0, 0, 2)))


def _row(result: Result) -> tuple[str, ...]:
    return (
        result.claim_id,
        result.batch_name,
        result.disposition.value,
        f"{result.reason.code}: {result.reason.text}" if result.reason else "-",
        result.patient_control_number or "-",
        result.payer_id or "-",
        result.total_charge or "-",
        str(result.attempts),
        result.completed_at,
    )


async def _write_json(settings: Settings, wanted: Wanted, shown: Callable[[Result], Result]) -> None:
    async for result in read(settings, wanted):
        typer.echo(encode_result(shown(result)))


async def _write_csv(settings: Settings, wanted: Wanted, shown: Callable[[Result], Result]) -> None:
    """Write one column a field; a reason is three of them, lists are JSON."""
    columns: list[str] | None = None
    async for result in read(settings, wanted):
        record = _flat(shown(result))
        if columns is None:
            columns = list(record)
            typer.echo(_csv_line(columns), nl=False)
        typer.echo(_csv_line([_no_formula(value) for value in record.values()]), nl=False)


def _flat(result: Result) -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in msgspec.to_builtins(result).items():
        if name == "reason":
            flat |= {f"reason_{part}": (value or {}).get(part) for part in ("code", "text", "source")}
        else:
            flat[name] = msgspec.json.encode(value).decode() if isinstance(value, list) else value
    return flat


def _no_formula(value: object) -> object:
    """Have a text shown as it is where a spreadsheet would evaluate it (CWE-1236); numbers stay numbers."""
    evaluated = isinstance(value, str) and value.startswith(_BEGIN_FORMULAS) and not _NUMBER.fullmatch(value)
    return f"'{value}" if evaluated else value


def _csv_line(values: list[object] | list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()
