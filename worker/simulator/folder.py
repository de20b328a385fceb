"""Fills a folder with generated batches, as a claim system would: each file complete before it has its name."""

import os
from pathlib import Path

import msgspec

from worker.simulator.generator import Generator, GeneratorSpec

_PRIVATE = 0o600  # claims are PHI, and these are treated as if they were


def write_folder(
    path: Path, *, files: int, claims_per_file: int = 1, spec: GeneratorSpec | None = None, prefix: str = "batch"
) -> list[Path]:
    """Write `files` batches of `claims_per_file` claims into the folder `path`; return them in order.

    Each file is written under a hidden name (``.NAME.tmp``) and then renamed. `spec` says what the claims look
    like and where ordinals and control numbers start, so that no claim number occurs twice in the folder; its
    `claims` is not used.

    :raises OSError: if a file cannot be written or renamed.
    """
    spec = msgspec.structs.replace(spec or GeneratorSpec(claims=1), claims=claims_per_file)
    generator = Generator(spec)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for number in range(files):
        target = path / f"{prefix}-{number + 1:06d}.837"
        hidden = target.with_name(f".{target.name}.tmp")
        descriptor = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with os.fdopen(descriptor, "wb") as stream:
            first = spec.first_ordinal + number * claims_per_file
            for chunk in generator.batch(claims_per_file, first, spec.control_number + number):
                stream.write(chunk)
        written.append(hidden.rename(target))
    return written
