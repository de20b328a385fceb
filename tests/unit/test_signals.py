import signal
import subprocess
import sys
from collections.abc import Iterator

import anyio
import pytest

from worker.signals import listeners_kept


@pytest.fixture
def listener() -> Iterator[object]:
    """A listener for SIGTERM, as a start has one."""
    before = signal.getsignal(signal.SIGTERM)

    def listen(*_: object) -> None:
        """Hear it."""

    signal.signal(signal.SIGTERM, listen)
    yield listen
    signal.signal(signal.SIGTERM, before)


async def test_who_listened_for_a_signal_before_the_flow_did_listens_again_after_it(listener: object) -> None:
    with listeners_kept(signal.SIGTERM), anyio.open_signal_receiver(signal.SIGTERM):
        meanwhile = signal.getsignal(signal.SIGTERM)

    assert meanwhile is not listener
    assert signal.getsignal(signal.SIGTERM) is listener


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_python_takes_itself_down_does_not_change_how_the_process_has_ended(number: int) -> None:
    program = f"""
import os, signal
from worker.signals import end_when_told
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {number:d})
signal.signal(signal.SIGINT, signal.default_int_handler)
end_when_told()
last = Last()
"""

    ended = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(("stopped_by", "printed"), [("", b"passed over\n"), ("SIGTERM", b"")])
def test_a_signal_after_the_flow_changes_nothing_unless_it_is_the_second(stopped_by: str, printed: bytes) -> None:
    program = f"""
import anyio, os, signal, time
from worker.signals import end_when_told
from worker.tally import Tally
from worker.upkeep import obey_signals
async def flow(tally):
    async with anyio.create_task_group() as beside:
        beside.start_soon(obey_signals, None, tally)
        await anyio.sleep(0.1)
        beside.cancel_scope.cancel()
end_when_told()
tally = Tally()
tally.stopped_by = {stopped_by!r}
anyio.run(flow, tally)
for _ in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
    print("passed over", flush=True)
    time.sleep(0.2)
"""

    ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (128 + signal.SIGTERM, printed)
