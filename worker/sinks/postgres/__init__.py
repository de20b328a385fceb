"""PostgreSQL as a sink: one row a result, for analysts to query.

============ ======================================================================================
address      the URL taken apart, TLS included; its password in no message
schema       the table, its version, its view, and the statement that fills them
session      one connection; its errors as ours
table        rows in, a portion a transaction (`worker.brokers.engine.Sender`)
============ ======================================================================================
"""

from worker.sinks.postgres.address import parse_address
from worker.sinks.postgres.table import PostgresTable

__all__ = ["PostgresTable", "parse_address"]
