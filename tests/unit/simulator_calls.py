"""Calls the simulator's pre-check as a client would, without HTTP; and validates X12 with pyx12, the oracle."""

import io
import logging
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import pyx12.params
import pyx12.x12n_document

from worker.settings.service import PRECHECK_QUERY
from worker.simulator.config import SimulatorConfig
from worker.simulator.generator import GeneratorSpec, generate
from worker.simulator.precheck import Decision, Precheck

CREDENTIALS = {"grant_type": "client_credentials", "client_id": "simulator", "client_secret": "simulator-secret"}


def one_claim(magic: str = "OK-", **spec: Any) -> str:
    """Return an interchange of one claim whose number starts with `magic`."""
    planted = {magic: 1.0} if magic else {}
    return b"".join(generate(GeneratorSpec(claims=1, family_share=0.0, planted=planted, **spec))).decode()


def element(x12: str, segment: str, number: int) -> str:
    """Return an element of the first segment that starts with `segment`; usual delimiters."""
    found = next(s for s in x12.replace("\n", "").split("~") if s.startswith(segment))
    return found.split("*")[number]


def body_of(x12: str, *, query: str = PRECHECK_QUERY, payer_id: str | None = None) -> bytes:
    """Return the body of a request for a claim."""
    payer_id = payer_id or element(x12, "NM1*PR", 9)
    return msgspec.json.encode({"query": query, "variables": {"input": {"x12RequestData": x12, "payerId": payer_id}}})


class Caller:
    """A client of one simulator, with a good token."""

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        self.precheck = Precheck(config or SimulatorConfig())
        self.renew_token()

    def renew_token(self) -> None:
        reply = self.precheck.tokens.answer_json("application/json", msgspec.json.encode(CREDENTIALS))
        self.bearer = f"Bearer {msgspec.json.decode(reply.body)['access_token']}"

    def send(self, x12: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Decision:
        """POST a claim once."""
        given = (
            {"Authorization": self.bearer, "providerTaxId": element(x12, "REF*EI", 2)} if headers is None else headers
        )
        return self.precheck.decide(given, "application/json", body_of(x12) if body is None else body)

    def ask(self, x12: str, attempts: int = 1) -> dict[str, str]:
        """POST a claim and return the last answer's members."""
        for _ in range(attempts):
            decision = self.send(x12)
        members: dict[str, str] = msgspec.json.decode(decision.reply.body)["data"]["claimPreCheck"]
        return members


def complaints(x12: str) -> list[str]:
    """Return what pyx12 says is wrong with an interchange."""
    logging.getLogger("pyx12").setLevel(logging.CRITICAL)
    report = io.StringIO()
    good = pyx12.x12n_document.x12n_document(pyx12.params.params(), io.StringIO(x12), io.StringIO(), None, None, report)
    return [] if good else re.findall(r'"err_str": "(.*)"', report.getvalue()) or ["refused without a word"]
