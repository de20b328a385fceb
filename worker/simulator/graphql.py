"""As much of GraphQL as the pre-check API shows: one operation, one root field, scalars selected from its answer.

::

    query claimPreCheck($input: ClaimInput!) { claimPreCheck(input: $input) { transactionId message … } }

Source: contract.md §3 and §4; the GraphQL specification (October 2021), sections 2.2 to 2.5.
"""

import re
from functools import lru_cache

import msgspec

ANSWER_FIELDS = (
    "transactionId",
    "responseType",
    "x12ResponseData",
    "x12Response277CA",
    "message",
    "statusCode",
)

_TOKEN = re.compile(r"[\s,]*(?:([_A-Za-z]\w*)|(\$[_A-Za-z]\w*)|([{}():!=\[\]@])|(\S)|$)")


class GraphqlError(Exception):
    """The query is refused before it is run; `classification` is what the error's extensions will say."""

    def __init__(self, message: str, position: int, classification: str = "ValidationError") -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.classification = classification


class Selection(msgspec.Struct, frozen=True):
    """What a query asks for: the answer's key for the root field, pairs of key and field, the input's variable."""

    root: str
    fields: tuple[tuple[str, str], ...]
    variable: str


@lru_cache(maxsize=64)
def read_query(query: str, root_field: str) -> Selection:
    """Read a query for `root_field`.

    :raises GraphqlError: if it cannot be read, or asks for a field that does not exist.
    """
    reading = _Reading(query)
    if reading.peek() in ("query", "mutation"):
        reading.skip_to_selection()
    reading.take("{")
    root, name = reading.field()
    if name != root_field:
        raise _undefined(name, "Query", reading)
    variable = reading.argument()
    fields = reading.selection()
    reading.take("}")
    reading.take("")
    return Selection(root, fields, variable)


def _undefined(name: str, type_name: str, reading: "_Reading") -> GraphqlError:
    message = f"Validation error (FieldUndefined@[{name}]) : Field '{name}' in type '{type_name}' is undefined"
    return GraphqlError(message, reading.position)


class _Reading:
    """A query's tokens, taken one after the other."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._end = 0
        self.position = 0

    def peek(self) -> str:
        """Return the next token, "" at the end."""
        match = _TOKEN.match(self._query, self._end)
        return next((token for token in match.groups() if token), "") if match else ""

    def take(self, wanted: str | None = None) -> str:
        """Return the next token and go on; it must be the one wanted, or a name if none is.

        :raises GraphqlError: if it is another.
        """
        match = _TOKEN.match(self._query, self._end)
        token = self.peek()
        if match is None or (token != wanted if wanted is not None else not token.isidentifier()):
            raise GraphqlError("Invalid syntax: offending token", self._end, "InvalidSyntax")
        self._end = match.end()
        self.position = self._end - len(token)
        return token

    def skip_to_selection(self) -> None:
        """Go over the operation's name and variable definitions."""
        while (token := self.peek()) not in ("{", ""):
            self.take(token)

    def field(self) -> tuple[str, str]:
        """Take a field and its alias, which is its own name if it has none."""
        name = self.take()
        if self.peek() != ":":
            return name, name
        self.take(":")
        return name, self.take()

    def argument(self) -> str:
        """Take ``(input: $variable)`` and return the variable's name.

        :raises GraphqlError: if the argument is missing.
        """
        if self.peek() != "(":
            raise GraphqlError("Validation error (MissingFieldArgument) : 'input' is missing", self._end)
        self.take("(")
        self.take("input")
        self.take(":")
        variable = self.peek()
        if not variable.startswith("$"):
            raise GraphqlError("Validation error : 'input' must be a variable", self._end)
        self.take(variable)
        self.take(")")
        return variable[1:]

    def selection(self) -> tuple[tuple[str, str], ...]:
        """Take the fields in braces; each must exist in the answer."""
        self.take("{")
        fields = []
        while self.peek() != "}":
            key, name = self.field()
            if name not in ANSWER_FIELDS and name != "__typename":
                raise _undefined(name, "ClaimResponse", self)
            fields.append((key, name))
        self.take("}")
        if not fields:
            raise GraphqlError("Invalid syntax: a selection is empty", self.position, "InvalidSyntax")
        return tuple(fields)
