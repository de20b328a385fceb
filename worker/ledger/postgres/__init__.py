"""PostgreSQL as the ledger of a fleet: one for all workers of an environment, each with an outbox of its own.

============ ======================================================================================
schema       the tables, their version, how they are made
tenure       a worker's hold on its name, and what happens when the connection that holds it is lost
writer       the connection that writes: one transaction a group of changes
opening      deliveries recognised or new, whose they are, what is known of them
changes      dispatches, deferrals, results
retention    content past its retention
notes        small facts, of a worker or of the fleet
reads, books what can be asked, on a second connection
ledger       all of it as one worker has it
============ ======================================================================================
"""

from worker.ledger.postgres.ledger import PostgresLedger, note_for_fleet, open_shared, open_shared_readonly
from worker.postgres.address import parse_address

__all__ = ["PostgresLedger", "note_for_fleet", "open_shared", "open_shared_readonly", "parse_address"]
