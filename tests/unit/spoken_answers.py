"""Builds answers of the service for tests: acknowledgements, envelopes, and the verdict on them."""

from pathlib import Path
from typing import Any

import msgspec

from worker.precheck.verdict import HttpAnswer, Rules, judge
from worker.result import Verdict
from worker.settings.service import ApiSettings
from worker.x12 import ClaimFacts

RESPONSES = Path(__file__).parent.parent / "data" / "corpus" / "synthetic" / "responses"
FACTS = ClaimFacts(patient_control_number="PCN00000001", total_charge="170")
RULES = Rules.of(ApiSettings())
UNSAFE = Rules.of(ApiSettings(safe_to_repeat=False))

_ISA = "ISA*00*          *00*          *ZZ*87726          *ZZ*B00000000001   *250911*1927*^*00501*000000000*0*T*:"
_GS = "GS*{}*87726_B2B*B00000000001*20250911*1927*0*X*{}"


def corpus(name: str) -> str:
    return (RESPONSES / name).read_text()


def interchange(*segments: str, kind: str = "HN", guide: str = "005010X214") -> str:
    """Wrap segments, from ST to SE, in an interchange."""
    return "~".join([_ISA, _GS.format(kind, guide), *segments, "GE*1*0", "IEA*1*000000000", ""])


def ack_277(
    *claims: tuple[str, ...],
    receiver: tuple[str, ...] = ("STC*A1:19*20250911*WQ*170", "QTY*90*1", "AMT*YU*170"),
    provider: tuple[str, ...] = (),
) -> str:
    """Write a 277CA; each claim is the segments under its own HL PT, for example ``("TRN*2*X", "STC*…")``."""
    body = ["BHT*0085*08*AB1*20250911*192706*TH", "HL*1**20*1", "NM1*AY*2*CLEARINGHOUSE X*****46*87726", "TRN*1*AB1"]
    body += ["HL*2*1*21*1", "NM1*41*2*B00000000001*****46*ENS", "TRN*2*REF000001", *receiver]
    body += ["HL*3*2*19*1", "NM1*85*2*EXAMPLE GROUP*****XX*1999999984", "TRN*1*1", *provider]
    for place, claim in enumerate(claims, start=4):
        body += [f"HL*{place}*3*PT", "NM1*QC*1*TESTLAST*TESTFIRST****MI*M00000001", *claim]
    return interchange("ST*277*0001*005010X214", *body, f"SE*{len(body) + 2}*0001")


def ack_999(ik5: str = "A", ak9: str | None = None, *inside: str) -> str:
    """Write a 999 on one set; `inside` stands between AK2 and IK5."""
    body = ["AK1*HC*1*005010X222A1", "AK2*837*0001*005010X222A1", *inside, f"IK5*{ik5}", f"AK9*{ak9 or ik5}*1*1*1"]
    return interchange("ST*999*0001*005010X231A1", *body, f"SE*{len(body) + 2}*0001", kind="FA", guide="005010X231A1")


def ours(*statuses: str) -> str:
    """Write a 277CA that says `statuses`, each an STC without its tag, of our claim."""
    return ack_277(("TRN*2*PCN00000001", *(f"STC*{status}" for status in statuses)))


ACCEPTED_277 = ours("A2:20*20250911*WQ*170")
ACCEPTED_999 = ack_999()


def members(**changes: Any) -> dict[str, Any]:
    """Return the six members of a good answer, with changes; a change to None takes the member out."""
    usual = {
        "transactionId": "T-0001",
        "x12ResponseData": ACCEPTED_999,
        "responseType": "837999",
        "x12Response277CA": ACCEPTED_277,
        "message": "",
        "statusCode": "000",
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def envelope(payload: Any, **beside: Any) -> bytes:
    return msgspec.json.encode({"data": {"claimPreCheck": payload}, **beside})


def judged(
    body: bytes | dict[str, Any],
    status: int = 200,
    *,
    content_type: str | None = "application/json",
    facts: ClaimFacts = FACTS,
    rules: Rules = RULES,
) -> Verdict:
    """Judge a body; a dict is sent as the payload of the usual envelope."""
    data = envelope(body) if isinstance(body, dict) else body
    return judge(HttpAnswer(status, data, content_type), facts, rules)


def judged_277(x12_277ca: str, **changes: Any) -> Verdict:
    return judged(members(x12Response277CA=x12_277ca, **changes))


def code_of(verdict: Verdict) -> str | None:
    return verdict.reason.code if verdict.reason else None
