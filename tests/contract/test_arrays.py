"""Design 4, "numpy arrays arrive writable and private; result arrays own their memory"; and shared memory is empty."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolwise
from poolwise._runtime import wire
from zoo import items
from zoo.marks import wait_until
from zoo.ways import Way, in_children, ways

SHARED = Path("/dev/shm")
on_two_shapes = ways(lambda way: str(way) in ("2x1", "async-2x2"))
SMALL, LARGE = 10, 400  # squares of this side: 800 bytes, and 1.28 MB


@pytest.fixture(autouse=True)
def nothing_left_in_shared_memory() -> Iterator[None]:
    """No test leaves a file in shared memory."""
    before = set(os.listdir(SHARED)) if SHARED.is_dir() else set()
    yield
    if SHARED.is_dir():
        wait_until(lambda: set(os.listdir(SHARED)) <= before, "nothing new is left in /dev/shm", 10)


def _read_only(side: int) -> Any:
    array = np.arange(side * side, dtype="i8")
    array.flags.writeable = False
    return array


ARRAYS = {
    "plain": lambda n: np.arange(n * n, dtype="f8").reshape(n, n),
    "fortran": lambda n: np.asfortranarray(np.arange(n * n, dtype="f8").reshape(n, n)),
    "every-other": lambda n: np.arange(2 * n * n, dtype="i4")[::2],
    "backwards": lambda n: np.arange(n * n, dtype="i2")[::-1],
    "transposed-slice": lambda n: np.arange(4 * n * n).reshape(2 * n, 2 * n)[::2, 1::2].T,
    "broadcast": lambda n: np.broadcast_to(np.arange(n, dtype="f4"), (n, n)),
    "empty": lambda n: np.empty((0, n), dtype="f8"),
    "zero-dimensional": lambda n: np.array(n, dtype="f8"),
    "object": lambda n: np.array([{"a": 1}, None, "text"] * n, dtype=object),
    "structured": lambda n: np.array([(x, x / 2, b"ab") for x in range(n * n)], dtype="i4,f8,S3"),
    "text": lambda n: np.array([f"é{x}" for x in range(n * n)]),
    "dates": lambda n: np.arange("2024-01-01", n, dtype="M8[D]"),
    "big-endian": lambda n: np.arange(n * n, dtype=">i4"),
    "boolean": lambda n: np.arange(n * n) % 3 == 0,
    "read-only": _read_only,
}


def _same(left: Any, right: Any) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and bool(np.array_equal(left, right))


@on_two_shapes
@pytest.mark.parametrize("side", [SMALL, LARGE])
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_of_every_kind(way: Way, kind: str, side: int) -> None:
    """Any array arrives equal and writable, and comes back equal, writable, and owning its memory."""
    source = ARRAYS[kind](side)
    returned, dtype, writable, fortran = next(way.map(way.fn(items.describe_array), [source]))
    assert _same(returned, source)
    assert (dtype, writable) == (str(source.dtype), True)
    assert fortran == (source.flags.f_contiguous and not source.flags.c_contiguous)
    assert returned.flags.writeable


@on_two_shapes
@pytest.mark.parametrize("side", [SMALL, LARGE])
@pytest.mark.parametrize("kind", ARRAYS)
def test_results_own_their_memory(way: Way, kind: str, side: int) -> None:
    """A result array owns its memory: it outlives its run, and nothing else can change it."""
    source = ARRAYS[kind](side)
    with way.map(way.fn(items.same), [source, source]) as results:
        first, second = results
    assert _same(first, source)
    assert first.flags.owndata
    assert second.flags.owndata
    assert not np.shares_memory(first, second)
    first[...] = second[...]


class Tagged(np.ndarray):
    """A subclass that pickles as numpy has it."""


def _memmap(n: int) -> Any:
    with tempfile.TemporaryFile() as file:
        array = np.memmap(file, dtype="f8", mode="w+", shape=(n,))
    array[:] = np.arange(n)
    return array


SUBCLASSES = {
    "memmap": _memmap,
    "matrix": lambda n: np.arange(n, dtype="f8").reshape(2, -1).view(np.matrix),
    "recarray": lambda n: np.rec.array([(x, x / 2) for x in range(n)], dtype=[("a", "i4"), ("b", "f8")]),
    "own": lambda n: np.arange(n)[::2].view(Tagged),
    "masked": lambda n: np.ma.array(np.arange(n), mask=np.arange(n) % 3 == 0, hard_mask=True, fill_value=7),
    "masked-nowhere": lambda n: np.ma.array(np.arange(n)),
    "masked-fields": lambda n: np.ma.array([(1, 2.0)] * n, mask=[(0, 1)] * n, dtype="i4,f8"),
}


@in_children
@pytest.mark.parametrize("size", [10, 2000, 40_000])
@pytest.mark.parametrize("kind", SUBCLASSES)
def test_subclasses(way: Way, kind: str, size: int) -> None:
    """Instances of array classes come back equal and of their class, writable, their memory an array's own."""
    source = SUBCLASSES[kind](size)
    writable, result = next(way.map(way.fn(items.writable_and_same), [source]))
    assert (writable, type(result), result.dtype) == (True, type(source), source.dtype)
    assert np.array_equal(np.asarray(result), np.asarray(source))
    owner = result
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert owner.flags.owndata
    assert result.flags.writeable
    if isinstance(source, np.ma.MaskedArray):
        assert np.array_equal(result.mask, source.mask)
        assert result.mask.flags.writeable == source.mask.flags.writeable
        assert (result.hardmask, result.fill_value) == (source.hardmask, source.fill_value)


@pytest.mark.parametrize("kind", SUBCLASSES)
def test_large_subclasses_travel_beside_the_pickle(kind: str) -> None:
    """Their memory, and that of a mask, is not in the pickle."""
    parcel = wire.Parcel()
    source = SUBCLASSES[kind](200_000)
    assert len(wire.dumps(source, parcel)) < 2000
    assert parcel.bytes >= source.nbytes


@in_children
@pytest.mark.parametrize("side", [SMALL, LARGE])
def test_arguments_are_private(way: Way, side: int) -> None:
    """What an item does to its argument no one else sees: neither the caller, nor another item with the same array."""
    source = np.zeros((side, side))

    def scribble(array: Any) -> float:
        before = float(array.sum())
        array[...] = 7
        return before

    assert list(way.map(way.fn(scribble), [source] * 20)) == [0.0] * 20
    assert float(source.sum()) == 0.0


@in_children
@pytest.mark.parametrize("side", [SMALL, LARGE])
def test_kept_arguments_stay_as_they_are(way: Way, side: int) -> None:
    """What an item keeps of its arguments is not overwritten by later items."""
    sources = (np.zeros((side, side)) for _ in range(40))
    assert list(way.map(way.fn(items.keep_array), range(40), sources)) == [True] * 40


@in_children
@pytest.mark.parametrize("side", [SMALL, LARGE])
def test_nested_arrays(way: Way, side: int) -> None:
    """Arrays inside dicts, tuples and dataclasses follow the same rules."""
    source = np.arange(side * side, dtype="f8")

    def work(value: dict[str, Any]) -> Any:
        value["list"][0] += 1
        return {"frame": items.Frame("x", value["list"][0]), "views": (value["list"][0][::2], value["list"][1])}

    item = {"list": [source, source[: side // 2]]}
    result = next(way.map(way.fn(work), [item]))
    assert _same(result["frame"].pixels, source + 1)
    assert _same(result["views"][0], (source + 1)[::2])
    assert source[0] == 0
    for array in (result["frame"].pixels, *result["views"]):
        assert array.flags.writeable
        assert array.flags.owndata


@in_children
def test_many_large_arrays(way: Way) -> None:
    """Far more arrays than fit any window pass through, each the right one."""
    count = 0
    source = (np.full((300, 300), x, dtype="i8") for x in range(60))
    for x, array in enumerate(way.map(way.fn(items.double), source)):
        assert array[0, 0] == array[-1, -1] == 2 * x
        count += 1
    assert count == 60


@in_children
def test_buffers_beside_arrays(way: Way) -> None:
    """bytes and bytearray of many sizes come back equal and of their own type."""
    values: list[Any] = [bytes(n) for n in (0, 1, 65_535, 65_536, 3_000_000)]
    values += [bytearray(n) for n in (0, 1, 65_535, 65_536, 3_000_000)]
    for value, result in zip(values, way.map(way.fn(items.same), values), strict=True):
        assert type(result) is type(value)
        assert result == value


@in_children
def test_nothing_left_after_a_crash(way: Way) -> None:
    """A worker that dies with arrays in both directions leaves nothing in shared memory, and nobody loses a result."""

    def die_at_4(x: int, array: Any) -> Any:
        if x == 4:
            os._exit(9)
        return array + x

    sources = [np.zeros((LARGE, LARGE)) for _ in range(10)]
    outcomes = list(way.run(way.fn(die_at_4), range(10), sources, ordered=True))
    lost = [o.index for o in outcomes if not o.ok]
    assert lost == [4]
    assert type(outcomes[4].error) is poolwise.TaskLost
    assert all(float(o.value[0, 0]) == o.index for o in outcomes if o.ok)


@in_children
def test_nothing_left_after_dropping(way: Way) -> None:
    """Nor does an iterator that is dropped with arrays queued both ways."""
    results = way.map(way.fn(items.double), (np.zeros((LARGE, LARGE)) for _ in range(100)))
    assert next(results).shape == (LARGE, LARGE)
    del results
