"""Reads Alloy's configuration language, as much of it as the shipped file uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(
    r'//[^\n]*|\s+|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[\w.]+)|(?P<mark>[{}\[\],=])'
)


@dataclass(frozen=True)
class Reference:
    """What a component exports, named by another: ``loki.write.loki.receiver``."""

    name: str


@dataclass
class Block:
    """A block, or the whole file: arguments by name, and the blocks within."""

    name: str = ""
    label: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def all(self, name: str) -> Iterator[Block]:
        """Every block of a name in it."""
        return (block for block in self.blocks if block.name == name)

    def one(self, name: str) -> Block:
        """The one block of a name in it."""
        (block,) = self.all(name)
        return block

    def references(self) -> set[str]:
        """All that it refers to."""

        def within(value: Any) -> Iterator[str]:
            if isinstance(value, Reference):
                yield value.name
            elif isinstance(value, list | dict):
                for one in value.values() if isinstance(value, dict) else value:
                    yield from within(one)

        own = set(within(self.arguments))
        return own.union(*(block.references() for block in self.blocks))


def parse(text: str) -> Block:
    """Read a file; ValueError says where it is no Alloy."""
    parser = _Parser(text)
    return parser.body(Block(), until="")


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))

    def body(self, block: Block, until: str) -> Block:
        while (name := self._take()) != until:
            if not re.fullmatch(r"[a-z_]\w*(\.[a-z_]\w*)*", name):
                raise ValueError(f"no name: {name!r} in {block.name!r}")
            if self._tokens[0] == "=":
                self._take()
                if name in block.arguments:
                    raise ValueError(f"twice: {name!r} in {block.name!r}")
                block.arguments[name] = self._value()
                continue
            label = self._take().strip('"') if self._tokens[0].startswith('"') else ""
            self._take("{")
            block.blocks.append(self.body(Block(name, label), until="}"))
        return block

    def _value(self) -> Any:
        token = self._take()
        if token.startswith('"'):
            return token[1:-1].replace(r"\\", "\\")
        if token == "[":
            return list(self._items("]", self._value))
        if token == "{":
            return dict(self._items("}", self._pair))
        if token in ("true", "false"):
            return token == "true"
        if re.fullmatch(r"[a-z_]\w*(\.\w+)+", token):
            return Reference(token)
        raise ValueError(f"no value: {token!r}")

    def _pair(self) -> tuple[str, Any]:
        name = self._take().strip('"')
        self._take("=")
        return name, self._value()

    def _items(self, end: str, item: Any) -> Iterator[Any]:
        while self._tokens[0] != end:
            yield item()
            if self._tokens[0] != end:
                self._take(",")
        self._take(end)

    def _take(self, expected: str | None = None) -> str:
        token = self._tokens.pop(0)
        if expected not in (None, token):
            raise ValueError(f"{token!r} where {expected!r} belongs")
        return token


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"no Alloy: {text[position:].splitlines()[0]!r}")
        if match.lastgroup:
            yield match[0]
        position = match.end()
    yield ""
