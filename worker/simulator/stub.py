"""The least that a worker takes for the API: every claim is accepted, at once or after a fixed time.

For benchmarks only. It checks nothing and keeps nothing; claim number and charge are found by searching the
request's bytes and put into a prepared answer. One core answers some ten times as many calls as the simulator can,
so that what is measured is the worker.

Written as a bare `asyncio.Protocol`, the one place beside the event loop itself where that is right: a stream
or a task per request, which anyio and aiohttp make, costs more than all the rest of this module.
"""

import argparse
import asyncio
import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

import uvloop

from worker.settings.service import ApiSettings, AuthSettings

_TOKEN = b'{"access_token":"stub","token_type":"bearer","expires_in":3600}'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

Note = tuple[str, float]
"""A claim's number, and when its request was whole, in seconds of the monotonic clock."""

_NOTES_PATH = b"/notes"
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_PRECHECK_PATH = ApiSettings().precheck_path.encode()
_ANSWERS = {
    ApiSettings().health_path.encode(): _HEAD % (2, b"OK"),
    AuthSettings().token_path.encode(): _HEAD % (len(_TOKEN), _TOKEN),
}

_PAYER_ISA = (
    "ISA*00*          *00*          *ZZ*STUB           *ZZ*STUB           *250115*1200*^*00501*000000000*0*T*:~"
)
_X12_999 = (
    _PAYER_ISA + "GS*FA*STUB*STUB*20250115*1200*0*X*005010X231A1~ST*999*0001*005010X231A1~AK1*HC*1*005010X222A1~"
    "AK2*837*0001*005010X222A1~IK5*A~AK9*A*1*1*1~SE*6*0001~GE*1*0~IEA*1*000000000~"
)
_X12_277CA = (
    _PAYER_ISA + "GS*HN*STUB*STUB*20250115*1200*0*X*005010X214~ST*277*0001*005010X214~"
    "BHT*0085*08*STUB*20250115*120000*TH~HL*1**20*1~NM1*PR*2*EXAMPLE HEALTH PLAN*****PI*STUB~TRN*1*STUB~"
    "DTP*050*D8*20250115~DTP*009*D8*20250115~HL*2*1*21*1~NM1*41*2*EXAMPLE BILLING SERVICE*****46*STUB~TRN*2*STUB~"
    "STC*A1:19:PR*20250115*WQ*%(charge)b~QTY*90*1~AMT*YU*%(charge)b~HL*3*2*19*1~"
    "NM1*85*2*EXAMPLE CLINIC*****XX*2000000002~TRN*1*0~STC*A1:19:PR**WQ*%(charge)b~QTY*QA*1~"
    "AMT*YU*%(charge)b~HL*4*3*PT~NM1*QC*1*TESTER*ALFA****MI*TST000000001~TRN*2*%(claim)b~"
    "STC*A2:20*20250115*WQ*%(charge)b~DTP*472*RD8*20250115-20250115~SE*25*0001~GE*1*0~IEA*1*000000000~"
)
_ANSWER = (
    '{"data":{"claimPreCheck":{"transactionId":"%(transaction)b","responseType":"837999","x12ResponseData":"'
    + _X12_999
    + '","x12Response277CA":"'
    + _X12_277CA
    + '","message":"Validations completed","statusCode":"000"}}}'
).encode("ascii")


def claim_number(request: bytes) -> bytes:
    """Return the number of the claim in a pre-check request."""
    isa = request.find(b"ISA")
    element = request[isa + 3 : isa + 4]
    claim_at = request.find(b"CLM" + element, isa) + 4
    return request[claim_at : request.find(element, claim_at)]


def canned_answer(body: bytes, transaction: int) -> bytes:
    """Return the body that accepts the claim in a pre-check request's body."""
    isa = body.find(b"ISA")
    element = body[isa + 3 : isa + 4]
    claim_at = body.find(b"CLM" + element, isa) + 4
    charge_at = body.find(element, claim_at) + 1
    charge = body[charge_at : body.find(element, charge_at)]
    return _ANSWER % {
        b"claim": body[claim_at : charge_at - 1],
        b"charge": charge,
        b"transaction": b"stub-%d" % transaction,
    }


class StubProtocol(asyncio.Protocol):
    """One keep-alive connection, whose client sends its next request once the last one is answered."""

    def __init__(self, transactions: "itertools.count[int]", delay_s: float, notes: list[Note] | None) -> None:
        self._transactions = transactions
        self._delay_s = delay_s
        self._notes = notes
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; uvloop's is no subclass of asyncio's, whence the cast."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the transport, so that a delayed answer is dropped."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer the request once all of it is here."""
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        announced = _CONTENT_LENGTH.search(self._received, 0, head_end)
        request_end = head_end + 4 + (int(announced[1]) if announced else 0)
        if len(self._received) < request_end:
            return
        request, self._received = self._received[:request_end], self._received[request_end:]
        target = request[: request.find(b" HTTP/1.")]
        if not target.endswith(_PRECHECK_PATH):
            if target.endswith(_NOTES_PATH):
                told = json.dumps(self._notes or []).encode()
                self._send(_HEAD % (len(told), told))
                return
            self._send(_ANSWERS.get(target.partition(b" ")[2], _NOT_FOUND))
            return
        body = canned_answer(request[head_end + 4 :], next(self._transactions))
        payload = _HEAD % (len(body), body)
        if self._notes is not None:
            self._notes.append((claim_number(request).decode(), time.monotonic()))
        if self._delay_s > 0.0:
            asyncio.get_running_loop().call_later(self._delay_s, self._send, payload)
        else:
            self._send(payload)

    def _send(self, payload: bytes) -> None:
        if self._transport is not None:
            self._transport.write(payload)


async def serve_stub(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    delay_s: float = 0.0,
    notes: list[Note] | None = None,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve until cancelled; `ready` gets the origin, and every claim's answer takes `delay_s`.

    What is in `notes` is told at ``/notes``: each claim is added to it as it comes.

    :raises OSError: if the port cannot be bound.
    """
    loop = asyncio.get_running_loop()
    transactions = itertools.count(1)
    server = await loop.create_server(lambda: StubProtocol(transactions, delay_s, notes), host, port, backlog=1024)
    async with server:
        if ready is not None:
            bound_host, bound_port = server.sockets[0].getsockname()[:2]
            ready(f"http://{bound_host}:{bound_port}")
        await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve on loopback; one line of JSON on stdout, ``{"port": …, "origin": …}``, says when calls are accepted."""
    parser = argparse.ArgumentParser(prog="python -m worker.simulator.stub", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="seconds every claim's answer takes")
    parser.add_argument("--notes", action="store_true", help="note when each claim came, and tell it at /notes")
    options = parser.parse_args(arguments)
    notes: list[Note] | None = [] if options.notes else None

    def tell(origin: str) -> None:
        port = int(origin.rpartition(":")[2])
        sys.stdout.write(json.dumps({"port": port, "origin": origin}) + "\n")
        sys.stdout.flush()

    with suppress(KeyboardInterrupt):
        uvloop.run(serve_stub(port=options.port, delay_s=options.delay, notes=notes, ready=tell))


if __name__ == "__main__":
    main()
