"""A bad link between worker and simulator, for real: a program that runs inside a network namespace of its own.

    unshare --net python -m tests.faults.badlink ROOT LOSS RATE TIMEOUT

The worker sees the simulator at an address behind a TUN device. What the kernel sends there is read, dropped with a
probability of LOSS (0 … 1), and given back as if it came from another host; a RATE other than "-" narrows the device
with ``tc … tbf`` (for example 100kbit), both ways together. An attempt may take TIMEOUT seconds. Prints one JSON
object: how the run ended, how many packets were carried (in bytes, too) and dropped, and how many attempts the
simulator received.

Two addresses are the kernel's own, two are beyond the device. A packet that goes from .1 to .4 comes back from .3 to
.2, and the answer from .2 to .3 comes back from .4 to .1; as each sum stays what it was, so do all checksums.
"""

import fcntl
import json
import os
import random
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.e2e.harness import Simulator, Site
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_BEYOND = {(1, 4): (3, 2), (2, 3): (4, 1)}
WITHIN_S = 100.0
FILES, PER_FILE = 6, 8
MAX_ATTEMPTS = 20
SEED = 837


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class BadLink:
    """The device, and the thread that carries or drops what is sent to it."""

    def __init__(self, loss: float, rate: str) -> None:
        self.carried = self.dropped = self.carried_bytes = 0
        self._loss = loss
        self._chance = random.Random(SEED)
        self._device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self._device, _TUNSETIFF, struct.pack("16sH22x", b"bad", _IFF_TUN | _IFF_NO_PI))
        Path("/proc/sys/net/ipv4/conf/bad/route_localnet").write_text("1")
        Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("0")
        Path("/proc/sys/net/ipv4/conf/bad/rp_filter").write_text("0")
        ip("link", "set", "lo", "up")
        ip("addr", "add", "127.0.0.2/32", "dev", "lo")
        ip("route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local")
        ip("link", "set", "bad", "up")
        ip("route", "add", "127.0.0.4/32", "dev", "bad", "src", "127.0.0.1")
        ip("route", "add", "127.0.0.3/32", "dev", "bad", "src", "127.0.0.2")
        if rate != "-":
            limit = ("rate", rate, "burst", "4kb", "latency", "2s")
            subprocess.run(["tc", "qdisc", "add", "dev", "bad", "root", "tbf", *limit], check=True)
        threading.Thread(target=self._carry, daemon=True).start()

    def _carry(self) -> None:
        while True:
            packet = bytearray(os.read(self._device, 65536))
            beyond = _BEYOND.get((packet[15], packet[19])) if packet[0] >> 4 == 4 else None
            if beyond is None:
                continue
            if self._chance.random() < self._loss:
                self.dropped += 1
                continue
            packet[15], packet[19] = beyond
            os.write(self._device, packet)
            self.carried += 1
            self.carried_bytes += len(packet)


def main(root: Path, loss: float, rate: str, attempt_timeout_s: str) -> None:
    began = time.monotonic()
    link = BadLink(loss, rate)
    simulator = Simulator("--host", "127.0.0.2", "--profile", "fast")
    site = Site(root, simulator.origin.replace("127.0.0.2", "127.0.0.4"))
    write_folder(site.inbox, files=FILES, claims_per_file=PER_FILE, spec=GeneratorSpec(claims=PER_FILE))
    ended = site.run_once(
        within_s=WITHIN_S,
        PRECHECK_API__ATTEMPT_TIMEOUT_S=attempt_timeout_s,
        PRECHECK_API__CONNECT_TIMEOUT_S="2",
        PRECHECK_RETRY__MAX_ATTEMPTS=str(MAX_ATTEMPTS),
        PRECHECK_FLOW__MAX_IN_FLIGHT="16",
        PRECHECK_TELEMETRY__LOG_LEVEL="debug",
    )
    took_s = time.monotonic() - began
    received = {answer["patient_control_number"]: answer["attempts"] for answer in simulator.get("answers")}
    simulator.close()
    told = {
        "code": ended.returncode,
        "took_s": round(took_s, 1),
        "carried": link.carried,
        "carried_bytes": link.carried_bytes,
        "dropped": link.dropped,
        "received": received,
    }
    sys.stderr.buffer.write(ended.stderr)
    (root / "worker.log").write_bytes(ended.stdout)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4])
