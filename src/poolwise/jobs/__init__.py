"""The job protocol, and `load(name)`. Each other file, or folder, here is one job: a built-in piece of work.

A job is a function `job(source, destination, **options) -> Run`. It

* checks its arguments before anything is executed (UsageError), and says which extra it misses (BackendUnavailable),
* finds its items and hands them, with one picklable function for one item and the options of `poolwise.run`, to
  `poolwise.run`; or, with what the engine must know of groups, weights, order and outcomes (`poolwise._core.job`), to
  `poolwise._api.run_job`. It uses nothing else of the engine,
* gives one outcome per input, with a key that the user recognises, and failures that are one sentence each,
* never prints, and leaves no half-written file under a final name.

As a stage of `poolwise.pipeline` a job is `NAME_stage(destination, **options) -> JobStage` (`poolwise._core.stage`):
the same picklable function for one item, the same checks, and what the engine must know. The stage before it, or the
input, gives the items. `JobStage.items` turns the whole input into the job's own items, with keys of their own, where
the job has to see all of it (fetch tells names apart); such a stage is the first. What a job remembers of its items, it
remembers in a journal of its own.

A new job is one new file, or folder, here, its name in `NAMES`, and a command in `poolwise.cli`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from poolwise import UnknownNameError, UsageError

if TYPE_CHECKING:
    import os

    from poolwise import Journal, Limits, Retry, Run, Shape

NAMES = ("fetch", "images")


class RunOptions(TypedDict, total=False):
    """The options of `poolwise.run` that every job hands on."""

    shape: Literal["auto", "serial"] | str | Shape
    backend: str
    ordered: bool
    hint: Literal["io", "cpu"] | None
    retry: int | Retry
    timeout: float | None
    isolate: bool
    on_lost: Literal["rerun", "fail"]
    setup: Callable[[], object] | None
    limits: Limits | None
    progress: bool
    journal: str | os.PathLike[str] | Journal | None
    timeline: bool


Job = Callable[..., "Run[Any]"]
"""`job(source, destination, **options)`: prepares the work, which starts when the run is iterated or entered."""


def check_options(job: str, given: Iterable[str], known: Collection[str]) -> None:
    """Check that a job has the options that it is given.

    Raises:
        UsageError: naming one that it has not, and those that there are.
    """
    for name in given:
        if name not in known:
            raise UsageError(f"{job} has no option {name!r}; there are: {', '.join(sorted(known))}")


def load(name: str) -> Job:
    """Import a job by name.

    Raises:
        UnknownNameError: where there is none of that name.
    """
    if name == "images":
        from poolwise.jobs.images import images

        return images
    if name == "fetch":
        from poolwise.jobs.fetch import fetch

        return fetch
    raise UnknownNameError(f"there is no job {name!r}; there are: {', '.join(NAMES)}")
