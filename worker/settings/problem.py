"""What can be wrong with settings, said so that it can be put right."""

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing wrong with the setting (or section, file, variable) `name`; the text holds no secret."""

    name: str
    text: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.name}: {self.text}"


def shown_name(name: str) -> str:
    """Show a name that a user wrote, whatever is in it."""
    return name[:80] if name.isprintable() else repr(name)[:80]
