"""A plan in words: one sentence, the roofs as a small table, what would help, what is uncertain."""

from __future__ import annotations

import math
from collections.abc import Iterator

from poolwise._core.model import Shape
from poolwise._policy.demands import Demands, Estimate
from poolwise._policy.plan import ASKED, Plan
from poolwise._policy.roofs import duration, throughput

_GAP = 0.75  # Observed below this share of the lowest roof: the gap is named, or called unexplained.

_KINDS = {
    "io": "Waiting work (io)",
    "gil": "Computing with the GIL held (gil)",
    "cpu": "Computing with the GIL released (cpu)",
    "mixed": "Mixed work",
    "tiny": "Tiny items",
    "transfer": "Moving items costs more than computing them (transfer)",
    "unknown": "What binds it is not known",
}
_BINDS = {
    "gil": "the GIL",
    "cores": "the cores",
    "loop": "the event loop, which its coroutines block",
    "lanes": "the number of lanes",
    "wire": "the calling process, which sends and fetches",
    "limit": "limits.per_second",
    "outside": "something outside (a server, a disk, a lock)",
    "process": "this process, which is used up",
}


def explain(plan: Plan) -> str:
    """Return the plan for a person."""
    sections = ["\n".join(_headline(plan))]
    if plan.roofs:
        sections.append("\n".join(_table(plan)))
    for title, lines in (
        ("Why", list(plan.reasons)),
        ("What would help", list(_help(plan))),
        ("Uncertain", list(_doubts(plan))),
    ):
        if lines:
            sections.append("\n".join([f"{title}:", *(f"  - {line}" for line in lines)]))
    return "\n\n".join(sections)


def _headline(plan: Plan) -> Iterator[str]:
    demands = plan.demands
    blocks = demands is not None and demands.loop is not None
    kind = "Coroutines that block their event loop" if blocks else _KINDS[plan.kind]
    shape = shape_in_words(plan.shape, isolate=plan.isolate)
    unmeasured = demands is None and plan.reasons == (ASKED,)
    sentence = f"{shape}, as asked for" if unmeasured else f"{kind}: {shape}"
    if plan.roofs and (plan.kind != "unknown" or blocks):
        sentence += f", bound by {_BINDS[plan.roofs[0].name]}"
    if plan.shape.total > 1 and plan.predicted_speedup is not None and math.isfinite(plan.predicted_speedup):
        sentence += f"; predicted {_times(plan.predicted_speedup)} one lane"
        sentence += f", observed {_times(plan.observed_speedup)}" if plan.observed_speedup is not None else ""
    yield f"{sentence}."
    if demands is not None:
        yield f"An item: {_composition(demands)}."


def shape_in_words(shape: Shape, *, isolate: bool = False) -> str:
    """Return a shape with what it means, as "2x1 (2 worker processes)"."""
    if shape.workers > 1 or isolate:
        many = f"{shape.workers} worker process{'es' if shape.workers > 1 else ''}"
        each = f" of {shape.lanes} lanes" if shape.lanes > 1 else ""
        return f"{shape} ({many}{each})"
    if shape.lanes > 1:
        return f"{shape} ({shape.lanes} lanes in this process)"
    return f"{shape} (one lane, in the calling process)"


def _composition(demands: Demands) -> str:
    parts = [f"{duration(demands.response.value)} in one lane"]
    response = max(demands.response.value, 1e-12)
    if demands.held is not None and demands.held.value > 0.005 * response:
        parts.append(f"the GIL held for {_share(demands.held.scaled(1 / response))} of it")
    if demands.cpu.value > 0.005 * response:
        parts.append(f"{duration(demands.cpu.value)} CPU")
    if demands.wait_share > 0.05:
        parts.append(f"{demands.wait_share:.0%} waiting")
    return ", ".join(parts)


def _share(estimate: Estimate) -> str:
    low, high = max(0.0, estimate.low), min(1.0, estimate.high)
    return f"{min(1.0, estimate.value):.0%} ({low:.0%} to {high:.0%})"


def _times(factor: float) -> str:
    return f"{factor:.2f}x" if factor < 9.95 else f"{factor:.0f}x"


def _table(plan: Plan) -> Iterator[str]:
    yield "roof       items/s  from"
    for place, roof in enumerate(plan.roofs):
        if not math.isfinite(roof.per_second):
            continue
        yield f"{roof.name:7} {throughput(roof.per_second):>10}  {roof.reason}{'  <- binds' if place == 0 else ''}"
    if plan.observed is not None:
        yield f"{'seen':7} {throughput(plan.observed):>10}"


def _help(plan: Plan) -> Iterator[str]:
    """Yield what would make it faster, as far as that was really seen."""
    demands = plan.demands
    if demands is None or not plan.roofs:
        return
    binding = plan.roofs[0].name
    if binding == "gil" and plan.shape.workers == 1:
        yield "worker processes, each with a GIL of its own (see above why there are none)"
    elif binding == "gil":
        yield "more cores for more processes, or doing the part that holds the GIL in code that releases it"
    elif binding == "loop":
        yield "awaiting what it waits for, or asyncio.to_thread for what cannot be awaited"
    elif binding == "cores":
        yield "more cores; no shape of these can do more"
    elif binding == "wire":
        yield "smaller items and values: paths instead of contents, or results that stay where they are made"
    elif binding == "process":
        yield "less work in Python for each item; this process has no more CPU to give"
    elif binding == "outside":
        yield "nothing here: what the items wait for does no more at a time"
    elif binding == "limit":
        yield "a higher limits.per_second"
    if demands.native > 0.3 * demands.response.value:
        yield (
            f"nothing in lanes: the function's own native threads (BLAS, OpenMP) use {duration(demands.native)} CPU "
            "an item beside its lane"
        )
    if demands.children > 0.3 * demands.response.value:
        yield f"the commands that it starts use {duration(demands.children)} CPU an item: that is where the time goes"


_MUCH_STOLEN = 0.1


def _doubts(plan: Plan) -> Iterator[str]:
    demands = plan.demands
    if demands is None:
        yield "nothing was measured yet"
        return
    if demands.items < 5:
        yield f"only {demands.items} item{'s were' if demands.items != 1 else ' was'} measured"
    if demands.failed:
        yield f"{demands.failed} of the {demands.items} items measured failed, which may be quicker than to succeed"
    if demands.stolen > _MUCH_STOLEN * demands.response.value:
        yield f"the host of this virtual machine took cores away: for {duration(demands.stolen)} of an item's time"
    share = demands.held_of_busy
    if share is not None and share.high - share.low > 0.4 and plan.kind != "io":
        yield f"the share of its busy time with the GIL held is between {share.low:.0%} and {min(1.0, share.high):.0%}"
    spread = demands.response.high - demands.response.low
    if spread > demands.response.value and demands.items > 4:
        low, high = duration(demands.response.low), duration(demands.response.high)
        yield f"what an item takes on average is not known well: between {low} and {high}"
    lowest = plan.roofs[0].per_second if plan.roofs else 0.0
    if plan.observed is not None and plan.observed < _GAP * lowest:
        yield f"{plan.observed / lowest:.0%} of the lowest roof was seen; {_gap(plan, demands)}"


def _gap(plan: Plan, demands: Demands) -> str:
    """Name what keeps a run below its roofs, where the measurement tells."""
    share = demands.held_of_busy
    if plan.shape.lanes > 1 and share is not None and 0.1 < share.value < 0.9:
        return "handing the GIL from lane to lane costs time that no roof counts"
    if plan.shape.lanes > 1 and plan.shape.workers == 1 and demands.wait_share < 0.2 and share is not None:
        return "lanes of one process seem to share a lock or memory bandwidth"
    return "the gap is unexplained"
