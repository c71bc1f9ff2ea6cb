"""How functions, items and results become bytes and come back. Sockets and segments are in `channel.py`.

Three rules:

* Plain pickle first, cloudpickle where that fails. Classes that no other process can import (those of `__main__`, local
  ones) travel by an identity that both sides know, and their definition travels along once, so that a value comes back
  as an instance of the very same class.
* Immutable scalars travel together in one pickle; everything else has a pickle of its own, so that two items never
  share an object, and one that cannot be packed or unpacked is the only one to fail.
* numpy arrays and other buffers from 64 KB on stay out of the pickle: a `Parcel` collects them beside it.
"""

from __future__ import annotations

import copyreg
import functools
import io
import pickle
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

from poolwise._core.errors import NotPicklableError
from poolwise._core.sizes import sampled_bytes

OUT_OF_BAND_BYTES = 64 * 1024
_SCALARS = frozenset({int, float, str, bytes, bool, complex, type(None)})
_SCALARS_AND_TUPLES = _SCALARS | {tuple}
_MAIN_MODULES = ("__main__", "__mp_main__")


def travels_together(values: Sequence[Any]) -> bool:
    """Say whether these values are immutable scalars, or flat tuples of such, which cannot fail to travel."""
    kinds = set(map(type, values))
    if kinds <= _SCALARS:
        return True
    if not kinds <= _SCALARS_AND_TUPLES:
        return False
    return set(map(type, chain.from_iterable(value for value in values if type(value) is tuple))) <= _SCALARS


class Parcel:
    """What goes beside a pickle: large buffers, and the definitions of classes that the other side may lack.

    Attributes:
        inline: leave buffers in the pickle after all.
        views: the memory of each buffer, in order.
        class_ids: identities of the classes that were pickled by identity.
    """

    __slots__ = ("_keep", "class_ids", "inline", "views")

    def __init__(self, *, inline: bool = False) -> None:
        self.inline = inline
        self.views: list[memoryview] = []
        self.class_ids: set[str] = set()
        self._keep: list[Any] = []

    @property
    def bytes(self) -> int:
        """Size of all buffers."""
        return sum(view.nbytes for view in self.views)

    def add_array(self, array: Any) -> int:
        """Take the memory of a contiguous array; returns its place in `views`."""
        self._keep.append(array)
        self.views.append(_memory(array))
        return len(self.views) - 1

    def add_buffer(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer that pickle offers (protocol 5); True tells pickle to keep it in the stream."""
        try:
            view = buffer.raw()
        except BufferError:
            return True
        if self.inline or view.nbytes < OUT_OF_BAND_BYTES:
            return True
        self._keep.append(buffer)
        self.views.append(view)
        return False

    def truncate(self, count: int) -> None:
        """Forget the buffers from `count` on: what they belonged to could not be pickled."""
        del self.views[count:]


_loading = threading.local()


class Unparcel:
    """The receiving side of a Parcel: hands out buffers in order while values are unpickled.

    Args:
        lengths: bytes of each buffer.
        fill: called as `fill(index, view)`; writes buffer `index` into the view.
    """

    __slots__ = ("_fill", "lengths", "next")

    def __init__(self, lengths: Sequence[int], fill: Callable[[int, memoryview], None]) -> None:
        self.lengths = lengths
        self._fill = fill
        self.next = 0

    def fill(self, index: int, view: memoryview) -> None:
        self._fill(index, view)
        self.next = index + 1

    def buffers(self) -> Iterator[bytearray]:
        """Yield buffers that pickle itself asks for, each as memory of its own."""
        while True:
            memory = bytearray(self.lengths[self.next])
            self.fill(self.next, memoryview(memory))
            yield memory


def _array_from_parcel(index: int, cls: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """Rebuild an array that owns its memory; the counterpart of `_reduce_array`."""
    array = _empty(cls, dtype, shape, order)
    _loading.unparcel.fill(index, _memory(array))
    return array


def _array_from_bytes(data: bytes, cls: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """Rebuild a small array; like `_array_from_parcel`."""
    array = _empty(cls, dtype, shape, order)
    _memory(array)[:] = data
    return array


def _empty(cls: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """Make an array of that class as numpy's own unpickling does: its `__array_finalize__` is given None."""
    import numpy

    return numpy.ndarray.__new__(cls or numpy.ndarray, shape, dtype, order=cast("Any", order))


def _memory(array: Any) -> memoryview:
    """Return the memory of a contiguous array as bytes, writable where it is."""
    import numpy

    plain: Any = numpy.ndarray.view(array, numpy.ndarray)
    return memoryview(plain.reshape(-1, order="A").view("u1"))


def _is_array(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, getattr(numpy, "ndarray", ()))


def _reduce_array(array: Any, parcel: Parcel | None) -> Any:
    """Reduce an array so that it arrives writable and owning its memory, which pickle's own ways do not promise.

    A subclass with a way of its own to be pickled is left to that, but for numpy's masked arrays.
    """
    import numpy

    kind: Any = type(array)
    plain: Any = numpy.ndarray
    if kind.__reduce__ is not plain.__reduce__ or kind.__setstate__ is not plain.__setstate__:
        return _reduce_masked(array) if "numpy.ma" in sys.modules else NotImplemented
    dtype = array.dtype
    if dtype.hasobject or dtype.itemsize == 0 or kind.__reduce_ex__ is not plain.__reduce_ex__:
        return NotImplemented
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        array = array.copy(order="C")
    order = "C" if array.flags.c_contiguous else "F"
    what = None if kind is plain else kind, dtype, array.shape, order
    if parcel is None or parcel.inline or array.nbytes < OUT_OF_BAND_BYTES:
        return _array_from_bytes, (bytes(_memory(array)), *what)
    return _array_from_parcel, (parcel.add_array(array), *what)


def _reduce_masked(array: Any) -> Any:
    """Reduce a masked array to its data and its mask, which are arrays that travel as such."""
    import numpy

    kind: Any = type(array)
    if kind is not numpy.ma.MaskedArray:
        return NotImplemented
    return _masked_array, (array.data, array.mask, array.hardmask, array._fill_value)


def _masked_array(data: Any, mask: Any, hard: bool, fill_value: Any) -> Any:
    import numpy

    array: Any = numpy.ma.MaskedArray(data, mask=mask, hard_mask=hard)
    array._fill_value = fill_value
    return array


_definitions: dict[str, bytes] = {}  # Received, not yet loaded.
_tracked: dict[str, type] = {}  # Keeps classes alive: cloudpickle's own table is weak.


def add_definitions(definitions: dict[str, bytes]) -> None:
    """Remember class definitions that came with a message, until a value needs them."""
    _definitions.update((identity, blob) for identity, blob in definitions.items() if identity not in _tracked)


def _tracked_class(identity: str) -> type:
    """Find the class of that identity; the counterpart of `_reduce_class`."""
    cls = _tracked.get(identity)
    if cls is None:
        from cloudpickle import cloudpickle

        cls = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
        if cls is None or identity in _definitions:
            cls = pickle.loads(_definitions.pop(identity))
        _tracked[identity] = cls
    return cls


def _track(cls: type) -> str:
    """Give a class an identity, cloudpickle's own, so that functions sent by value agree with it.

    Raises:
        Exception: where it has no definition that can be pickled.
    """
    from cloudpickle import cloudpickle

    identity = cast("str", cloudpickle._get_or_create_tracker_id(cls))
    if identity not in _tracked:
        dumps_by_value(cls, None)
        _tracked[identity] = cls
    return identity


def definition(identity: str) -> bytes:
    """Pickle the class of that identity by value."""
    return dumps_by_value(_tracked[identity], None)


@functools.lru_cache(maxsize=1024)
def importable(module_name: str) -> bool:
    """Say whether another process could import that module by name."""
    if module_name in _MAIN_MODULES:
        return False
    top = module_name.partition(".")[0]
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    module = sys.modules.get(top)
    if module is not None and getattr(module, "__spec__", None) is None:
        return False
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        try:
            if find_spec is not None and find_spec(top, None) is not None:
                return True
        except (ImportError, AttributeError, ValueError):
            continue
    return False


def _is_dynamic(obj: Any) -> bool:
    module_name = getattr(obj, "__module__", None)
    return module_name is None or "<locals>" in obj.__qualname__ or not importable(module_name)


def _reduces_itself(kind: Any) -> bool:
    """Say whether a class has its own way to be pickled, which may be a name to be looked up."""
    return kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__


def _reduce(pickler: Any, obj: Any) -> Any:
    """Reduce what travels alike in both picklers: arrays, and in values the classes that have an identity."""
    if _is_array(obj):
        return _reduce_array(obj, pickler.parcel)
    if isinstance(obj, type) and pickler.parcel is not None and _is_dynamic(obj):
        identity = _track(obj)
        pickler.parcel.class_ids.add(identity)
        return _tracked_class, (identity,)
    return NotImplemented


class _Pickler(pickle.Pickler):
    """Plain pickle, which refuses what must travel by value."""

    def __init__(self, file: io.BytesIO, parcel: Parcel | None) -> None:
        super().__init__(file, 5, buffer_callback=None if parcel is None else parcel.add_buffer)
        self.parcel = parcel

    def reducer_override(self, obj: Any) -> Any:
        reduced = _reduce(self, obj)
        if reduced is not NotImplemented or isinstance(obj, type):
            return reduced
        kind = type(obj)
        if kind is types.FunctionType:
            if _is_dynamic(obj):
                raise pickle.PicklingError("a function that cannot be imported travels by value")
        elif _reduces_itself(kind) and not importable(getattr(obj, "__module__", None) or "builtins"):
            reduced = obj.__reduce_ex__(5)
            if isinstance(reduced, str):
                raise pickle.PicklingError(f"{reduced} cannot be imported: it travels by value")
        return reduced


@functools.cache
def _picklers_by_value() -> tuple[type[Any], type[Any]]:
    """Return the two picklers that cloudpickle, imported late, is the base of: for functions, and for values."""
    import cloudpickle

    class FunctionPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        """Dynamic functions and classes go along by value."""

        def __init__(self, file: io.BytesIO, parcel: Parcel | None) -> None:
            super().__init__(file, 5, buffer_callback=None if parcel is None else parcel.add_buffer)
            self.parcel = parcel

        def reducer_override(self, obj: Any) -> Any:
            if _is_array(obj):
                return _reduce_array(obj, self.parcel)
            if isinstance(obj, (type, types.FunctionType)):
                if not importable(obj.__module__ or "__main__"):
                    _send_by_value(obj.__module__)
                return _with_slots(obj, super().reducer_override(obj))
            kind = type(obj)
            if kind is functools.cached_property:
                return _reduce_cached_property(obj)
            if kind is io.TextIOWrapper and obj is not sys.stdout and obj is not sys.stderr:
                raise pickle.PicklingError("an open file cannot be pickled")  # cloudpickle would send what it holds.
            if _reduces_itself(kind) and kind not in self.dispatch_table:
                reduced = obj.__reduce_ex__(5)
                return _reduce_named(obj) if isinstance(reduced, str) and _is_lost(obj, reduced) else reduced
            return NotImplemented

    class ValuePickler(FunctionPickler):
        """Dynamic functions go along by value, classes by identity."""

        def reducer_override(self, obj: Any) -> Any:
            reduced = _reduce(self, obj)
            return super().reducer_override(obj) if reduced is NotImplemented else reduced

    return FunctionPickler, ValuePickler


def _with_slots(cls: Any, reduced: Any) -> Any:
    """Have cloudpickle's copy of a class made with its `__slots__`: else the states of their instances do not fit."""
    from cloudpickle import cloudpickle

    if isinstance(reduced, tuple) and reduced[0] is cloudpickle._make_skeleton_class and "__slots__" in vars(cls):
        _, _, bases, namespace, *_ = reduced[1]
        if types.resolve_bases(bases) == cls.__bases__:  # Not so for a NamedTuple, which makes its own.
            namespace["__slots__"] = cls.__slots__
    return reduced


def _reduce_cached_property(obj: Any) -> Any:
    """Leave out the lock that Python 3.11 has in it."""
    state = {name: value for name, value in vars(obj).items() if name not in ("func", "lock")}
    return functools.cached_property, (obj.func,), state


def _is_lost(obj: Any, name: str) -> bool:
    """Say whether an object that pickle stores by name cannot be looked up in another process."""
    from cloudpickle import cloudpickle

    found = cloudpickle._lookup_module_and_qualname(obj, name)
    return found is None or not importable(found[0].__name__)


def _reduce_named(obj: Any) -> Any:
    """Reduce by value what pickle stores by name, keeping its identity, which such objects exist for."""
    from cloudpickle import cloudpickle

    make: Any
    arguments: tuple[Any, ...]
    rest: list[Any] = []
    if isinstance(obj, functools._lru_cache_wrapper):
        make, arguments = _cached_function, (obj.__wrapped__, obj.cache_parameters())
    elif isinstance(obj, (typing.ParamSpec, typing.TypeVarTuple)):
        make, arguments = type(obj), (obj.__name__,)
    else:
        make, arguments, *rest = copyreg._reduce_ex(obj, 1)  # type: ignore[attr-defined]  # Does not ask the object.
    return _same_object, (cloudpickle._get_or_create_tracker_id(obj), make, arguments), *rest


def _same_object(identity: str, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return the object of that identity, made now where there is none; the counterpart of `_reduce_named`."""
    from cloudpickle import cloudpickle

    return cloudpickle._lookup_class_or_track(identity, make(*arguments))


def _cached_function(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def dumps(value: Any, parcel: Parcel | None = None) -> bytes:
    """Pickle one value: plainly, and where that fails by value.

    Raises:
        Exception: whatever the value's own reduction raises; pickle's own errors where it has none.
    """
    mark = 0 if parcel is None else len(parcel.views)
    file = io.BytesIO()
    try:
        _Pickler(file, parcel).dump(value)
    except Exception:
        if parcel is not None:
            parcel.truncate(mark)
        file = io.BytesIO()
        _picklers_by_value()[1](file, parcel).dump(value)
    return file.getvalue()


def loads(blob: bytes, unparcel: Unparcel | None = None) -> Any:
    """Unpickle one value; large buffers come from `unparcel`."""
    if unparcel is None or not unparcel.lengths:
        return pickle.loads(blob)
    _loading.unparcel = unparcel
    try:
        return pickle.loads(blob, buffers=unparcel.buffers())
    finally:
        _loading.unparcel = None


# -- columns -----------------------------------------------------------------------------------------------------------

Column = tuple[bool, list[Any], list[int]]
"""(together, values or pickles, for each pickle the number of buffers before it)"""


def is_interrupt(error: BaseException) -> bool:
    """Say whether this may be the user's Ctrl-C, which only the main thread gets, and not a value's own doing."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def pack(values: list[Any], parcel: Parcel, *, in_worker: bool = False) -> tuple[Column, dict[int, str]]:
    """Pickle a column of values.

    Args:
        values: the column.
        parcel: takes what goes beside it.
        in_worker: no thread here gets Ctrl-C.

    Returns:
        The column, and for each position that could not be pickled a sentence that says why.
    """
    if travels_together(values):
        return (True, values, []), {}
    blobs: list[bytes | None] = []
    marks: list[int] = []
    refusals: dict[int, str] = {}
    for position, value in enumerate(values):
        marks.append(len(parcel.views))
        try:
            blobs.append(dumps(value, parcel))
        except BaseException as error:
            if not in_worker and is_interrupt(error):
                raise
            parcel.truncate(marks[-1])
            blobs.append(None)
            refusals[position] = f"cannot be pickled: {_one_line(error)}"
    return (False, blobs, marks), refusals


def unpack(column: Column, unparcel: Unparcel, *, in_worker: bool = False) -> tuple[list[Any], dict[int, str]]:
    """Unpickle a column of values; the counterpart of `pack`."""
    together, blobs, marks = column
    if together:
        return blobs, {}
    values: list[Any] = []
    refusals: dict[int, str] = {}
    for position, blob in enumerate(blobs):
        unparcel.next = marks[position]
        try:
            values.append(None if blob is None else loads(blob, unparcel))
        except BaseException as error:
            if not in_worker and is_interrupt(error):
                raise
            values.append(None)
            refusals[position] = f"cannot be unpickled: {_one_line(error)}"
    return values, refusals


def column_bytes(column: Column) -> int:
    """Return the size of a column: of its pickles, or about that of its scalars."""
    together, values, _ = column
    return int(sampled_bytes(values)) if together else sum(len(blob) for blob in values if blob is not None)


def _one_line(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = "<its text cannot be made>"
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


# -- functions ---------------------------------------------------------------------------------------------------------


def dump_function(parts: Any, name: str) -> tuple[bytes, Parcel]:
    """Pickle the function (and what belongs to it), as all workers will get it.

    Raises:
        NotPicklableError: naming what it captures that cannot be sent.
    """
    parcel = Parcel()
    try:
        blob = dumps_by_value(parts, parcel)
    except Exception as error:
        culprit = find_culprit(parts[0] if isinstance(parts, tuple) else parts)
        where = f"; {culprit}" if culprit else ""
        raise NotPicklableError(
            f"{name} cannot be sent to a child process{where} ({_one_line(error)}); "
            "create it inside the function or in setup=, or use threads (shape='1xT')"
        ) from error
    return blob, parcel


def dumps_by_value(value: Any, parcel: Parcel | None) -> bytes:
    """Pickle a value whose dynamic functions and classes go along by value, in one pickle that shares their globals."""
    file = io.BytesIO()
    _picklers_by_value()[0](file, parcel).dump(value)
    return file.getvalue()


def _send_by_value(module_name: str | None) -> None:
    """Tell cloudpickle that a module which no other process can import travels by value."""
    import cloudpickle

    module = sys.modules.get(module_name or "")
    if module is not None and module_name != "__main__":
        cloudpickle.register_pickle_by_value(module)


def find_culprit(value: Any, depth: int = 4) -> str:
    """Name the innermost captured thing that cannot be pickled, as "it captures `lock` (a lock)", or ""."""
    for name, part in _parts(value):
        try:
            dumps_by_value(part, Parcel())
        except Exception:
            deeper = find_culprit(part, depth - 1) if depth > 0 else ""
            return deeper or f"it captures {name!r}, a {type(part).__module__}.{type(part).__qualname__}"
    return ""


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a function or object holds: (name, thing)."""
    if isinstance(value, functools.partial):
        yield "the partial's function", value.func
        yield from ((f"argument {place}", part) for place, part in enumerate(value.args))
        yield from value.keywords.items()
    elif isinstance(value, types.MethodType):
        yield from _parts(value.__self__)
    elif isinstance(value, types.FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
            try:
                yield name, cell.cell_contents
            except ValueError:  # An empty cell.
                continue
        names = _global_names(value.__code__)
        yield from ((name, value.__globals__[name]) for name in names if name in value.__globals__)
        yield from ((f"default {place}", part) for place, part in enumerate(value.__defaults__ or ()))
        yield from (value.__kwdefaults__ or {}).items()
    elif isinstance(value, dict):
        yield from ((str(name), part) for name, part in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"element {place}", part) for place, part in enumerate(value))
    elif hasattr(value, "__dict__") and not isinstance(value, (type, types.ModuleType)):
        yield from vars(value).items()


def _global_names(code: types.CodeType) -> list[str]:
    names = list(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += _global_names(constant)
    return names
