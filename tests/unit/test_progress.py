"""Progress on streams made up here: what is shown, how rarely, and that nothing it meets reaches the run."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import poolwise
from poolwise._runtime import progress
from poolwise._runtime.progress import Progress, Snapshot

PATIENCE_SECONDS = 30.0


class Stream(io.StringIO):
    """Text that was written, as a terminal or not; `wait_for` waits until it holds something.

    Writing raises `error` where there is one.
    """

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal
        self.changed = threading.Condition()
        self.error: BaseException | None = None
        self.failed = threading.Event()

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        with self.changed:
            self.changed.notify_all()
            if self.error is not None:
                self.failed.set()
                raise self.error
            return super().write(text)

    def wait_for(self, text: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: text in self.getvalue(), PATIENCE_SECONDS), self.getvalue()

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


class Terminal(Stream):
    """A stream that says it is a terminal."""

    def __init__(self) -> None:
        super().__init__(terminal=True)


def at(done: int, *, seconds: float = 0.0, total: int | None = None, failed: int = 0, shape: str = "2x4") -> Snapshot:
    return Snapshot(done, failed, total, shape, seconds)


def lines_for(snapshots: list[Snapshot]) -> list[str]:
    """Draw these as plain lines and return what was written."""
    stream = Stream()
    display = progress._Lines("job", stream)
    for now in snapshots:
        display.draw(now, 2.0)
    return stream.lines


@pytest.fixture(autouse=True)
def _quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tick at once: tests wait for what is written, not for time."""
    monkeypatch.setattr(progress._Lines, "tick_seconds", 0.001)
    monkeypatch.setattr(progress._Bar, "tick_seconds", 0.001)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)


# --- plain lines


def test_a_line_says_everything() -> None:
    """Done of total, share, rate, time left, failures, shape."""
    (line,) = lines_for([at(1200, total=10_000, failed=3, seconds=600)])
    assert line == "job: 1,200/10,000 (12 %), 2.0/s, 1:13:20 left, 3 failed, shape 2x4"


def test_a_line_without_total() -> None:
    """Without a total there is neither a share nor a time left."""
    (line,) = lines_for([at(1200, seconds=600)])
    assert line == "job: 1,200, 2.0/s, 0 failed, shape 2x4"


def test_lines_without_total_come_every_five_seconds() -> None:
    """The first at once, then one in 5 s of the run's own clock."""
    lines = lines_for([at(number, seconds=number) for number in range(1, 17)])
    assert [line.split(",")[0] for line in lines] == ["job: 1", "job: 6", "job: 11", "job: 16"]


def test_a_fast_run_has_a_line_in_five_seconds() -> None:
    """Where 10 % take less than 5 s, the 5 s count."""
    lines = lines_for([at(number * 10, total=200, seconds=number) for number in range(1, 21)])
    assert [line.split(",")[0] for line in lines] == [
        "job: 10/200 (5 %)",
        "job: 60/200 (30 %)",
        "job: 110/200 (55 %)",
        "job: 160/200 (80 %)",
    ]


def test_a_slow_run_has_a_line_in_ten_percent() -> None:
    """Where 10 % take more than 5 s, they count."""
    lines = lines_for([at(number, total=100, seconds=number * 60) for number in range(1, 40)])
    assert [line.split(",")[0] for line in lines] == [f"job: {done}/100 ({done} %)" for done in (1, 10, 20, 30)]


@pytest.mark.parametrize("now", [at(0, total=0), at(7, total=0), at(7, total=5), at(0, total=10, seconds=0.0)])
def test_odd_numbers_are_written(now: Snapshot) -> None:
    """Nothing to do, more done than announced, no time passed: all of them make a line and a last line."""
    stream = Stream()
    display = progress._Lines("job", stream)
    display.draw(now, 0.0)
    display.finish(now)
    assert len(stream.lines) == 2


def test_the_last_line() -> None:
    """Total, seconds, rate of the whole run, failures."""
    stream = Stream()
    run = Progress(lambda: at(300, total=400, failed=2, seconds=41.5), label="two\nwords", stream=stream)
    run.start()
    run.stop()
    assert stream.lines[-1] == "two words: 300 of 400 done in 41.5 s, 7.2/s, 2 failed, shape 2x4"


def test_a_stream_without_the_letters() -> None:
    """What the stream cannot encode is escaped."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    run = Progress(lambda: at(1), label="größe", stream=stream)
    run.start()
    run.stop()
    assert rb"gr\xf6\xdfe: 1 done in" in raw.getvalue()


# --- rates and durations


def test_the_rate_is_that_of_the_recent_past() -> None:
    """What was long ago does not count: a run that slowed down to 1/s says 1/s."""
    run = Progress(lambda: at(0), label="job", stream=Stream())
    for second in range(1, 11):
        run._per_second(at(second * 1000, seconds=second))
    rates = [run._per_second(at(10_000 + second, seconds=10 + second)) for second in range(1, 61)]
    assert rates[0] > 500
    assert rates[-1] == 1.0


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0.0, "0/s"), (0.051, "0.051/s"), (1.25, "1.2/s"), (99.9, "99.9/s"), (12_345.6, "12,346/s")],
)
def test_rates(per_second: float, text: str) -> None:
    """Three digits or so, whatever the size."""
    assert progress._rate(per_second) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3.0, "0:00"), (0.2, "0:01"), (59.9, "1:00"), (61.0, "1:01"), (3600.0, "1:00:00"), (float("inf"), "2400:00:00")],
)
def test_durations(seconds: float, text: str) -> None:
    """Rounded up, never negative, never without end."""
    assert progress._clock(seconds) == text


# --- the bar


def test_a_bar_on_a_terminal() -> None:
    """The bar shows done/total, rate, time left, failures and shape, and its last state stays."""
    stream = Terminal()
    now = [at(12, total=40, failed=1, seconds=6.0)]
    run = Progress(lambda: now[0], label="job [bold]x", stream=stream)
    run.start()
    stream.wait_for("12/40  2.0/s  0:14 left  1 failed  shape 2x4")
    now[0] = at(40, total=40, failed=3, seconds=20.0)
    run.stop()
    last = stream.lines[-2]  # behind it only the cursor comes back
    assert "40/40  0:20  2.0/s  3 failed  shape 2x4" in last
    assert "job [bold]x" in last
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


def test_a_bar_without_total() -> None:
    """Without a total the bar tells done alone."""
    stream = Terminal()
    run = Progress(lambda: at(12, seconds=6.0), label="job", stream=stream)
    run.start()
    stream.wait_for(" 12  2.0/s  0 failed")
    run.stop()
    assert " 12  0:06  2.0/s" in stream.lines[-2]


@pytest.mark.parametrize(("value", "coloured"), [("1", False), ("", True)])
def test_no_color(monkeypatch: pytest.MonkeyPatch, value: str, coloured: bool) -> None:
    """NO_COLOR with any text in it takes the colours away."""
    monkeypatch.setenv("NO_COLOR", value)
    stream = Terminal()
    run = Progress(lambda: at(12, total=40), label="job", stream=stream)
    run.start()
    stream.wait_for("12/40")
    run.stop()
    assert ("\x1b[3" in stream.getvalue() or "\x1b[9" in stream.getvalue()) is coloured


def test_the_bar_leaves_standard_output_alone() -> None:
    """What the program prints stays on stdout while the bar is shown."""
    stdout, stderr = sys.stdout, sys.stderr
    stream = Terminal()
    run = Progress(lambda: at(12, total=40), label="job", stream=stream)
    run.start()
    stream.wait_for("12/40")
    assert sys.stdout is stdout
    assert sys.stderr is stderr
    run.stop()


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_has_lines(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    """A terminal that cannot move its cursor gets plain lines."""
    monkeypatch.setenv("TERM", term)
    stream = Terminal()
    run = Progress(lambda: at(12, total=40), label="job", stream=stream)
    run.start()
    stream.wait_for("job: 12/40 (30 %)")
    run.stop()
    assert "\x1b" not in stream.getvalue()


def test_without_rich_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rich cannot be imported a terminal gets plain lines."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    stream = Terminal()
    run = Progress(lambda: at(12, total=40), label="job", stream=stream)
    run.start()
    stream.wait_for("job: 12/40 (30 %)")
    run.stop()


# --- nothing reaches the run


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(errno.ENOSPC, "full"), ValueError("closed"), RuntimeError("odd")]
)
def test_a_stream_that_fails(error: BaseException, terminal: bool) -> None:
    """A stream that cannot be written to is given up, and its thread ends."""
    stream = Stream(terminal=terminal)
    stream.error = error
    run = Progress(lambda: at(1), label="job", stream=stream)
    run.start()
    assert stream.failed.wait(PATIENCE_SECONDS)
    assert run._thread is not None
    run._thread.join(PATIENCE_SECONDS)
    assert not run._thread.is_alive()
    run.stop()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_pipe_that_breaks_before_the_end(terminal: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """stop() survives a broken pipe in the caller's thread, and stdout stays where it was (rich would exit)."""
    stream = Stream(terminal=terminal)
    run = Progress(lambda: at(1), label="job", stream=stream)
    run.start()
    stream.wait_for("job")
    stream.error = BrokenPipeError()
    run.stop()
    os.write(1, b"still here")
    assert capfd.readouterr().out == "still here"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_stream_closed_before_and_while(terminal: bool) -> None:
    """A closed stderr is survived, whenever it is closed."""
    closed = Stream(terminal=terminal)
    closed.close()
    before = Progress(lambda: at(1), label="job", stream=closed)
    before.start()
    before.stop()
    stream = Stream(terminal=terminal)
    meanwhile = Progress(lambda: at(1), label="job", stream=stream)
    meanwhile.start()
    stream.wait_for("job")
    stream.close()
    meanwhile.stop()


def test_no_stderr_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """pythonw has None for stderr."""
    monkeypatch.setattr(sys, "stderr", None)
    run = Progress(lambda: at(1), label="job")
    run.start()
    run.stop()


def test_stderr_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stream it is the sys.stderr of the time of start."""
    run = Progress(lambda: at(1), label="job")
    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    run.start()
    run.stop()
    assert "job: 1 done" in stream.getvalue()


def test_a_snapshot_that_fails() -> None:
    """A snapshot that raises is left out; the last good one is the final state."""
    stream = Stream()
    calls: list[int] = []
    failed = threading.Event()

    def snapshot() -> Snapshot:
        calls.append(1)
        if len(calls) > 1:
            failed.set()
            raise RuntimeError("torn down")
        return at(5, total=9)

    run = Progress(snapshot, label="job", stream=stream)
    run.start()
    assert failed.wait(PATIENCE_SECONDS)
    run.stop()
    assert stream.lines[-1].startswith("job: 5 of 9 done")


def test_a_terminal_that_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that does not come back (Ctrl-S) does not hold up stop()."""
    monkeypatch.setattr(progress, "GIVE_UP_SECONDS", 0.01)
    inside, go_on = threading.Event(), threading.Event()

    class Blocked(Stream):
        def write(self, text: str) -> int:
            inside.set()
            go_on.wait(PATIENCE_SECONDS)
            return len(text)

    run = Progress(lambda: at(1), label="job", stream=Blocked())
    run.start()
    assert inside.wait(PATIENCE_SECONDS)
    run.stop()
    assert run._thread is not None
    assert run._thread.is_alive()
    go_on.set()
    run._thread.join(PATIENCE_SECONDS)
    assert not run._thread.is_alive()


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be started the last line still comes."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stream = Stream()
    run = Progress(lambda: at(1), label="job", stream=stream)
    run.start()
    run.stop()
    assert len(stream.lines) == 1


# --- start and stop


def test_stop_is_idempotent() -> None:
    """The final state is printed once; nothing is written after it."""
    stream = Stream()
    run = Progress(lambda: at(1), label="job", stream=stream)
    run.start()
    run.start()
    run.stop()
    written = stream.getvalue()
    run.stop()
    run.start()
    run.stop()
    assert stream.getvalue() == written
    assert written.count(" done in ") == 1
    assert run._thread is not None
    assert not run._thread.is_alive()


def test_stop_without_start() -> None:
    """What was never started has nothing to say."""
    stream = Stream()
    Progress(lambda: at(1), label="job", stream=stream).stop()
    assert stream.getvalue() == ""


@pytest.mark.parametrize("make_stream", [Stream, Terminal])
def test_stop_from_other_threads(make_stream: Callable[[], Stream]) -> None:
    """Stopped from eight threads at once, it stops once."""
    stream = make_stream()
    run = Progress(lambda: at(7, total=8), label="job", stream=stream)
    run.start()
    stream.wait_for("7/8")
    together = threading.Barrier(8)

    def stop() -> None:
        together.wait(PATIENCE_SECONDS)
        run.stop()

    threads = [threading.Thread(target=stop) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert run._thread is not None
    assert not run._thread.is_alive()
    if not stream.terminal:
        assert stream.getvalue().count(" done in ") == 1


def test_stop_from_its_own_thread() -> None:
    """A snapshot that stops the progress it serves does not deadlock."""
    stream = Stream()
    run: list[Progress] = []

    def snapshot() -> Snapshot:
        run[0].stop()
        return at(3)

    run.append(Progress(snapshot, label="job", stream=stream))
    run[0].start()
    stream.wait_for(" done in ")
    assert run[0]._thread is not None
    run[0]._thread.join(PATIENCE_SECONDS)
    assert stream.getvalue().count(" done in ") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork the progress is the parent's: stop() in the child does nothing."""
    stream = Stream()
    run = Progress(lambda: at(1), label="job", stream=stream)
    run.start()
    with monkeypatch.context() as in_child:
        in_child.setattr(os, "getpid", lambda: -1)
        run.stop()
    assert " done in " not in stream.getvalue()
    run.stop()
    assert stream.getvalue().count(" done in ") == 1


AT_EXIT = """
from poolwise._runtime.progress import Progress, Snapshot
progress = Progress(lambda: Snapshot(3, 0, 9, "1x1", 1.0), label="job")
progress.start()
"""
LATE = """
class Late:
    def __del__(self):
        progress.stop()
late = Late()
late.itself = late
"""
EARLIER_HOOK = """
import atexit
from poolwise._runtime.progress import Progress, Snapshot
progress = Progress(lambda: Snapshot(3, 0, 9, "1x1", 1.0), label="job")
atexit.register(progress.stop)
atexit.register(progress.start)
"""


@pytest.mark.parametrize("program", [AT_EXIT, AT_EXIT + LATE, AT_EXIT + "raise SystemExit(0)", EARLIER_HOOK])
def test_interpreter_exit(program: str) -> None:
    """A program that ends without stop() still gets its last line, once, and its exit code."""
    source = str(Path(poolwise.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": source},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 2,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    *earlier, last = ended.stderr.splitlines()  # a machine that is very slow has time for an earlier line
    assert last == "job: 3 of 9 done in 1.0 s, 3.0/s, 0 failed, shape 1x1"
    assert not any(" done in " in line for line in earlier)
