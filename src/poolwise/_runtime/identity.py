"""Whose outcomes a journal holds: a function by its name, a lambda by its code."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import os
import sys
import types
from collections.abc import Callable
from typing import Any

from poolwise._core.journal import Owner


def owner_of(fn: Callable[..., Any]) -> Owner:
    """Return the owner of a function's outcomes.

    Args:
        fn: the function. Of a `functools.partial` what it wraps, and its arguments, count; of a callable dataclass
            its fields do.
    """
    known: dict[str, str] = {}
    while isinstance(fn, functools.partial):
        for place, value in enumerate(fn.args):
            known[f"argument {place + 1}"] = _said(value)
        known |= {name: _said(value) for name, value in fn.keywords.items()}
        fn = fn.func
    if dataclasses.is_dataclass(fn) and not isinstance(fn, type):
        known |= {field.name: _said(getattr(fn, field.name)) for field in dataclasses.fields(fn)}
    plain: Any = inspect.unwrap(fn) if callable(fn) else fn
    code = getattr(getattr(plain, "__func__", plain), "__code__", None)
    name = name_of(fn)
    lambda_code = code if "<lambda>" in name and isinstance(code, types.CodeType) else None
    return Owner(
        name,
        tuple(sorted(known.items())),
        code="" if lambda_code is None else _digest_of_code(lambda_code),
        source=_digest_of_source(plain) if lambda_code is None else "",  # Its source is a line with others on it.
    )


def name_of(fn: Callable[..., Any]) -> str:
    """Return where a function is defined, as "module:name"; of a `functools.partial`, where what it wraps is."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    module = str(getattr(fn, "__module__", None) or type(fn).__module__)
    return f"{_place(module)}:{getattr(fn, '__qualname__', type(fn).__qualname__)}"


def _place(module: str) -> str:
    """Name a module; a script by its file, as `__main__` is the name of all of them."""
    if module != "__main__":
        return module
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return f"__main__({os.path.basename(path)})" if path else module


def _said(value: Any) -> str:
    """Return an argument as a text that differs where the argument does, as far as that can be told."""
    if value is None or isinstance(value, (str, int, float, bool, bytes, os.PathLike)):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_said, value))})"
    try:
        import cloudpickle

        return f"{type(value).__qualname__} {hashlib.sha256(cloudpickle.dumps(value)).hexdigest()[:16]}"
    except Exception:
        return f"a {type(value).__qualname__}"


def _digest_of_code(code: types.CodeType) -> str:
    digest = hashlib.sha256()
    _feed(code, digest.update)
    return digest.hexdigest()[:32]


def _feed(code: types.CodeType, feed: Callable[[bytes], object]) -> None:
    """Feed what a code object does, and not where it stands."""
    feed(code.co_code)
    feed(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _feed(constant, feed)
        else:
            feed(repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant).encode())


def _digest_of_source(fn: Any) -> str:
    try:
        text = inspect.getsource(getattr(fn, "__func__", fn))
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(inspect.cleandoc(text).encode("utf-8", "replace")).hexdigest()[:32]
