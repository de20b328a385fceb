"""How result records lie in the ledger: those of one commit together, compressed, in packs of some dozens.

A record is 2-3 kB, most of it acknowledgements that read alike from claim to claim: sixty-four together take 160 bytes
each and 8 µs, while one by one they would take seven times that. Packed before they are written rather than later,
because what is not written costs nothing: neither in the log, nor in the file, nor again when old pages are freed.

A pack is found by the place of a result in the outbox: it has the number of its first. What a lone record lacks in
companions the pattern makes up for, a record as it usually looks. The pattern is part of the format: with another
one nothing could be read back, so it changes only together with the schema's version.
"""

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import msgspec

from worker.errors import StateError
from worker.ledger.rows import write_rows

MOST_RECORDS = 64
MOST_BYTES = 256 << 10  # a pack is closed once its records are longer
LEVEL = 1  # 6 saves a fourth of the bytes and takes twice the time
FEW, LEVEL_OF_FEW = 3, 6  # where records come alone, time is at hand
UNPACKED = 8  # packs kept as they were read last: small batches that were answered together are settled together

PATTERN = (
    b'"reason":{"code":"","text":"Not sent: ","source":"worker"}"disposition":"invalid""disposition":"undetermined"'
    b'"disposition":"undelivered""disposition":"review""disposition":"accepted_with_errors""disposition":"rejected",'
    b'"reason":{"code":"A3:21","text":"The payer\'s check rejected the claim: returned as unprocessable claim (A3:21)."'
    b',"source":"277ca"}{"category":"A7","status":"562","entity":"85","action":"U","amount":"","text":"","level":"claim"}'
    b'"syntax_errors":[{"segment":"NM1","position":1,"element":"9","code":"7","text":null}]"source":"999"'
    b"~IK3*NM1*1**8~CTX*SITUATIONAL TRIGGER*CLM*1~CTX*CLM01:~IK4*9*67*7~IK5*R*I5~AK9*R*1*1*0~STC*A3:21*20260101*U*1"
    b"~STC*A7:562:85*20260101*U*1~QTY*QC*1~AMT*YY*~REF*BLT*~SVC*HC:99213*1*0~REF*FJ*~AK1*HC*1*005010X223A2"
    b'~AK2*837*0001*005010X223A2"claim_type":"institutional""environment":"production""http_status":null"attempts":0'
    b'{"schema":1,"result_id":":1:1","claim_id":":1","generation":1,"supersedes":null,"batch_id":"","batch_name":"'
    b'.837","ordinal":1,"disposition":"accepted","reason":{"code":"A2:20","text":"The payer\'s check accepted the claim'
    b': the claim was taken into the payer\'s system: accepted for processing (A2:20).","source":"277ca"},'
    b'"transaction_id":"","status_code":"000","response_type":"837999","message":"Validations completed","http_status":'
    b'200,"attempts":1,"ambiguous_attempts":0,"correlation_id":"","trace_id":"","patient_control_number":"","claim_type'
    b'":"professional","payer_id":"","provider_tax_id":"","provider_npi":"1","total_charge":"","edits":[{"category":"A1'
    b'","status":"19","entity":"PR","action":"WQ","amount":"","text":null,"level":"receiver"},{"category":"A1","status":'
    b'"19","entity":"PR","action":"WQ","amount":"","text":null,"level":"provider"},{"category":"A2","status":"20",'
    b'"entity":null,"action":"WQ","amount":"","text":null,"level":"claim"}],"syntax_errors":[],"payer_claim_number":"",'
    b'"x12_999":"ISA*00*          *00*          *ZZ*               *ZZ*               *260101*0000*^*00501*000000000*0*'
    b"T*:~GS*FA***20260101*0000*0*X*005010X231A1~ST*999*0001*005010X231A1~AK1*HC*1*005010X222A1~AK2*837*0001*"
    b'005010X222A1~IK5*A~AK9*A*1*1*1~SE*6*0001~GE*1*0~IEA*1*000000000~","x12_277ca":"ISA*00*          *00*          '
    b"*ZZ*               *ZZ*               *260101*0000*^*00501*000000000*0*P*:~GS*HN***20260101*0000*0*X*005010X214"
    b"~ST*277*0001*005010X214~BHT*0085*08**20260101*000000*TH~HL*1**20*1~NM1*PR*2* HEALTH PLAN *****PI*~TRN*1*"
    b"~DTP*050*D8*20260101~DTP*009*D8*20260101~HL*2*1*21*1~NM1*41*2* BILLING SERVICE*****46*~TRN*2*~STC*A1:19:PR*"
    b"20260101*WQ*~QTY*90*1~AMT*YU*~HL*3*2*19*1~NM1*85*2* CLINIC *****XX*1~TRN*1*0~STC*A1:19:PR**WQ*~QTY*QA*1~AMT*YU*"
    b"~HL*4*3*PT~NM1*QC*1*****MI*~TRN*2*~STC*A2:20*20260101*WQ*~REF*1K*~REF*D9*~DTP*472*RD8*20260101-20260101"
    b'~SE*27*0001~GE*1*0~IEA*1*000000000~","duplicate_of":null,"received_at":"2026-01-01T00:00:00.000Z",'
    b'"first_sent_at":"2026-01-01T00:00:00.000Z","completed_at":"2026-01-01T00:00:00.000Z","latency_ms":1,'
    b'"environment":"simulator"}'
)

ADD_PACKS = "INSERT INTO packs VALUES {rows}"

FIND_PACK = "SELECT bodies FROM packs WHERE number <= ? ORDER BY number DESC LIMIT 1"

# From the pack of the place given: it, and where the next one begins.
FIND_BOUNDS = """
SELECT p.number, (SELECT min(n.number) FROM packs AS n WHERE n.number > p.number)
FROM packs AS p WHERE p.number <= ? ORDER BY p.number DESC LIMIT 1
"""

FIND_LEFT = "SELECT seq FROM results WHERE seq >= ? AND seq < ?"

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1  # of the places that SQLite can number

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[int, bytes])


def add_packs(db: sqlite3.Connection, records: Iterable[tuple[int, bytes]]) -> None:
    """Write records, each with its place in the outbox, given in order of those.

    No place lies between two of them that are in the ledger already.
    """
    write_rows(db, ADD_PACKS, [(next(iter(portion)), _packed(portion)) for portion in _portions(records)])


@contextmanager
def one_state(db: sqlite3.Connection) -> Iterator[None]:
    """Let several questions see one state of the ledger, whatever is written meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:
            db.execute("COMMIT")


def find_bodies(db: sqlite3.Connection, seqs: Sequence[int]) -> Iterator[bytes]:
    """Read the records at these places, in this order; to be read in the `one_state` in which the places were found.

    :raises StateError: if one cannot be read back.
    """
    wanted, found = frozenset(seqs), dict[int, bytes]()
    for seq in seqs:
        if seq not in found:
            row = db.execute(FIND_PACK, (seq,)).fetchone()
            bodies = _unpacked(row[0]) if row else {}
            found.update((each, bodies[each]) for each in bodies.keys() & wanted)
            if seq not in found:
                raise StateError("ledger: a result's record is missing")
        yield found.pop(seq)


def thin_packs(db: sqlite3.Connection, gone: Iterable[int]) -> None:
    """Take the records of results that were just deleted out of their packs, and packs away that are empty then."""
    through = _LOWEST
    for seq in sorted(gone):
        if seq < through:
            continue
        number, following = db.execute(FIND_BOUNDS, (seq,)).fetchone() or (seq, None)
        through = following or _HIGHEST
        left = {each for (each,) in db.execute(FIND_LEFT, (number, through))}
        if left:
            (packed,) = db.execute(FIND_PACK, (number,)).fetchone()
            kept = {each: body for each, body in _unpacked(packed).items() if each in left}
            db.execute("UPDATE packs SET bodies = ? WHERE number = ?", (_packed(kept), number))
        else:
            db.execute("DELETE FROM packs WHERE number = ?", (number,))


def _portions(records: Iterable[tuple[int, bytes]]) -> Iterator[dict[int, bytes]]:
    portion: dict[int, bytes] = {}
    length = 0
    for seq, body in records:
        portion[seq] = body
        length += len(body)
        if len(portion) == MOST_RECORDS or length >= MOST_BYTES:
            yield portion
            portion, length = {}, 0
    if portion:
        yield portion


def _packed(bodies: Mapping[int, bytes]) -> bytes:
    press = zlib.compressobj(LEVEL if len(bodies) > FEW else LEVEL_OF_FEW, zdict=PATTERN)
    # One call for all: each is a turn at the interpreter's lock (see `rows`).
    return press.compress(_encoder.encode(bodies)) + press.flush()


@lru_cache(maxsize=UNPACKED)
def _unpacked(packed: bytes) -> Mapping[int, bytes]:
    try:
        return _decoder.decode(zlib.decompressobj(zdict=PATTERN).decompress(packed))
    except (zlib.error, msgspec.DecodeError):
        raise StateError("ledger: the records of some results are damaged") from None
