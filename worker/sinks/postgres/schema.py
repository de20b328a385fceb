"""The table of results, version 1, as analysts see it (README, "Results in PostgreSQL").

Three things, named after the table: the table itself, ``…_latest``, a view of each claim's latest result, and
``…_version``, whose one row says which version of this they are. The typed columns are read out of the record by the
server, so that table and record cannot tell different things; only a charge that is no number is a null in its column.
"""

from collections.abc import Iterator

import msgspec

from worker.postgres.address import Address

VERSION = 1


class Column(msgspec.Struct, frozen=True):
    """A column of the table, and how its value is read from ``record``; empty for what the server fills in."""

    name: str
    type: str
    value: str = ""


def _text(name: str, *, rule: str = "") -> Column:
    return Column(name, f"text{rule}", f"record->>'{name}'")


def _number(name: str, kind: str = "integer", *, rule: str = "") -> Column:
    return Column(name, f"{kind}{rule}", f"(record->>'{name}')::{kind}")


def _reason(name: str) -> Column:
    return Column(f"reason_{name}", "text", f"record->'reason'->>'{name}'")


_NEEDED = " NOT NULL"
_CHARGE = r"^-?([0-9]{1,18}(\.[0-9]{0,9})?|\.[0-9]{1,9})$"

COLUMNS = (
    _text("result_id", rule=" PRIMARY KEY"),
    _text("claim_id", rule=_NEEDED),
    _number("generation", rule=_NEEDED),
    _text("supersedes"),
    _text("batch_id", rule=_NEEDED),
    _text("batch_name", rule=_NEEDED),
    _number("ordinal", rule=_NEEDED),
    _text("disposition", rule=_NEEDED),
    _reason("code"),
    _reason("text"),
    _reason("source"),
    _text("transaction_id"),
    _text("status_code"),
    _text("response_type"),
    _text("message"),
    _number("http_status"),
    _number("attempts", rule=_NEEDED),
    _number("ambiguous_attempts", rule=_NEEDED),
    _text("correlation_id"),
    _text("trace_id"),
    _text("patient_control_number"),
    _text("claim_type"),
    _text("payer_id"),
    _text("provider_tax_id"),
    _text("provider_npi"),
    Column(
        "total_charge",
        "numeric",
        f"CASE WHEN record->>'total_charge' ~ '{_CHARGE}' THEN (record->>'total_charge')::numeric END",
    ),
    _text("payer_claim_number"),
    _text("duplicate_of"),
    _number("received_at", "timestamptz", rule=_NEEDED),
    _number("first_sent_at", "timestamptz"),
    _number("completed_at", "timestamptz", rule=_NEEDED),
    _number("latency_ms", "bigint"),
    _text("environment", rule=_NEEDED),
    Column("record", "jsonb NOT NULL", "record"),
    Column("inserted_at", "timestamptz NOT NULL DEFAULT now()"),
    Column("seq", "bigint GENERATED ALWAYS AS IDENTITY"),
)
_INDEXES = {"claim": "claim_id, generation", "batch": "batch_id", "completed": "completed_at"}


def named(address: Address, suffix: str = "") -> str:
    """Name the table, or what stands beside it, for a statement. The parts are names of lower-case letters."""
    return f'"{address.schema}"."{address.table}{suffix}"'


def creation(address: Address) -> Iterator[str]:
    """Give the statements that make everything, to be run in one transaction."""
    table, columns = named(address), ",\n".join(f"  {column.name} {column.type}" for column in COLUMNS)
    yield f"CREATE TABLE {table} (\n{columns}\n)"
    for suffix, of in _INDEXES.items():
        yield f'CREATE INDEX "{address.table}_{suffix}" ON {table} ({of})'
    yield f"COMMENT ON TABLE {table} IS 'PHI. One row per result of precheck-worker; record holds all of it'"
    latest = f"SELECT DISTINCT ON (claim_id) * FROM {table} ORDER BY claim_id, generation DESC"  # noqa: S608 - checked names
    yield f"CREATE VIEW {named(address, '_latest')} AS {latest}"
    version = named(address, "_version")
    yield f"CREATE TABLE {version} (version integer PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now())"
    yield f"INSERT INTO {version} (version) VALUES ({VERSION})"  # noqa: S608 - checked names


def insertion(address: Address) -> str:
    """Give the statement that puts an array of records into the table, in order, but for those that are there."""
    filled = [column for column in COLUMNS if column.value]
    names, values = ", ".join(column.name for column in filled), ", ".join(column.value for column in filled)
    return (
        f"INSERT INTO {named(address)} ({names}) SELECT {values}"  # noqa: S608 - checked names
        " FROM unnest($1::jsonb[]) WITH ORDINALITY AS given (record, place) ORDER BY place"
        " ON CONFLICT (result_id) DO NOTHING"
    )
