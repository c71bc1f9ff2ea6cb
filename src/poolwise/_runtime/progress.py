"""How a run tells a person how far it is: a bar on a terminal, a few plain lines elsewhere, always on stderr.

    Progress.start -> a daemon thread: every tick  snapshot() -> _Bar.draw | _Lines.draw
    Progress.stop  -> snapshot() -> finish: the final state

Progress never raises into the run and never holds it up: a display that cannot be written to is given up, a
snapshot that fails is left out, a terminal that blocks is left behind. What the numbers are is the caller's.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

BAR_TICK_SECONDS = 0.25  # drawing takes rich about 1 ms with the GIL held: not felt at four a second
LINE_TICK_SECONDS = 1.0
LINE_EVERY_SECONDS = 5.0
RATE_WINDOW_SECONDS = 30.0  # the rate shown is that of the recent past: the shape may have changed since the start
GIVE_UP_SECONDS = 0.5  # how long stop() waits for a thread that is stuck in a write or in snapshot()
_LONGEST_SECONDS = 8_640_000.0  # 100 days; nobody reads "time left" above that


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run is.

    Attributes:
        done: items that have their final outcome, the failed ones included.
        failed: how many of these failed.
        total: how many there will be, or None where that is not known.
        shape: the current shape, such as "4x8".
        seconds: since the run started.
        note: what else there is to say, or "".
    """

    done: int
    failed: int
    total: int | None
    shape: str
    seconds: float
    note: str = ""


class Progress:
    """Show a run's progress from `start` to `stop`.

    Args:
        snapshot: called from the progress thread, and from `stop` by its caller; it must not wait for anything.
        label: what runs, in a word or two.
        stream: where to write (default: `sys.stderr` at the time of `start`).
    """

    def __init__(self, snapshot: Callable[[], Snapshot], *, label: str, stream: TextIO | None = None) -> None:
        self._snapshot = snapshot
        self._label = " ".join(label.split())
        self._stream = stream
        self._display: _Display | None = None  # the drawing lock guards it, and every write
        self._drawing = threading.RLock()
        self._last = Snapshot(0, 0, None, "", 0.0)
        self._recent: deque[tuple[float, int]] = deque()
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._stopping = threading.Event()
        self._stopped = threading.Lock()  # taken once, never released: by the one stop() that does the work

    def start(self) -> None:
        """Begin to show progress. A second call does nothing."""
        if self._thread is not None:
            return
        self._pid = os.getpid()
        self._stream = self._stream if self._stream is not None else sys.stderr
        # Until the first drawing, and for a run that ends before it. The bar comes with the thread: importing rich
        # would delay the first item.
        self._display = _Lines(self._label, self._stream) if self._stream is not None else None
        self._thread = threading.Thread(target=self._run, name="poolwise-progress", daemon=True)
        # Before the interpreter freezes daemon threads: this one may hold the lock of stderr then, or have hidden the
        # terminal's cursor.
        atexit.register(self.stop)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending: a run without progress is a run
            pass

    def stop(self) -> None:
        """Show the final state and end. From any thread, at any time, as often as wanted; takes 1 s at most."""
        # After a fork the thread, and the terminal, are the parent's.
        if self._thread is None or os.getpid() != self._pid or not self._stopped.acquire(blocking=False):
            return
        self._stopping.set()
        atexit.unregister(self.stop)
        now = self._look()
        if self._drawing.acquire(timeout=GIVE_UP_SECONDS):
            try:
                if self._display is not None:
                    self._display.finish(now)
            except Exception:  # as in _tick
                pass
            finally:
                self._display = None
                self._drawing.release()
        try:
            self._thread.join(GIVE_UP_SECONDS)
        except RuntimeError:  # it never started, or is the caller, or the interpreter is ending
            pass

    def _run(self) -> None:
        if self._stream is not None and _is_terminal(self._stream):
            try:
                bar = _Bar(self._label, self._stream)
            except Exception:  # rich cannot be imported, or cannot cope with this terminal: lines always work
                pass
            else:
                with self._drawing:
                    if not self._stopping.is_set():
                        self._display = bar
        display = self._display
        while display is not None and not self._stopping.wait(display.tick_seconds):
            self._tick()
            display = self._display

    def _tick(self) -> None:
        now = self._look()
        with self._drawing:
            display = self._display
            if display is None or self._stopping.is_set():
                return
            try:
                display.draw(now, self._per_second(now))
            except Exception:  # stderr is closed, a broken pipe, a full disk: the run goes on without
                self._display = None
                display.close()

    def _look(self) -> Snapshot:
        try:
            self._last = self._snapshot()
        except Exception:  # the run may be half torn down; what was last seen has to do
            pass
        return self._last

    def _per_second(self, now: Snapshot) -> float:
        while self._recent and self._recent[0][0] < now.seconds - RATE_WINDOW_SECONDS:
            self._recent.popleft()
        seconds, done = self._recent[0] if self._recent else (0.0, 0)
        self._recent.append((now.seconds, now.done))
        return _quotient(now.done - done, now.seconds - seconds)


class _Display(Protocol):
    tick_seconds: float

    def draw(self, now: Snapshot, per_second: float) -> None: ...

    def finish(self, now: Snapshot) -> None: ...

    def close(self) -> None: ...


class _Lines:
    """Whole lines, for logs and files: one after the first tick, then few, then a last one."""

    tick_seconds = LINE_TICK_SECONDS

    def __init__(self, label: str, stream: TextIO) -> None:
        self._label = label
        self._stream = stream
        self._next_seconds = 0.0
        self._next_step = 0

    def draw(self, now: Snapshot, per_second: float) -> None:
        step = now.done * 10 // now.total if now.total else self._next_step
        if now.seconds >= self._next_seconds and step >= self._next_step:
            self._next_seconds = now.seconds + LINE_EVERY_SECONDS
            self._next_step = step + 1 if now.total else 0
            self._write(f"{_count(now)}{_percent(now)}", *_details(now, per_second))

    def finish(self, now: Snapshot) -> None:
        of_total = "" if now.total is None else f" of {now.total:,}"
        self._write(f"{now.done:,}{of_total} done in {now.seconds:.1f} s", *_details(now))

    def close(self) -> None:
        pass

    def _write(self, *parts: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        line = f"{self._label}: {', '.join(parts)}\n"
        # One write, so that lines of several threads do not mix.
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()


class _Bar:
    """A bar in place, for terminals, drawn by rich."""

    tick_seconds = BAR_TICK_SECONDS

    def __init__(self, label: str, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        class QuietConsole(Console):
            def on_broken_pipe(self) -> None:
                raise  # the BrokenPipeError that is being handled; rich's own method closes stdout and exits

        # Left alone, rich would send what the function prints to stderr, and refresh from a thread of its own.
        self._rich = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[text]}", markup=False),
            console=QuietConsole(file=stream, force_terminal=True, no_color=bool(os.environ.get("NO_COLOR"))),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._rich.add_task(label, total=None, text="")

    def draw(self, now: Snapshot, per_second: float) -> None:
        self._show(now, now.total, [_count(now), *_details(now, per_second)])

    def finish(self, now: Snapshot) -> None:
        # Without a total the bar would stop in the middle of its swing: what was done is all there was.
        total = now.done if now.total is None else now.total
        self._show(now, total, [_count(now), _clock(now.seconds), *_details(now)])
        self._rich.stop()

    def close(self) -> None:
        try:
            self._rich.stop()  # shows the cursor again, if anything can be shown at all
        except Exception:
            pass

    def _show(self, now: Snapshot, total: int | None, parts: list[str]) -> None:
        self._rich.start()
        self._rich.update(self._task, completed=now.done, total=total, text="  ".join(parts))
        self._rich.refresh()


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    except Exception:  # closed (ValueError), or no stream at all
        return False


def _count(now: Snapshot) -> str:
    return f"{now.done:,}" if now.total is None else f"{now.done:,}/{now.total:,}"


def _percent(now: Snapshot) -> str:
    return f" ({now.done * 100 // now.total} %)" if now.total else ""


def _details(now: Snapshot, per_second: float | None = None) -> list[str]:
    """Name rate, time left, failures and shape; the rate of the whole run, and no time left, where none is given."""
    rate = _quotient(now.done, now.seconds) if per_second is None else per_second
    parts = [_rate(rate)]
    if per_second and now.total is not None:
        parts.append(f"{_clock((now.total - now.done) / per_second)} left")
    parts.append(f"{now.failed:,} failed")
    if now.shape:
        parts.append(f"shape {now.shape}")
    if now.note:
        parts.append(now.note)
    return parts


def _quotient(count: int, seconds: float) -> float:
    return max(0, count) / seconds if seconds > 0 else 0.0


def _rate(per_second: float) -> str:
    if per_second >= 100:
        return f"{per_second:,.0f}/s"
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{per_second:.2g}/s"


def _clock(seconds: float) -> str:
    """Write a duration as minutes:seconds or hours:minutes:seconds, rounded up: 0:00 is over."""
    minutes, rest = divmod(math.ceil(min(max(seconds, 0.0), _LONGEST_SECONDS)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
