"""poolwise applies one function to many items, on threads or processes as fits, and loses none of them.

Only public names live here, and they are imported when first used: `import poolwise` itself costs next to nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # As type checkers know it; importing typing would take ten times as long as all else here.
if TYPE_CHECKING:
    from poolwise._api import map, pipeline, profile, run
    from poolwise._bench.compare import bench
    from poolwise._bench.model import BenchWarning, Comparison
    from poolwise._core.errors import (
        BackendError,
        BackendUnavailable,
        InternalError,
        JournalCorrupt,
        JournalError,
        JournalLocked,
        JournalMismatch,
        NotPicklableError,
        PoolwiseError,
        RemoteError,
        ShapeError,
        TaskError,
        TaskFailed,
        TaskLost,
        TaskTimeout,
        UnknownNameError,
        UsageError,
        WorkersLost,
    )
    from poolwise._core.journal import Journal
    from poolwise._core.model import Limits, Outcome, Retry, Shape
    from poolwise._core.stage import Stage
    from poolwise._drivers import Results, Run
    from poolwise._policy.plan import Plan
    from poolwise._policy.profile import Profile
    from poolwise.report.summary import Report

__version__ = "0.1.0.dev0"

_HOMES = {
    "poolwise._api": ("map", "pipeline", "profile", "run"),
    "poolwise._bench.compare": ("bench",),
    "poolwise._bench.model": ("BenchWarning", "Comparison"),
    "poolwise._drivers": ("Results", "Run"),
    "poolwise._policy.plan": ("Plan",),
    "poolwise._policy.profile": ("Profile",),
    "poolwise.report.summary": ("Report",),
    "poolwise._core.errors": (
        "BackendError",
        "BackendUnavailable",
        "InternalError",
        "JournalCorrupt",
        "JournalError",
        "JournalLocked",
        "JournalMismatch",
        "NotPicklableError",
        "PoolwiseError",
        "RemoteError",
        "ShapeError",
        "TaskError",
        "TaskFailed",
        "TaskLost",
        "TaskTimeout",
        "UnknownNameError",
        "UsageError",
        "WorkersLost",
    ),
    "poolwise._core.journal": ("Journal",),
    "poolwise._core.model": ("Limits", "Outcome", "Retry", "Shape"),
    "poolwise._core.stage": ("Stage",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "BenchWarning",
    "Comparison",
    "InternalError",
    "Journal",
    "JournalCorrupt",
    "JournalError",
    "JournalLocked",
    "JournalMismatch",
    "Limits",
    "NotPicklableError",
    "Outcome",
    "Plan",
    "PoolwiseError",
    "Profile",
    "RemoteError",
    "Report",
    "Results",
    "Retry",
    "Run",
    "Shape",
    "ShapeError",
    "Stage",
    "TaskError",
    "TaskFailed",
    "TaskLost",
    "TaskTimeout",
    "UnknownNameError",
    "UsageError",
    "WorkersLost",
    "bench",
    "map",
    "pipeline",
    "profile",
    "run",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'poolwise' has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
