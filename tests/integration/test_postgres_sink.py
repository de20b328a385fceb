"""The table of results as analysts find it, and what stands in its way."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest

from tests.postgres import URL, Table
from worker import sinks
from worker.errors import SettingsError, SinkUnavailable, StateError
from worker.ports import Emission
from worker.result import Disposition, Edit, Reason, Result, encode_result
from worker.sinks.postgres import parse_address

RESULT = Result(
    result_id="b:1:1",
    claim_id="b:1",
    generation=1,
    batch_id="b",
    batch_name="a.837",
    ordinal=1,
    disposition=Disposition.REJECTED,
    reason=Reason("A3:21", "a text", "277ca"),
    edits=(Edit("A3", "21", None, "U", "100.10", "find out", "claim"),),
    http_status=200,
    attempts=2,
    patient_control_number="PCN1",
    claim_type="professional",
    payer_id="87726",
    provider_tax_id="012345678",
    provider_npi="1999999984",
    total_charge="100.10",
    received_at="2025-01-01T00:00:00Z",
    completed_at="2025-01-01T00:00:01.500Z",
    latency_ms=41,
    environment="simulator",
)


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    yield table
    table.remove()


def emission(seq: int = 1, **changed: Any) -> Emission:
    result = msgspec.structs.replace(RESULT, **changed)
    return Emission(seq, 1, result.result_id, encode_result(result))


async def write(table: Table, *emissions: Emission) -> None:
    sink = table.sink()
    await sink.open(None)
    await sink.write(emissions)
    await sink.close()


async def test_columns_have_types_and_the_record_has_all(table: Table) -> None:
    await write(table, emission())

    [row] = table.ask("SELECT *, record::text AS whole FROM {}")
    assert (row["disposition"], row["reason_code"], row["reason_source"]) == ("rejected", "A3:21", "277ca")
    assert row["total_charge"] == Decimal("100.10")
    assert row["completed_at"] == datetime(2025, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert (row["attempts"], row["http_status"], row["latency_ms"], row["transaction_id"]) == (2, 200, 41, None)
    assert row["provider_tax_id"] == "012345678"
    assert encode_result(msgspec.json.decode(row["whole"], type=Result)) == encode_result(RESULT)
    # Every field of the record is a column by its name, but for those that are lists or documents.
    assert set(Result.__struct_fields__) - set(row.keys()) == {
        "schema", "reason", "edits", "syntax_errors", "x12_999", "x12_277ca"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("charge", "number"),
    [("100", 100), ("100.", 100), (".5", Decimal(".5")), ("-3.25", Decimal("-3.25")), ("1E5", None), ("abc", None),
     ("", None), (".", None), ("9" * 19, None), (None, None)],
)  # fmt: skip
async def test_a_charge_that_is_no_number_is_none_in_its_column_only(
    table: Table, charge: str | None, number: int | None
) -> None:
    await write(table, emission(total_charge=charge))

    [row] = table.ask("SELECT total_charge, record->>'total_charge' AS told FROM {}")
    assert (row["total_charge"], row["told"]) == (number, charge)


async def test_what_postgresql_cannot_hold_does_not_stop_the_results_after_it(table: Table) -> None:
    message = 'NUL \0, "quoted" \\u0000, é, \U0001f600'

    await write(table, emission(message=message), emission(2, result_id="b:2:1"))

    rows = table.ask("SELECT message, record->>'message' AS told FROM {} ORDER BY seq")
    assert rows[0]["message"] == rows[0]["told"] == message.replace("\0", "\ufffd")
    assert len(rows) == 2


async def test_the_latest_view_has_each_claims_newest_generation(table: Table) -> None:
    await write(
        table,
        emission(),
        emission(2, result_id="b:2:1", claim_id="b:2", ordinal=2),
        emission(3, result_id="b:1:2", generation=2, supersedes="b:1:1", disposition=Disposition.ACCEPTED),
    )

    rows = table.ask("SELECT result_id, disposition FROM {}_latest ORDER BY claim_id")
    assert [tuple(row) for row in rows] == [("b:1:2", "accepted"), ("b:2:1", "rejected")]


async def test_a_missing_table_is_refused_with_the_command_that_creates_it(table: Table) -> None:
    with pytest.raises(SettingsError, match=rf"lacks the table public\.{table.name}; .*precheck-worker run --create"):
        await table.sink(create=False).open(None)


async def test_a_table_that_goes_while_we_run_is_waited_for(table: Table) -> None:
    sink = table.sink()
    await sink.open(None)
    await sink.close()
    sink = table.sink(create=False)
    await sink.open(None)
    table.remove()

    with pytest.raises(SinkUnavailable, match="run --create"):
        await sink.write([emission()])
    await write(table, emission(result_id="b:0:1"))
    await sink.write([emission()])
    await sink.close()

    assert table.result_ids() == ["b:0:1", "b:1:1"]


async def test_another_version_or_other_columns_are_refused(table: Table) -> None:
    await write(table)
    table.ask("ALTER TABLE {} RENAME COLUMN trace_id TO trace")

    with pytest.raises(SettingsError, match="is not as --create makes it"):
        await table.sink().open(None)

    table.ask("UPDATE {}_version SET version = 2")
    with pytest.raises(SettingsError, match="in version 2, this worker knows 1 only"):
        await table.sink().open(None)


async def test_a_table_without_its_key_is_refused(table: Table) -> None:
    await write(table)
    table.ask("ALTER TABLE {0} DROP CONSTRAINT {0}_pkey")

    with pytest.raises(SettingsError, match="is not as --create makes it"):
        await table.sink().open(None)


async def test_a_result_that_the_server_will_never_take_stops_the_worker_and_is_not_quoted(table: Table) -> None:
    sink = table.sink()
    await sink.open(None)

    with pytest.raises(StateError, match=r"refuses a result or a statement for good \(22\d{3}\)") as refused:
        await sink.write([emission(completed_at="canary of a time")])

    assert not isinstance(refused.value, SinkUnavailable)
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    await sink.close()


async def test_two_workers_may_create_at_once_and_write_the_same(table: Table) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(write, table, *[emission(n, result_id=f"b:{n}:1") for n in range(1, 200)])

    assert sorted(table.result_ids()) == sorted(f"b:{n}:1" for n in range(1, 200))


PLACE = "postgresql://user:hunter2@db.example:5433/claims"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"{PLACE}?tabel=x", "unknown parameter 'tabel', known are host, password_file"),
        (f"{PLACE}?table=", "parameter table is empty"),
        (f"{PLACE}?table=Robert'); DROP TABLE students", "parameter table must be"),
        (f"{PLACE}?table={'x' * 49}", "parameter table must be"),
        (f"{PLACE}?sslmode=prefer", "sslmode must be one of disable, require, verify-ca, verify-full"),
        (f"{PLACE}?sslrootcert=/nowhere/ca.pem", "sslrootcert names no file"),
        (f"{PLACE}?sslcert=/nowhere/c.pem", "sslcert and sslkey are no certificate"),
        (f"{PLACE}?password_file=/nowhere/hunter2", "output.urls: cannot use '/nowhere/hunter2'"),
        (f"{PLACE}?host=elsewhere", "parameter host must be a folder"),
        ("postgresql://user:hunter2@db.example:port/claims", "no URL that can be read"),
        ("postgresql://db.example/claims", "must name user, host and database"),
        ("postgresql://user:hunter2@db.example/", "must name user, host and database"),
        ("postgresql:///claims?user=x", "must name user, host and database"),
    ],
)
def test_a_wrong_url_is_told_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        sinks.from_url(url)

    assert problem in str(refused.value)
    assert "hunter2" not in str(refused.value).replace("/nowhere/hunter2", "")


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u@a/d", (("a", 5432),)),
        ("postgresql://u@a:1,b:2/d", (("a", 1), ("b", 2))),
        ("postgresql://u@[::1]:1/d", (("::1", 1),)),
        ("postgresql://u@[::1]/d", (("::1", 5432),)),
        ("postgres:///d?user=u&host=/run/postgresql", (("/run/postgresql", 5432),)),
        ("postgresql://u@%2Frun%2Fpostgresql/d", (("/run/postgresql", 5432),)),
    ],
)
def test_hosts_are_read_as_libpq_reads_them(url: str, hosts: tuple[tuple[str, int], ...]) -> None:
    assert parse_address(url, setting="x").hosts == hosts


def test_the_name_in_the_ledger_and_every_repr_are_without_credentials() -> None:
    address = parse_address(PLACE, setting="output.urls")

    name = sinks.from_url(PLACE).name

    assert name == "postgresql://db.example:5433/claims?table=public.precheck_results"
    assert "hunter2" not in f"{address!r} {name}"


def test_nothing_leaves_this_machine_in_the_clear_by_default() -> None:
    context = parse_address(PLACE, setting="x").tls()

    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert parse_address(URL, setting="x").tls() is None


def test_weaker_modes_check_what_libpq_checks() -> None:
    unchecked = parse_address(f"{PLACE}?sslmode=require", setting="x").tls()
    unnamed = parse_address(f"{PLACE}?sslmode=verify-ca", setting="x").tls()

    assert unchecked is not None
    assert unchecked.verify_mode is ssl.CERT_NONE
    assert unnamed is not None
    assert (unnamed.verify_mode, unnamed.check_hostname) == (ssl.CERT_REQUIRED, False)
