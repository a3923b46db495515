"""Reads as much of GraphQL as questions to a subgraph need: fields with arguments and variables, no fragments."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_WORD = re.compile(r'[\s,]+|#[^\n]*|([A-Za-z_]\w*|-?\d+(?:\.\d+)?|"(?:[^"\\]|\\.)*"|\$[A-Za-z_]\w*|[{}()\[\]:!=])')
_DEPTH_MAX = 12
TEXT_BYTES_MAX = 64 * 1024


class QueryError(Exception):
    """A question that cannot be read or answered; its text is what the venue says."""


class Field(msgspec.Struct, frozen=True):
    """What is asked for: a field, how to call it in the answer, and what of it."""

    name: str
    alias: str
    args: Mapping[str, Any]
    fields: "tuple[Field, ...]"

    def number(self, name: str, default: int) -> int:
        """Return an integer argument."""
        value = self.args.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise QueryError(f"Invalid value provided for argument `{name}`: {value!r}")
        return int(value)


def read_query(text: str, variables: Mapping[str, Any]) -> tuple[Field, ...]:
    """Read the fields of a question; QueryError when it is not one."""
    if len(text) > TEXT_BYTES_MAX:
        raise QueryError("query is too large")
    parser = _Parser(_split(text), variables)
    fields = parser.read_operation()
    if parser.peek():
        raise QueryError(f"unexpected {parser.peek()!r}")
    return fields


def select(fields: Sequence[Field], row: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return what was asked of a row, nested rows and lists of them included."""
    found: dict[str, Any] = {}
    for field in fields:
        if field.name not in row:
            raise QueryError(f"Type `{kind}` has no field `{field.name}`")
        value = row[field.name]
        if isinstance(value, Mapping):
            if not field.fields:
                raise QueryError(f"Field `{field.name}` of type `{kind}` must have a selection of subfields")
            value = select(field.fields, value, field.name.capitalize())
        found[field.alias] = value
    return found


def _split(text: str) -> list[str]:
    words, at = [], 0
    while at < len(text):
        found = _WORD.match(text, at)
        if found is None:
            raise QueryError(f"query parse error: Parse error at {at}: unexpected {text[at]!r}")
        if found[1]:
            words.append(found[1])
        at = found.end()
    return words


class _Parser:
    """Walks over the words of a question once."""

    def __init__(self, words: list[str], variables: Mapping[str, Any]) -> None:
        self._words, self._at, self._variables = words, 0, variables

    def peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def take(self, expected: str = "") -> str:
        word = self.peek()
        if not word or (expected and word != expected):
            raise QueryError(f"query parse error: expected {expected or 'more'}, found {word or 'the end'!r}")
        self._at += 1
        return word

    def read_operation(self) -> tuple[Field, ...]:
        if self.peek() == "query":
            self.take()
            if self.peek() not in ("(", "{"):
                self.take()
            if self.peek() == "(":
                while self.take() != ")":  # types of variables: their values are what counts
                    pass
        return self.read_fields(0)

    def read_fields(self, depth: int) -> tuple[Field, ...]:
        if depth > _DEPTH_MAX:
            raise QueryError("query is too deep")
        self.take("{")
        fields = []
        while self.peek() != "}":
            name = alias = self._take_name()
            if self.peek() == ":":
                self.take()
                name = self._take_name()
            args = self._read_object("(", ")", depth) if self.peek() == "(" else {}
            inner = self.read_fields(depth + 1) if self.peek() == "{" else ()
            fields.append(Field(name, alias, args, inner))
        self.take("}")
        return tuple(fields)

    def _take_name(self) -> str:
        word = self.take()
        if not re.fullmatch(r"[A-Za-z_]\w*", word):
            raise QueryError(f"query parse error: expected a name, found {word!r}")
        return word

    def _read_object(self, opening: str, closing: str, depth: int) -> dict[str, Any]:
        if depth > _DEPTH_MAX:
            raise QueryError("query is too deep")
        self.take(opening)
        found = {}
        while self.peek() != closing:
            name = self._take_name()
            self.take(":")
            found[name] = self._read_value(depth + 1)
        self.take(closing)
        return found

    def _read_value(self, depth: int) -> Any:
        word = self.peek()
        if word == "{":
            return self._read_object("{", "}", depth)
        if word == "[":
            self.take()
            values = []
            while self.peek() != "]":
                values.append(self._read_value(depth + 1))
            self.take("]")
            return values
        return self._read_word(self.take())

    def _read_word(self, word: str) -> Any:
        if word[0] == "$":
            if word[1:] not in self._variables:
                raise QueryError(f"No value provided for required argument: `{word}`")
            return self._variables[word[1:]]
        if word[0] == '"':
            return msgspec.json.decode(word.encode())
        if word.lstrip("-")[:1].isdigit():
            return float(word) if "." in word else int(word)
        return {"true": True, "false": False, "null": None}.get(word, word)
