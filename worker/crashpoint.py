"""Dying at a named step on purpose, for the tests of what a crash leaves behind.

``CRASH=sink_torn:2`` in the environment ends the process by SIGKILL at its second pass of the step ``sink_torn``:
no handler runs and nothing is flushed, as if the machine had run out of memory. Without the variable a pass costs
one comparison of strings.

====================== =========================================================================================
ledger_drafted         a new ledger is made, under no name of its own yet
ledger_made            … has its name, not synced
slot_made              a folder is made in ours for a file whose name leaves no room, which is still outside
taken                  a file is in the work folder, nobody was given it
after_read             a delivery is read and split, the ledger has no row of it
after_inflight         an attempt is noted in the ledger, no byte of it is sent
after_response         the service has answered, nothing of the answer is durable
after_defer            an attempt had no result, and when the next one is due is on disk
before_commit          a group of changes is about to be committed
after_commit           … is committed, and nobody who waits for it knows
sink_torn              half of a write's last record is in the results file
sink_after_write       records are written, and not synced
sink_after_fsync       … are synced, and the ledger does not know
outbox_written         a sink of any kind has taken results for good, and the ledger does not know
outbox_advanced        … and the ledger knows, and nobody who waits for it
rotation_drafted       a new results file is made, under no name of its own yet
rotation_linked        … and the full one has its second name
rotation_renamed       … and the new one has the first name, not synced
rotation_synced        … synced, nothing in it
edi_drafted            a file of acknowledgements is written, under no name of its own yet
edi_linked             … has its name, and the other one as well
edi_published          one of a batch's files of acknowledgements has its name, others may not have
after_complete         … all have, and the ledger does not know that the batch is done
after_mark             a batch is done in the ledger, and still in the work folder
archive_moved          … and moved to the archive, not synced
archive_synced         … synced there, and the work folder is not
after_move             … it is, too
quarantine_noted       a file's reason is in the quarantine, the file is not
quarantine_moved       … is, not synced
before_give_back       a drain has ended, and what was noted as begun and not sent still counts as begun
after_give_back        … does not, and its files are in the work folder
put_back               … one of them is in the input folder again
rested                 … one of them is left at rest there, others may not be
will_emptied           the file that leads to our ledger is cut to nothing, to be written
will_written           … and is written, not synced
recovery_tail_found    a torn record was found at the end of the results file
recovery_tail_cut      … and is cut off, not synced
recovery_tail_synced   what the results file holds and the ledger may not know of is on disk
recovery_work_moved    one batch of a dead worker is in our work folder, others may not be
recovery_work_emptied  … all are, the dead worker's folder still stands
recovery_owner_removed … without the file by which it was known as one
returned_slot_made     a batch begun again gets a folder, as its name leaves no room for the count
returned_renamed       … its name tells that it was begun again, and nobody has read it
inherited              our ledger knows what a dead worker's knows of its batches, which are still in its folder
set_aside              … and theirs knows that they go on elsewhere
recovery_recalled      what the ledger knows of batches begun before is read
====================== =========================================================================================
"""

import os
import signal
from collections.abc import Callable
from itertools import count

_POINT, _, _NUMBER = os.environ.get("CRASH", "").partition(":")
_FATAL = int(_NUMBER) if _NUMBER.isdecimal() else 0
_passes = count(1)


def crashpoint(point: str, last_deed: Callable[[], object] | None = None) -> None:
    """Die here if the environment says so, after `last_deed`, which is done in no other case."""
    if point != _POINT or next(_passes) != _FATAL:
        return
    if last_deed is not None:
        last_deed()
    os.kill(os.getpid(), signal.SIGKILL)
