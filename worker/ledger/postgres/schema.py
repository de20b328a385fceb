"""The tables of a ledger that a fleet shares, version 1, and how they are made: a schema of PostgreSQL of its own.

::

    workers   a row a name: `session` is the life of the worker that opened the ledger last under it
    batches   a row a delivery, whoever works on it: `worker` and `session` opened it last, `made_in` opened it first
    attempts  a row a claim that failed at least once and has no result yet
    results   a row a claim and generation, with its record: at place `seq` of the outbox of the `worker` that stored it
    adopted   further places of results: in the outboxes of workers that went on with another's batch
    tallies   results a batch and disposition, the latest generation of each claim only; kept after a purge
    parked    what it takes to send a claim again
    sinks     how far each sink of each worker has come
    notes     small facts of a worker; those of worker 0 are the fleet's
    precheck_ledger_version   one row: the version of all this

What two workers must not both do, a key forbids: a delivery is one batch, a claim and generation one result, a place in
an outbox one result. Times are seconds since the epoch; no monotonic time is stored.
"""

from worker.errors import SettingsError
from worker.postgres.address import Address
from worker.postgres.session import Connection

VERSION = 1
_CREATING = 0x70726564  # one worker at a time makes the tables

TABLES = """
CREATE SEQUENCE sessions;

CREATE TABLE workers (
    number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    session bigint NOT NULL DEFAULT 0,
    opened_at double precision NOT NULL
);

CREATE TABLE batches (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id text NOT NULL UNIQUE,
    sha256 text COLLATE "C" NOT NULL,
    ref text NOT NULL,
    environment text NOT NULL,
    name text NOT NULL,
    size bigint NOT NULL,
    received_at double precision NOT NULL,
    opened_at double precision NOT NULL,
    dispatched_through integer NOT NULL,
    total integer,
    finished_at double precision,
    content text NOT NULL DEFAULT 'kept' CHECK (content IN ('kept', 'going', 'gone')),
    worker integer NOT NULL,
    session bigint NOT NULL,
    made_in bigint NOT NULL,
    UNIQUE (sha256, ref, environment)
) WITH (fillfactor = 70);
CREATE INDEX batches_with_content ON batches (finished_at) WHERE content <> 'gone';

CREATE TABLE attempts (
    batch_number bigint NOT NULL,
    ordinal integer NOT NULL,
    generation integer NOT NULL,
    attempts integer NOT NULL,
    ambiguous integer NOT NULL,
    first_sent_at double precision,
    due_at double precision NOT NULL,
    in_flight boolean NOT NULL,
    PRIMARY KEY (batch_number, ordinal, generation)
);

CREATE TABLE results (
    batch_number bigint NOT NULL,
    ordinal integer NOT NULL,
    generation integer NOT NULL,
    worker integer NOT NULL,
    seq bigint NOT NULL,
    disposition text NOT NULL,
    reason_code text,
    body bytea NOT NULL,
    PRIMARY KEY (batch_number, ordinal, generation),
    UNIQUE (worker, seq)
);

CREATE TABLE adopted (
    worker integer NOT NULL,
    seq bigint NOT NULL,
    batch_number bigint NOT NULL,
    ordinal integer NOT NULL,
    generation integer NOT NULL,
    PRIMARY KEY (worker, seq),
    UNIQUE (batch_number, ordinal, generation, worker)
);

CREATE TABLE tallies (
    batch_number bigint NOT NULL,
    disposition text NOT NULL,
    claims integer NOT NULL,
    PRIMARY KEY (batch_number, disposition)
);

CREATE TABLE parked (
    batch_number bigint NOT NULL,
    ordinal integer NOT NULL,
    generation integer NOT NULL,
    parked_at double precision NOT NULL,
    facts bytea NOT NULL,
    interchange bytea NOT NULL,
    PRIMARY KEY (batch_number, ordinal)
);

CREATE TABLE sinks (
    worker integer NOT NULL, name text NOT NULL, seq bigint NOT NULL, cursor text, PRIMARY KEY (worker, name)
);

CREATE TABLE notes (worker integer NOT NULL, key text NOT NULL, value text NOT NULL, PRIMARY KEY (worker, key));

CREATE TABLE precheck_ledger_version (version integer PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT now());
"""


async def make_ready(connection: Connection, address: Address, *, create: bool) -> None:
    """See that the ledger at `address` is there and ours; with `create`, make it if nothing is.

    :raises SettingsError: if it is not there, or is not one that this worker knows.
    """
    if create:
        await _create(connection, address)
    version = await connection.fetchval("SELECT max(version) FROM precheck_ledger_version")
    if version != VERSION:
        found = f"the ledger {address.schema} in version {version}"
        raise SettingsError([f"{address.server} has {found}, this worker knows {VERSION} only"])


async def _create(connection: Connection, address: Address) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _CREATING)
        if await connection.fetchval("SELECT to_regclass('precheck_ledger_version')") is not None:
            return
        if await connection.fetchval("SELECT to_regnamespace($1)", f'"{address.schema}"') is None:
            await connection.execute(f'CREATE SCHEMA "{address.schema}"')
        elif await connection.fetchval("SELECT true FROM pg_class WHERE relnamespace = to_regnamespace($1) LIMIT 1",
                                       f'"{address.schema}"'):  # fmt: skip
            taken = f"the schema {address.schema} holds something else: name another with schema="
            raise SettingsError([f"{address.setting}: {taken}"])
        await connection.execute(TABLES)
        comment = "PHI. The shared ledger of a fleet of precheck-worker; nobody else writes here"
        await connection.execute(f"COMMENT ON SCHEMA \"{address.schema}\" IS '{comment}'")
        await connection.execute("INSERT INTO precheck_ledger_version (version) VALUES ($1)", VERSION)
