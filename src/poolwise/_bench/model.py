"""Values of a comparison: what is compared, how each run went, and what came out. No effects."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from poolwise import Shape

PEERS: Mapping[str, str] = {
    "ThreadPoolExecutor": "concurrent.futures",
    "ProcessPoolExecutor": "concurrent.futures",
    "joblib": "joblib",
    "mpire": "mpire",
}
"""Other pools, and the module that each is in; those that are not Python's own come with the extra `peers`."""

WarningKind = Literal["noisy", "throttled", "short", "not repeatable", "failed items", "few blocks", "capped"]


@dataclass(frozen=True, slots=True)
class BenchWarning:
    """Something that makes the figures worth less than they look.

    Attributes:
        kind: what it is about, in a word or two.
        cause: what was seen, as a sentence without its full stop.
        remedy: what would help.
    """

    kind: WarningKind
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.cause}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Measured:
    """How a run went inside its process.

    Attributes:
        seconds: wall time from the call of the pool to the last result, the start of the pool included.
        digest: of all values, in input order.
        failed: items that failed.
        first_failure: the first of them with its error, or "".
        shape: what `auto` took in the end, or None.
    """

    seconds: float
    digest: str = ""
    failed: int = 0
    first_failure: str = ""
    shape: str | None = None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What else the machine did during a run.

    Attributes:
        others_cores: cores that other processes used on average; None where not known.
        throttled_seconds: for how long a CPU quota held processes of this control group back.
    """

    others_cores: float | None = None
    throttled_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one side in a process of its own.

    Attributes:
        block: its block, from 0.
        side: a shape, "auto", or the name of a peer.
        twin: it is one of the further runs of a side that is compared with itself.
        measured: how it went, or None where it gave no figure.
        broken: why it gave none, or "".
        disturbance: what else the machine did.
    """

    block: int
    side: str
    twin: bool = False
    measured: Measured | None = None
    broken: str = ""
    disturbance: Disturbance = Disturbance()


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose figures these are: only runs of the same identity are compared.

    Attributes:
        function: where it is defined.
        options: what else its values depend on, as text.
        code: digest of a lambda's code, or "".
        source: digest of the source, or "".
        items: digest of the items.
        given: number of items.
        python, machine: of whom the times are.
    """

    function: str
    options: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    source: str = ""
    items: str = ""
    given: int = 0
    python: str = ""
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a first look at the function told.

    Attributes:
        plan: its plan, as `Profile.to_dict` gives it.
        items: items that were executed for that.
        item_seconds: how long an item takes in one lane, in seconds.
    """

    plan: Mapping[str, Any]
    items: int
    item_seconds: float

    @property
    def shape(self) -> str:
        """The shape that it advises."""
        return str(self.plan["shape"])


@dataclass(frozen=True, slots=True)
class Design:
    """What is measured, and how.

    Attributes:
        identity: of function, items and machine.
        count: items in each run.
        sides: what is compared, in the order in which it is shown.
        missing: peers that cannot be measured here, and why.
        twin: the side that is compared with itself as well.
        seed: of the order of runs and of the bootstrap.
        limit_seconds: what a run may take.
        calibration: what the first look told.
        guarded: the function is called through a guard that turns exceptions into values, as some items fail.
        cores: usable ones.
        warnings: what was seen before the first block.
    """

    identity: Identity
    count: int
    sides: tuple[str, ...]
    missing: Mapping[str, str]
    twin: str
    seed: int
    limit_seconds: float
    calibration: Calibration
    guarded: bool = False
    cores: float = 1.0
    warnings: tuple[BenchWarning, ...] = ()

    @property
    def baseline(self) -> str:
        """What the others are compared with: one lane where that is among the sides."""
        return "1x1" if "1x1" in self.sides else self.sides[0]


@dataclass(frozen=True, slots=True)
class Interval:
    """A ratio and the interval that it is in, at about 95 %; below five blocks their range.

    Attributes:
        value: the estimate.
        low, high: the ends of the interval; None where there is a single block.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What came out for one side.

    Attributes:
        side: a shape, "auto", or the name of a peer.
        seconds: the median of its runs; None where it has none.
        runs: how many count.
        speedup: over the baseline; None for the baseline itself, and where there is no complete block.
        of_best: time over that of the fastest side ("regret" where the side is `auto`).
        fastest: it is the fastest, or cannot be told from it.
        shape: what `auto` took, or None.
        note: why it has no figure, or "".
    """

    side: str
    seconds: float | None = None
    runs: int = 0
    speedup: Interval | None = None
    of_best: Interval | None = None
    fastest: bool = False
    shape: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Shapes and pools compared on a function's own items.

    Attributes:
        design: what was measured, and how.
        trials: every run, in the order in which they took place.
        blocks: complete blocks; every figure but the medians is over these.
        rows: one for each side.
        baseline: the side that speed-ups are over.
        winner: the fastest side, or None where nothing can be said.
        noise_floor: how far a side may differ from itself, as a share: 0.02 is 2 %. None below two blocks.
        warnings: what makes the figures worth less.
        verdict: one sentence: the winner, by how much, and why.
    """

    design: Design
    trials: tuple[Trial, ...]
    blocks: int
    rows: tuple[Row, ...]
    baseline: str
    winner: str | None
    noise_floor: float | None
    warnings: tuple[BenchWarning, ...]
    verdict: str

    def __str__(self) -> str:
        words: Any = import_module("poolwise._bench.words")
        return str(words.text(self))

    def to_markdown(self) -> str:
        """Return it as Markdown: a table, the verdict, the warnings."""
        words: Any = import_module("poolwise._bench.words")
        return str(words.markdown(self))

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold, every run included; times are in seconds."""
        record: Any = import_module("poolwise._bench.record")
        return dict(record.comparison_to_dict(self))

    def to_plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the speed-ups with their intervals, and the runs in their order, with matplotlib.

        Args:
            path: the file, which is replaced where it exists; its suffix says the format: .png, .svg or .pdf.

        Raises:
            UsageError: the suffix is another one, or the file cannot be written.
            BackendUnavailable: matplotlib is not installed.
        """
        import_module("poolwise._bench.plot").write_plot(self, path)


def form_of(side: str, taken: str | None = None) -> Literal["serial", "threads", "processes", "both"]:
    """Say what a side runs items on.

    Args:
        side: a shape, "auto", or the name of a peer.
        taken: the shape that `auto` took.
    """
    if side in PEERS:
        return "threads" if side == "ThreadPoolExecutor" else "processes"
    shape = Shape.parse((taken or "1x1") if side == "auto" else side)
    if shape.total == 1:
        return "serial"
    if shape.workers == 1:
        return "threads"
    return "processes" if shape.lanes == 1 else "both"
