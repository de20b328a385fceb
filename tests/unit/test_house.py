"""Who opens the package finds each of its parts told in a line."""

import re
from pathlib import Path

import worker

PACKAGE = Path(worker.__file__).parent


def test_every_part_of_the_package_is_told_once_in_its_map() -> None:
    told = re.findall(r"^([a-z]\w*)  +\S", worker.__doc__ or "", re.MULTILINE)
    parts = [path for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"]

    assert sorted(told) == sorted(path.stem for path in parts if not path.name.startswith("__"))
