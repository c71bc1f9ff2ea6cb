"""What turns the engine: the iterators that `map` and `run` return, and the supervisor thread behind them.

    consumer's thread:  pull from the input ─> engine.offer        take settled parts <─ queue <─┐
    supervisor thread:  engine.step, for ever ──────────────────────────────────────────────────┘
                        (with shape 1x1 there is none: the consumer's thread steps the engine itself)

The input is advanced in the consumer's thread only. Reordering happens there too, so every settled part wakes a
consumer that waits, and lets it pull more.
"""

from __future__ import annotations

import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, islice
from operator import length_hint
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from poolwise._core.model import Outcome, Settled, exception_to_raise
from poolwise._policy.order import runs
from poolwise._policy.outcomes import key_of, outcomes
from poolwise._policy.plan import Plan
from poolwise._supervisor import NUDGE, STEP_SECONDS, Nudge, Supervisor

if TYPE_CHECKING:
    from poolwise._core.story import Story
    from poolwise._engine import Engine
    from poolwise._pipeline import Pipeline
    from poolwise._policy.profile import Profile
    from poolwise._recorder import Recorder
    from poolwise._runtime.progress import Progress, Snapshot
    from poolwise.report.summary import Report

R = TypeVar("R")
_Self = TypeVar("_Self", bound="_Iteration[Any]")

_PULL_QUICK_SECONDS = 0.0005
_MOST_PULLED_BLINDLY = 128
_JOIN_SECONDS = 5.0
_KEPT_SLICES, _KEPT_SAMPLES, _KEPT_MARKS = 2_000, 500, 300  # Of the story, in a journal.


class Feed(Protocol):
    """An input that says whether its next item is there, so that outcomes are delivered while it has none.

    What has `call_when_ready` is one. Lines of a pipe are: what was done must not wait for the line after it.
    """

    def ready(self) -> bool:
        """Say whether `next` would return, or end, without waiting."""

    def call_when_ready(self, wake: Callable[[], object]) -> None:
        """Have a function called, from any thread, whenever `ready` may have become true."""


class Stream:
    """One run: input, engine, supervisor, and the way back.

    Args:
        engine: not yet started.
        source: the input.
        ordered: hand parts over in input order.
        key: the user's key function, or None.
        recorder: keeps outcomes in a journal, or None.
        placed: the input gives pairs, (place in the input, item), in an order of its own.
        at_once: the input never keeps anybody waiting, as it is in memory.
    """

    def __init__(
        self,
        engine: Engine | Pipeline,
        source: Iterator[Any],
        *,
        ordered: bool,
        key: Callable[[Any], Any] | None = None,
        recorder: Recorder | None = None,
        placed: bool = False,
        at_once: bool = False,
    ) -> None:
        self.engine = engine
        self.key = key
        self.handed = 0  # Items in parts that the consumer got.
        self._source = source
        self._feed = cast("Feed", source) if hasattr(source, "call_when_ready") else None
        self._dry = False  # The feed had nothing more at hand when last asked.
        self._ordered = ordered
        self._placed = placed
        self._at_once = at_once
        self._recorder = recorder
        self._progress: Progress | None = None
        self._ready: SimpleQueue[Settled | BaseException | Nudge] = SimpleQueue()
        self._held: dict[int, Settled] = {}
        self._in_held = 0  # Items.
        self._next_index = 0
        self._pulled_blindly = 1  # Items of the input between two looks at the clock.
        self._exhausted = False
        self._draining = False
        self._warned = False
        self._input_error: Exception | None = None
        self._failure: BaseException | None = None
        self._supervisor: Supervisor | None = None
        self._started = self._is_open = self._closed = False
        self._close_lock = threading.Lock()
        self.seconds: float | None = None
        self._last_plan: Plan | None = None
        if self._feed is not None:
            self._feed.call_when_ready(self._rouse)

    def show(self, progress: Progress) -> None:
        """Have the run shown while it lasts."""
        self._progress = progress

    # -- from any thread

    def drain(self) -> None:
        """Take no more from the input; finish what was taken, or, of a job with groups, what lanes hold."""
        self._draining = True
        self.engine.drain(ordered=self._ordered)
        self._ready.put(NUDGE)

    def cancel(self) -> None:
        """Settle nothing more."""
        self.engine.cancel()
        self._ready.put(NUDGE)
        if self._is_open and not self.engine.inline:  # Otherwise the consumer's thread may be executing an item.
            self.close()

    def _rouse(self) -> None:
        """There may be input again: wake the consumer, wherever it waits."""
        self._ready.put(NUDGE)
        if self.engine.inline:
            self.engine.wake()

    def snapshot(self) -> Snapshot:
        """Return how far the run is, for the progress display."""
        from poolwise._runtime.progress import Snapshot

        engine = self.engine
        return Snapshot(engine.settled, engine.failed, engine.total, str(engine.shape), self.elapsed())

    @property
    def plan(self) -> Plan:
        """The plan as it stands; as it was at the end, once the run is over."""
        return self._last_plan or self.engine.plan

    def elapsed(self) -> float:
        """Return seconds since work started, 0 where it has not."""
        if self.seconds is not None:
            return self.seconds
        return self.engine.clock.now() - self.engine.started if self._started else 0.0

    def report(self) -> Report:
        """Return what was done so far."""
        from poolwise.report.live import report_of

        return report_of(self.engine, self.plan, self.elapsed(), self.story)

    def story(self) -> Story:
        """Return what happened so far, and why."""
        from poolwise.report.live import story_of

        return story_of(self.engine, self.report())

    # -- from the consumer's thread

    def start(self, *, feed: bool = False) -> None:
        """Open the backend; work may begin.

        Args:
            feed: take the first items, so that it does begin.
        """
        if self._started or self._closed:
            return
        self._started = True
        try:
            self.engine.start()
            self._is_open = True
            if self._progress is not None:
                self._progress.start()
            if feed and not self.engine.inline:
                self._pull(left=0, waiting=False)
                self._supervise()
        except BaseException:
            self.close()
            raise

    def next_part(self, left: int) -> Settled | None:
        """Return the next settled tasks, or None at the end.

        Args:
            left: items handed over earlier that the consumer has not yielded yet.

        Raises:
            Exception: of the input, after everything that was taken before it.
            BackendError: where the workers as a whole failed.
        """
        if self._closed:
            return None
        self.start()
        while True:
            if self.engine.cancelled:
                return None
            if self._draining and not self._exhausted:
                self._end_input()
            if self.engine.abandoned and not self._warned:
                self._warned = True
                self._warn_of_abandoned_threads()
            part = self._deliverable()
            if part is not None:
                self.handed += len(part.indexes)
                self.engine.timeline.hand(part, self.key)
                # The input is quick: keep the lanes fed while the consumer is away.
                if self._pulled_blindly > 1 and not self.engine.inline:
                    self._pull(left=left + len(part.indexes), waiting=False)
                return part
            if self.engine.finished and self._arrived >= self.engine.taken:  # What is settled may still be on its way.
                self._raise_what_ended_it()
                self.close()  # Whether everything could be recorded is to be heard now.
                return None
            more = self._pull(left=left, waiting=True)
            if self.engine.inline:
                self._outlast_supervisor()
                self._step_here(wait=not more)
            else:
                self._supervise()
                if not more:
                    self._await_part()

    @property
    def _arrived(self) -> int:
        """Items that the consumer got, or gets in its turn, unless those before were never taken."""
        return self.handed + self._in_held

    def _warn_of_abandoned_threads(self) -> None:
        warnings.warn(
            "an item ran longer than its timeout in a thread, which cannot be ended: it goes on unheard, and another "
            "thread has taken its place; child processes (shape='2x1') are killed instead",
            RuntimeWarning,
            stacklevel=4,
        )

    def _deliverable(self) -> Settled | None:
        while True:
            if self._ordered:
                part = self._held.pop(self._next_index, None)
                if part is not None:
                    self._next_index += len(part.indexes)
                    self._in_held -= len(part.indexes)
                    return part
            try:
                arrived = self._ready.get_nowait()
            except Empty:
                if self._failure is not None:
                    raise self._failure from self._failure.__cause__
                return None
            part = self._arrange(arrived)
            if part is not None:
                return part

    def _arrange(self, arrived: Settled | BaseException | Nudge) -> Settled | None:
        """Hand a part through, or keep it until its turn."""
        if isinstance(arrived, Settled):
            if not self._ordered:
                return arrived
            self._held[arrived.indexes[0]] = arrived
            self._in_held += len(arrived.indexes)
        elif isinstance(arrived, BaseException):
            self._failure = arrived
        return None

    def _await_part(self) -> None:
        try:
            part = self._arrange(self._ready.get(timeout=1.0))  # Bounded, as Windows cannot interrupt a wait.
        except Empty:
            return
        if part is not None:  # Unordered: it would have been returned; put it where the loop finds it.
            self._ready.put(part)

    def _raise_what_ended_it(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._input_error is not None:
            raise self._input_error

    # -- input

    def _pull(self, *, left: int, waiting: bool) -> bool:
        """Take items while there is room and it is quick; returns whether there is room for more."""
        engine = self.engine
        while not (self._exhausted or self._draining):
            room = engine.room(engine.taken - self.handed + left, waiting=waiting)
            if room == 0 or engine.finished:
                return False
            if self._feed is not None and not self._feed.ready():
                return False
            quick = self._take(room if engine.taken else 1)  # How large items are is known once there is one.
            if not quick or (engine.inline and not self._at_once):  # A generator may keep what it gave waiting.
                return True
            if not engine.inline:
                self._supervise()  # The next item may keep us waiting.
        return False

    def _take(self, number: int) -> bool:
        """Advance the input by up to that many items; returns whether that was quick."""
        taken, seconds = 0, 0.0
        self._dry = False
        source = self._source if self._feed is None else self._at_hand(self._feed)
        while taken < number and seconds < _PULL_QUICK_SECONDS and not (self._exhausted or self._dry or self._draining):
            items: list[Any] = []
            wanted = min(self._pulled_blindly, number - taken)
            started = time.perf_counter()
            try:
                items.extend(islice(source, wanted))  # Keeps what came before an error.
                self._exhausted = len(items) < wanted and not self._dry
            except Exception as error:
                self._input_error = error
                self._exhausted = True
            seconds += time.perf_counter() - started
            taken += len(items)
            if self._placed:
                for first, consecutive in runs(items):
                    self._offer(consecutive, first)
            elif items:  # They are worked at while those after the next look at the clock keep us waiting.
                self._offer(items, self.engine.taken)
            self._pulled_blindly = min(_MOST_PULLED_BLINDLY, 2 * self._pulled_blindly)
        if self._exhausted:
            self._end_input()
            return True
        if seconds < _PULL_QUICK_SECONDS:
            return True
        blindly = int(taken * _PULL_QUICK_SECONDS / seconds)
        self._pulled_blindly = max(1, min(blindly, _MOST_PULLED_BLINDLY))
        return False

    def _offer(self, items: list[Any], first: int) -> None:
        """Give items, consecutive from place `first` on, to the engine; what the journal knows needs no execution."""
        engine, recorder = self.engine, self._recorder
        if recorder is None:
            engine.offer(items, first)
            return
        try:
            engine.offer_shares(recorder.sift(items, first), first)
        except Exception as error:  # An item that has no key: the input is over, as far as it can be used.
            self._input_error = self._input_error or error
            self._exhausted = True

    def _at_hand(self, feed: Feed) -> Iterator[Any]:
        """Give what can be had without waiting."""
        for item in self._source:
            yield item
            if not feed.ready():
                self._dry = True
                return

    def _end_input(self) -> None:
        self._exhausted = True
        self.engine.end_input()

    # -- stepping

    def _step_here(self, *, wait: bool) -> None:
        """Step the engine in the consumer's thread (shape 1x1)."""
        for part in self.engine.step(STEP_SECONDS if wait else 0.0):
            self._ready.put(part)

    def _outlast_supervisor(self) -> None:
        """Work has moved into this thread: wait until the supervisor, which moved it, is out of its last step."""
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.outlast()
            self._supervisor = None

    def _supervise(self) -> None:
        before = self._supervisor
        if before is None or (before.over.is_set() and not before.failed):
            self._supervisor = Supervisor(self.engine, self._ready.put)
            self._supervisor.start()

    # -- the end

    def close(self) -> None:
        """End the run, whatever state it is in. Idempotent."""
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        self.seconds = self.elapsed()
        self._last_plan = self.engine.plan
        complete = self.engine.finished and not self.engine.cancelled and self._failure is None
        self.engine.cancel()
        if self._supervisor is not None:
            self._supervisor.outlast(_JOIN_SECONDS)
        self.engine.close(drain=complete)
        if self._progress is not None:
            self._progress.stop()
        recorders = [self._recorder, *(stage.recorder for stage in self.engine.stages)]
        if any(recorders):
            self._close_journals(recorders, complete=complete and not self.engine.dropped)

    def _close_journals(self, recorders: Sequence[Recorder | None], *, complete: bool) -> None:
        """Keep what was decided and done: the journal of the whole, then that of each stage."""
        with ExitStack() as journals:  # All are closed, whatever one of them raises, or telling of them does.
            for recorder in recorders:
                if recorder is not None:
                    journals.callback(recorder.close, complete=complete)
            from poolwise.report.live import story_of

            report = self.report()
            story = story_of(self.engine, report)
            for recorder, about, tale in zip(recorders, (report, *report.stages), (story, *story.stages)):
                if recorder is not None:
                    recorder.facts = _facts(about, tale)


def _facts(report: Report, story: Story) -> dict[str, Any]:
    """Return what a journal keeps of a run, beside its outcomes."""
    from poolwise._policy.profile import plan_to_dict

    facts = {
        "plan": plan_to_dict(report.plan),
        "explanation": story.explanation,
        "done": report.done,
        "failed": report.failed,
        "recorded": report.recorded,
        "retried": report.retried,
        "workers_lost": report.workers_lost,
        "seconds": report.seconds,
        "busy_seconds": report.busy_seconds,
        "cpu_seconds": report.cpu_seconds,
        "failures": dict(report.failures),
    }
    if report.done + report.failed > report.recorded:  # Nothing else is worth a page.
        facts["story"] = story.abridged(_KEPT_SLICES, _KEPT_SAMPLES, _KEPT_MARKS).to_dict()
    return facts


class _Chunks:
    """Lists of what the consumer gets, made of settled parts. It never refers to the iterator that the user holds."""

    def __init__(self, stream: Stream, fill: Callable[[Settled], list[Any]]) -> None:
        self.stream = stream
        self.fill = fill
        self.chunk: list[Any] = []
        self.rest: Iterator[Any] = iter(())

    def produce(self) -> Iterator[Iterator[Any]]:
        """Yield one list iterator after the other, until the end."""
        stream = self.stream
        try:
            while (part := stream.next_part(length_hint(self.rest))) is not None:
                self.chunk = self.fill(part)
                self.rest = iter(self.chunk)
                del part
                yield self.rest
        except GeneratorExit:  # The user's iterator was dropped; its finalizer closes the stream.
            raise
        except BaseException:
            stream.cancel()
            raise
        finally:
            stream.close()


class _Iteration(chain[R]):
    """What `map` and `run` return have in common: an iterator and context manager over a Stream.

    It is an `itertools.chain` of chunks, so that C code hands out the single values (15 ns each).
    """

    _stream: Stream
    _chunks: _Chunks
    _finalizer: Callable[[], object]

    @classmethod
    def over(cls: type[_Self], stream: Stream) -> _Self:
        """Make the iterator of a stream that has not been started."""
        chunks = _Chunks(stream, partial(cls._fill, stream.key, stream.engine.clock.epoch))
        self = cast("_Self", cls.from_iterable(chunks.produce()))
        self._stream = stream
        self._chunks = chunks
        self._finalizer = weakref.finalize(self, stream.close)
        return self

    @staticmethod
    def _fill(key: Callable[[Any], Any] | None, epoch: float, part: Settled) -> list[Any]:
        raise NotImplementedError

    @property
    def plan(self) -> Plan:
        """The shape and the reasons, as they stand; there before iteration, too."""
        return self._stream.plan

    def __enter__(self: _Self) -> _Self:
        self._stream.start(feed=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def drain(self) -> None:
        """Take no more from the input and finish what was taken; then iteration stops. From any thread.

        A job with groups (fetch) reads far ahead; of it only what is being executed is finished. What was only read, or
        waits to be tried again, is dropped: it has no outcome, and is not recorded, so a next run with the same journal
        executes it. With `ordered=True` what comes before the last item that was started is finished too.
        """
        self._stream.drain()

    def cancel(self) -> None:
        """End what runs (threads of this process finish their item unheard); iteration stops. From any thread."""
        self._stream.cancel()
        self._chunks.chunk.clear()

    def close(self) -> None:
        """Let go of workers; what was not yielded is dropped. Called by itself at the end, by `with`, and by `del`."""
        self._finalizer()

    def report(self) -> Report:
        """Say what the run has done so far."""
        return self._stream.report()


class Results(_Iteration[R]):
    """What `map` returns: an iterator of values, and a context manager. Work starts at the first `next` or `with`."""

    @staticmethod
    def _fill(key: Callable[[Any], Any] | None, epoch: float, part: Settled) -> list[Any]:  # noqa: ARG004
        for position, error in part.errors.items():
            if part.keys is None and part.recorded is None:
                error.key = key_of(part.items[position], part.indexes[position], key)
            raise exception_to_raise(error)
        return part.values


class Run(_Iteration[Outcome[R]], Generic[R]):
    """What `run` returns: an iterator of Outcomes, and a context manager. Work starts at the first `next` or `with`."""

    @staticmethod
    def _fill(key: Callable[[Any], Any] | None, epoch: float, part: Settled) -> list[Any]:
        return outcomes(part, key, epoch)


def profile_of(run: Run[Any], seconds: float) -> Profile:
    """Take outcomes for about `seconds` (up to twice that while shapes are being compared), and return the profile."""
    from poolwise._policy.profile import Profile

    begun = time.perf_counter()
    with run:
        for _ in run:
            elapsed = time.perf_counter() - begun
            if elapsed > 2 * seconds or (elapsed > seconds and not run._stream.engine.deciding):
                run.drain()
    report = run.report()
    items = report.done + report.failed
    return Profile(run.plan, items, report.failed, report.seconds, report.failures, report.probe_seconds)
