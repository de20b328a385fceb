"""What all sections of the settings have in common: frozen, named, and silent about secrets."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Meta

from worker.settings.secret import MASK, masked


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all sections: frozen, by name only, no unknown keys; no repr shows a secret."""

    def __repr__(self) -> str:
        """Show every setting, secrets masked."""
        shown = ", ".join(f"{name}={value}" for name, value in self._shown())
        return f"{type(self).__name__}({shown})"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Show rich the same: by itself it walks the fields."""
        return list(self._shown())

    def _shown(self) -> Iterator[tuple[str, str]]:
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Section):
                yield field.name, repr(value)
            else:
                yield field.name, MASK if value and is_secret(field.type) else masked(value)


def is_secret(annotation: Any) -> bool:
    """Tell whether a setting's value must never be shown."""
    metas = getattr(annotation, "__metadata__", ())
    return any(meta.extra and meta.extra.get("secret") for meta in metas)


def secret(meaning: str) -> Meta:
    """Describe a setting whose value must never be shown."""
    return Meta(description=meaning, extra={"secret": True})
