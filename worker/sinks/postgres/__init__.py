"""PostgreSQL as a sink: one row a result, for analysts to query.

============ ======================================================================================
schema       the table, its version, its view, and the statement that fills them
table        rows in, a portion a transaction (`worker.brokers.engine.Sender`)
============ ======================================================================================
"""

from worker.postgres.address import parse_address
from worker.sinks.postgres.table import PostgresTable

__all__ = ["PostgresTable", "parse_address"]
