"""The demo's input: batches of all kinds, some of them with what goes wrong in real folders."""

from pathlib import Path

import msgspec

from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

# One claim of each of these, planted by the magic values of worker.simulator.outcomes.
SHOWCASE = ("REJ7-", "E999-", "M301-", "EDIT-", "INC-", "EMPTY-", "ODD-", "ERRX-", "S503-", "H504-")
HALF = 0.6

USUAL = GeneratorSpec(claims=1)


class Written(msgspec.Struct, frozen=True):
    """How many claims and files were written; claims in files that are refused or incomplete do not count."""

    claims: int
    files: int


class _Numbers:
    """Gives each file its own range of ordinals, so that no patient control number occurs twice."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.ordinal = 1
        self.control = 1

    def spec(self, claims: int, files: int = 1, *, like: GeneratorSpec = USUAL) -> GeneratorSpec:
        spec = msgspec.structs.replace(
            like, claims=claims, seed=self.seed, first_ordinal=self.ordinal, control_number=self.control
        )
        self.ordinal += claims * files
        self.control += files
        return spec


def write_batches(folder: Path, *, claims: int, seed: int) -> Written:
    """Fill `folder` with about `claims` claims: large and one-claim files, and some that cannot be processed."""
    numbers = _Numbers(seed)
    singles = claims // 10
    tenth = claims // 10
    total = files = 0

    def put(name: str, count: int, many: int = 1, *, like: GeneratorSpec = USUAL) -> None:
        nonlocal total, files
        spec = numbers.spec(count, many, like=like)
        write_folder(folder, files=many, claims_per_file=count, spec=spec, prefix=name)
        total += count * many
        files += many

    put("professional", 4 * tenth)
    put("institutional", 2 * tenth, like=GeneratorSpec(claims=1, kind="institutional"))
    put("mixed", 3 * tenth, like=GeneratorSpec(claims=1, kind="mixed", claims_per_st=50))
    put("single", 1, singles)
    for magic in SHOWCASE:
        put(f"showcase-{magic.strip('-').lower()}", 1, like=GeneratorSpec(claims=1, planted={magic: 1.0}))
    put("dental", 3, like=GeneratorSpec(claims=1, guide="005010X224A2"))
    put("other-payer", 2, like=GeneratorSpec(claims=1, payers=("NOBODY",)))
    _put_unreadable(folder, numbers)
    return Written(total, files + 2)


def _put_unreadable(folder: Path, numbers: _Numbers) -> None:
    """Add a file that is no X12, and one that somebody is still writing."""
    note = folder / "note.txt"
    note.write_text("This is not an 837; somebody dropped it here.\n")
    note.chmod(0o600)
    (whole,) = write_folder(folder, files=1, claims_per_file=20, spec=numbers.spec(20), prefix="half-written")
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * HALF)])
