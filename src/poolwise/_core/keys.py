"""Keys as a journal stores them: so that 1, "1", Path("1") and True are four keys, and the same key is always the same.

SQLite keeps its types apart itself: an int that fits 64 bits is stored as INTEGER and most texts as TEXT, which is what
makes the common keys quick. All others are a BLOB: a letter for the type, a colon, and a text that says it exactly.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from poolwise._core.errors import UsageError

Stored = int | str | bytes
"""A key as SQLite holds it."""

_INT64 = 1 << 63
_LONG_INT = 10**4000  # Python may refuse to write longer ones in decimal.
_DEEPEST = 100


def encode(key: Any) -> Stored:
    """Return a key in its stored form.

    Args:
        key: a str, an int, a path (`pathlib`), or a tuple of such.

    Raises:
        UsageError: for anything else, naming it.
    """
    kind = type(key)
    if kind is int and -_INT64 <= key < _INT64:
        return key  # type: ignore[no-any-return]
    if kind is str and _is_plain(key):
        return key  # type: ignore[no-any-return]
    return _blob(key)


def encode_all(keys: Sequence[Any]) -> tuple[Sequence[Stored], UsageError | None]:
    """Return stored forms of keys, up to the first that has none, and why it has none.

    Ints that fit 64 bits, and texts, are their own stored forms: that is seen for all of them at once.
    """
    kinds = set(map(type, keys))
    if kinds == {int} and min(keys) >= -_INT64 and max(keys) < _INT64:
        return keys, None
    if kinds == {str} and _is_plain("".join(keys)):
        return keys, None
    stored: list[Stored] = []
    try:
        stored.extend(map(encode, keys))  # Keeps what came before an error.
    except UsageError as error:
        return stored, error
    return stored, None


def _is_plain(text: str) -> bool:
    """Say whether SQLite keeps a text as it is: without NUL, and no file name that is no UTF-8."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(stored: Stored) -> Any:
    """Return the key of a stored form; paths come back as `pathlib.PurePath` of this system's kind."""
    if not isinstance(stored, bytes):
        return stored
    return _plain(json.loads(stored))


def is_key(item: Any, depth: int = _DEEPEST) -> bool:
    """Say whether an item can be its own key."""
    if isinstance(item, (str, int, pathlib.PurePath)):
        return True
    return isinstance(item, tuple) and depth > 0 and all(is_key(part, depth - 1) for part in item)


def _blob(key: Any) -> bytes:
    return json.dumps(_tagged(key), separators=(",", ":")).encode()


def _tagged(key: Any, depth: int = _DEEPEST) -> list[Any]:
    """Return a key as what JSON can say: a tag, and the value as text or a list."""
    if isinstance(key, bool):
        return ["bool", int(key)]
    if isinstance(key, int):
        return ["int", str(int(key))] if -_LONG_INT < key < _LONG_INT else ["hex", hex(key)]
    if isinstance(key, str):
        return ["str", str.__str__(key)]  # Lone surrogates and NUL are escaped, as all that is not ASCII.
    if isinstance(key, pathlib.PurePath):
        return ["path", os.fspath(key)]
    if isinstance(key, tuple):
        if depth == 0:
            raise UsageError(f"the key holds tuples more than {_DEEPEST} deep; give key=, a function that returns less")
        return ["tuple", [_tagged(part, depth - 1) for part in key]]
    raise UsageError(
        f"the key {shown(key)} is a {type(key).__qualname__}, which cannot name an item for good; "
        "give key=, a function that returns a str, an int, a path, or a tuple of these"
    )


def _plain(tagged: list[Any]) -> Any:
    tag, value = tagged
    if tag == "tuple":
        return tuple(map(_plain, value))
    if tag == "hex":
        return int(value, 16)
    return {"bool": bool, "int": int, "str": str, "path": pathlib.PurePath}[tag](value)


def shown(key: Any) -> str:
    """Return a key, or an item, as a short text for a message."""
    try:
        text = repr(key)
    except Exception:
        return "given"
    return text if len(text) <= 60 else f"{text[:57]}..."
