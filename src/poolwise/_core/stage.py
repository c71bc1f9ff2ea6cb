"""A stage of a pipeline: a function, and how it is to be run. A value; what runs it is in `_pipeline.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from poolwise._core.errors import UsageError
from poolwise._core.job import NO_JOB, Job

if TYPE_CHECKING:
    from typing import Unpack

    from poolwise._core.journal import Journal
    from poolwise._core.model import Limits, Retry, Shape


class StageOptions(TypedDict, total=False):
    """The options of `run` that a stage has for itself; `map` says what they mean."""

    shape: Literal["auto", "serial"] | str | Shape
    backend: str
    hint: Literal["io", "cpu"] | None
    retry: int | Retry
    timeout: float | None
    isolate: bool
    on_lost: Literal["rerun", "fail"]
    setup: Callable[[], object] | None
    limits: Limits | None


class Stage:
    """A function as a stage of a `pipeline`, with options of its own: `Stage(thumbnail, timeout=30, name="shrink")`.

    Args:
        fn: the function; it is called with what the stage before it returned.
        name: by which outcomes, errors and reports call the stage; otherwise the function's.
        **options: `shape`, `backend`, `hint`, `retry`, `timeout`, `isolate`, `on_lost`, `setup`, `limits`, as for
            `run`.

    Raises:
        UsageError: where an argument cannot be meant.
    """

    __slots__ = ("fn", "name", "options")

    def __init__(self, fn: Callable[..., Any], *, name: str | None = None, **options: Unpack[StageOptions]) -> None:
        if not callable(fn):
            raise UsageError(f"the first argument of Stage must be a function, not {type(fn).__qualname__}")
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise UsageError(f"name is {name!r}; the name of a stage must be a text that is not blank")
        check_stage_options(options, "Stage")
        self.fn = fn
        self.name = name
        self.options: Mapping[str, Any] = options

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"Stage({self.fn!r}{f', name={self.name!r}' if self.name else ''}{given})"


def check_stage_options(options: Mapping[str, Any], what: str, more: Iterable[str] = ()) -> None:
    """Check that options are those that a stage may have. `more` are others that whoever asks has.

    Raises:
        UsageError: naming one that it may not.
    """
    for name in options:
        if name not in StageOptions.__annotations__:
            known = ", ".join(sorted({*StageOptions.__annotations__, *more}))
            raise UsageError(f"{what} has no option {name!r}; there are: {known}")


@dataclass(frozen=True, slots=True)
class JobStage:
    """A built-in job as a stage of a `pipeline`; jobs make them.

    Attributes:
        fn: what is done to one item; picklable.
        name: of the job.
        options: those of `StageOptions` that it is run with.
        job: what the engine must know: groups, weights, and what an outcome means. `order` is not heeded.
        items: makes the items out of the pipeline's input, of which it may need all; such a stage must be the first.
        key: names an item. Keys of the whole pipeline where this stage is the first, and no other were given.
        journal: what the job remembers by itself, beside the pipeline's journal: there the stage finds what an
            earlier run has done, and does not do it again.
        close: called once the run is over.
    """

    fn: Callable[[Any], Any]
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    job: Job = NO_JOB
    items: Callable[[Iterable[Any]], Iterable[Any]] | None = None
    key: Callable[[Any], Any] | None = None
    journal: Journal | None = None
    close: Callable[[], object] | None = None
