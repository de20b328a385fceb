"""Measures survey and split against a bare `bytes.split` pass: `python -m tests.bench.bench_x12 --claims 200000`."""

import argparse
import resource
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from worker.x12 import split, survey

CHUNK_BYTES = 1 << 18
PER_SET = 5000

HEADER = (
    b"BHT*0019*00*REF%06d*20250115*1200*CH~\n"
    b"NM1*41*2*ACME BILLING*****46*SUBM001~\nPER*IC*JANE DOE*TE*5555551212~\n"
    b"NM1*40*2*CLEARINGHOUSE X*****46*RCVR001~\n"
    b"HL*1**20*1~\nPRV*BI*PXC*207Q00000X~\nNM1*85*2*ACME CLINIC*****XX*1999999984~\n"
    b"N3*123 MAIN ST~\nN4*TAMPA*FL*336011111~\nREF*EI*123456789~\n"
)
CLAIM = (
    b"HL*%d*1*22*0~\nSBR*P*18*GRP1******CI~\nNM1*IL*1*SMITH*JOHN****MI*M%09d~\nN3*2 OAK AVE~\nN4*TAMPA*FL*33601~\n"
    b"DMG*D8*19700101*M~\nNM1*PR*2*PAYER ONE*****PI*PAYER1~\nCLM*PCN%08d*300***11:B:1*Y*A*Y*Y~\n"
    b"HI*ABK:J029*ABF:R509~\nNM1*82*1*JONES*BEN****XX*1888888876~\nPRV*PE*PXC*207Q00000X~\n"
    + b"".join(b"LX*%d~\nSV1*HC:99213*100*UN*1***1~\nDTP*472*D8*20250110~\nREF*6R*L%d~\n" % (n, n) for n in (1, 2, 3))
)


def batch(claims: int) -> Iterator[bytes]:
    """Yield a batch of so many claims, some 500 bytes each, in sets of 5,000."""
    yield b"ISA*00*          *00*          *ZZ*SENDERID       *ZZ*RECEIVERID     *250115*1200*^*00501*000000001*0*T*:~"
    yield b"\nGS*HC*SENDERGS*RECVGS*20250115*1200*1*X*005010X222A1~\n"
    sets = 0
    for first in range(0, claims, PER_SET):
        sets += 1
        here = range(first, min(first + PER_SET, claims))
        yield b"ST*837*%04d*005010X222A1~\n" % sets + HEADER % sets
        for number in here:
            yield CLAIM % (number - first + 2, number, number)
        yield b"SE*%d*%04d~\n" % (12 + CLAIM.count(b"~") * len(here), sets)
    yield b"GE*%d*1~\nIEA*1*000000001~\n" % sets


def read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


def timed(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def large(claims: int, folder: Path) -> None:
    path = folder / "batch.837"
    with path.open("wb") as stream:
        stream.writelines(batch(claims))
    size = path.stat().st_size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bare = timed(lambda: deque((len(chunk.split(b"~")) for chunk in read(path)), maxlen=0))
    surveying = timed(lambda: survey(read(path)))
    surveyed = survey(read(path))
    splitting = timed(lambda: deque(split(read(path), surveyed), maxlen=0))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    line = "{:<12} {:8.0f} MB/s {:8.2f} us a claim {:6.2f} x bare split\n"
    for name, took in (("bare split", bare), ("survey", surveying), ("split", splitting)):
        sys.stdout.write(line.format(name, size / took / 1e6, took / claims * 1e6, took / bare))
    sys.stdout.write(f"{claims} claims, {size / 1e6:.0f} MB, memory grew by {grown / 1024:.1f} MiB\n")


def small(repeats: int) -> None:
    data = b"".join(batch(1))

    def once() -> None:
        for _ in split([data], survey([data])):
            pass

    bare = min(timed(lambda: data.split(b"~")) for _ in range(repeats))
    surveying = min(timed(lambda: survey([data])) for _ in range(repeats))
    both = min(timed(once) for _ in range(repeats))
    sys.stdout.write(
        f"one claim, {len(data)} bytes: bare split {bare * 1e6:.1f} us, survey {surveying * 1e6:.1f} us, "
        f"survey and split {both * 1e6:.1f} us\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        large(arguments.claims, Path(folder))
    small(arguments.repeats)


if __name__ == "__main__":
    main()
