"""Whose outcomes a journal holds: a function by its name, a lambda by its code; and whether values are the same."""

from __future__ import annotations

import contextlib
import copyreg
import dataclasses
import enum
import functools
import hashlib
import inspect
import os
import pathlib
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from poolwise._core.journal import Owner


def owner_of(fn: Callable[..., Any], record: str = "the journal") -> Owner:
    """Return the owner of a function's outcomes.

    Warns (RuntimeWarning) where something that its values may depend on cannot be compared, such as a lock or a client.

    Args:
        fn: the function. Of a `functools.partial` what it wraps, and its arguments, count; of a callable dataclass
            its fields do; of another callable object, and of the object of a method, the attributes; of a lambda or a
            nested function the variables it closes over, and its defaults.
        record: what keeps them, for the warning.
    """
    teller = _Teller()
    known: dict[str, str] = {}
    while isinstance(fn, functools.partial):
        for place, value in enumerate(fn.args):
            known[f"argument {place + 1}"] = teller.tell(f"argument {place + 1}", value)
        known |= {name: teller.tell(name, value) for name, value in fn.keywords.items()}
        fn = fn.func
    for name, value in _surroundings(fn):
        known.setdefault(name, teller.tell(name, value))
    if teller.unsaid:
        warnings.warn(
            f"{', '.join(teller.unsaid)} of {name_of(fn)} cannot be compared with what {record} was made with; "
            "whether it is the same is not checked",
            RuntimeWarning,
            stacklevel=6,
        )
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


def chain_of(owners: Sequence[Owner]) -> Owner:
    """Return the owner of the outcomes of functions that are applied one after the other."""
    if len(owners) == 1:
        return owners[0]
    return Owner(
        " | ".join(owner.function for owner in owners),
        tuple(
            (f"stage {place} {name}", value) for place, owner in enumerate(owners, 1) for name, value in owner.options
        ),
        code=_joined(owner.code for owner in owners),
        source=_joined(owner.source for owner in owners),
    )


def _joined(digests: Iterable[str]) -> str:
    """Return one digest for several; "" where all are."""
    text = ",".join(digests)
    return hashlib.sha256(text.encode()).hexdigest()[:32] if text.strip(",") else ""


def _surroundings(fn: Any) -> Iterator[tuple[str, Any]]:
    """Iterate, by name, over what a function's values depend on beside its code and its argument."""
    if isinstance(fn, type):
        return
    if isinstance(fn, types.MethodType):
        yield from _attributes(fn.__self__, "self.")
        yield from _closure(inspect.unwrap(fn.__func__))
    elif isinstance(fn, types.BuiltinMethodType):
        if not isinstance(fn.__self__, types.ModuleType):
            yield "self", fn.__self__
    elif isinstance(plain := inspect.unwrap(fn), types.FunctionType):
        yield from _closure(plain)
    else:
        yield from _attributes(fn)


def _closure(fn: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the variables that a function closes over; where it is made anew each time, also its defaults."""
    if not isinstance(fn, types.FunctionType):
        return
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or ()):
        if name != "__class__":
            with contextlib.suppress(ValueError):  # It has no value yet.
                yield name, cell.cell_contents
    if "<" in fn.__qualname__:  # "<locals>" or "<lambda>"
        code = fn.__code__
        positional = code.co_varnames[: code.co_argcount]
        defaults = fn.__defaults__ or ()
        yield from zip(positional[len(positional) - len(defaults) :], defaults)
        yield from (fn.__kwdefaults__ or {}).items()


def _attributes(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over what an object holds: the fields of a dataclass, the attributes of another, else the object."""
    if isinstance(value, type):
        yield f"{prefix}__name__", value
        return
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield f"{prefix}{field.name}", getattr(value, field.name)
        return
    try:
        make, args, state, *items = (*value.__reduce_ex__(4), None, None, None)[:5]
    except Exception:
        make, args, state, items = None, (), getattr(value, "__dict__", None), []
    plain = make in (None, copyreg.__newobj__) and len(args) <= 1 and not any(items)  # type: ignore[attr-defined]  # Typeshed lacks it.
    if plain and (attributes := _named(value, state)) is not None:
        yield from ((f"{prefix}{name}", each) for name, each in attributes.items())
    else:
        yield "self", value


def _named(value: Any, state: Any) -> dict[str, Any] | None:
    """Return the attributes in a pickled state, without those that only keep what others give; None for another."""
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if not all(part is None or isinstance(part, dict) for part in parts):
        return None
    attributes = {str(name): each for part in parts for name, each in (part or {}).items()}
    kind = type(value)
    return {
        name: each
        for name, each in attributes.items()
        if not isinstance(inspect.getattr_static(kind, name, None), functools.cached_property)
    }


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


def digest_of(values: Sequence[Any]) -> str:
    """Return a digest of values, in their order, that is the same in every process where the values are.

    Of more than 20,000 values so many are looked at, evenly spread. Of what holds something that cannot be told, such
    as a lock, the class counts.
    """
    teller, digest = _Teller(), hashlib.sha256(str(len(values)).encode())
    most = min(len(values), _MOST_TOLD)
    for place in range(most):
        text = teller.tell("value", values[place * len(values) // most])
        digest.update(f"{len(text)} {text}".encode("utf-8", "replace"))
    return digest.hexdigest()[:32]


_MOST_TOLD = 20_000
_PLAIN = {type(None), bool, int, float, complex, str, bytes}
_NAMED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
_DEEPEST = 20
_MOST_PARTS = 50_000
_LONGEST = 60


class _Teller:
    """Tells values as texts that differ where the values do, and are the same in every process.

    Attributes:
        unsaid: names of what holds something of which only the class can be told.
    """

    def __init__(self) -> None:
        self.unsaid: list[str] = []
        self._name = ""
        self._within: set[int] = set()
        self._parts = 0

    def tell(self, name: str, value: Any) -> str:
        """Return a value as a text: itself where that is short, else a digest."""
        self._name, self._parts = name, 0
        text = self._said(value)
        if len(text) <= _LONGEST:
            return text
        return f"{type(value).__qualname__} {hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"

    def _said(self, value: Any) -> str:
        kind = type(value)
        if kind in _PLAIN:
            return _repr(value)
        if kind in (list, tuple) and set(map(type, value)) <= _PLAIN:
            return _repr(value)
        if id(value) in self._within:
            return f"a {kind.__qualname__} around it"
        self._parts += 1
        if len(self._within) >= _DEEPEST or self._parts > _MOST_PARTS:
            return self._only_class(value)
        self._within.add(id(value))
        try:
            return self._compound(value)
        except Exception:  # Whatever an object's own methods raise.
            return self._only_class(value)
        finally:
            self._within.discard(id(value))

    def _only_class(self, value: Any) -> str:
        if self._name not in self.unsaid:
            self.unsaid.append(self._name)
        return f"a {type(value).__qualname__}"

    def _compound(self, value: Any) -> str:
        kind = type(value)
        if isinstance(value, enum.Enum):
            return f"{kind.__qualname__}.{value.name}"
        if isinstance(value, pathlib.PurePath):
            return repr(value)
        if isinstance(value, functools.partial):
            return f"partial({self._all((value.func, *value.args))}, {self._pairs(value.keywords)})"
        if isinstance(value, types.BuiltinMethodType) and not isinstance(value.__self__, types.ModuleType):
            return f"{self._said(value.__self__)}.{value.__name__}"
        if isinstance(value, _NAMED):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return f"{self._said(value.__self__)}.{value.__name__}"
        if kind is list:
            return f"[{self._all(value)}]"
        if kind is tuple:
            return f"({self._all(value)},)"
        if kind is dict:
            return f"{{{self._pairs(value)}}}"
        if isinstance(value, (set, frozenset)):
            return f"{'' if kind is set else kind.__qualname__}{{{', '.join(sorted(map(self._said, value)))}}}"
        return self._instance(value)

    def _function(self, value: Any) -> str:
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__}"
        text = name_of(value)
        if isinstance(value, types.FunctionType) and "<" in value.__qualname__:
            text += f" {_digest_of_code(value.__code__)} ({self._pairs(dict(_closure(value)))})"
        return text

    def _instance(self, value: Any) -> str:
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return f"{type(value).__qualname__} {reduced}"
        make, args, state, entries, items = (*reduced, None, None, None)[:5]
        parts = [] if make is copyreg.__newobj__ else [self._said(make)]  # type: ignore[attr-defined]  # Typeshed lacks it.
        parts += map(self._said, args)
        attributes = _named(value, state)
        parts.append(self._said(state) if attributes is None else self._pairs(attributes))
        parts += [self._said(list(more)) for more in (entries, items) if more is not None]
        return f"{_place(type(value).__module__)}:{type(value).__qualname__}({', '.join(filter(None, parts))})"

    def _all(self, values: Iterable[Any]) -> str:
        return ", ".join(map(self._said, values))

    def _pairs(self, pairs: dict[Any, Any]) -> str:
        return ", ".join(f"{self._said(name)}: {self._said(value)}" for name, value in pairs.items())


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # An int with more digits than Python writes.
        return hex(value) if isinstance(value, int) else str([_repr(each) for each in value])


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
