"""The tour's words: they follow from measurements that are made up here, and say what those show, whichever it is."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from poolwise import BackendUnavailable
from poolwise.tour import guide, words
from poolwise.tour.drawing import chart_lines, charts_of, list_lines, output_lines, timeline_lines, told_lines
from poolwise.tour.guide import Guide, Wishes
from poolwise.tour.lesson import LESSONS, PROGRAMS, Figure, Lesson, Ran, Span, lesson, read, tell
from poolwise.tour.lesson_23 import winner
from poolwise.tour.lesson_27 import knee
from poolwise.tour.page import html, timeline_rows
from poolwise.tour.run import run_program
from poolwise.tour.server import ImageServer, latencies

ALL = range(1, LESSONS + 1)
OURS = {"shape": "1x2", "verdict": "This is the verdict."}


def row(names: Sequence[str], seconds: float = 1.0) -> list[Span]:
    """Pieces one after the other."""
    return [Span(name, place * seconds, (place + 1) * seconds) for place, name in enumerate(names)]


def side_by_side(names: Sequence[str], seconds: float = 1.0) -> list[Span]:
    """Pieces that all begin at once."""
    return [Span(name, 0.0, seconds) for name in names]


def ran(spans: Sequence[Span] = (), texts: dict[str, str] | None = None, results: str = "", **figures: float) -> Ran:
    """What a program did; underscores in the names of figures are blanks, results are letters or figures."""
    return Ran(
        [(0.0, "line")],
        spans=spans,
        figures={name.replace("_", " "): Figure(value) for name, value in figures.items()},
        texts=texts or {},
        results=[(float(place), text) for place, text in enumerate(results.split(","))] if results else [],
    )


def said(number: int, one: Ran) -> str:
    """The words of a lesson on the run of its program."""
    return " ".join(lesson(number).shows(one))


CALLS = [f"call {number}" for number in range(1, 11)]


# --- what was seen


def test_lines_become_pieces_numbers_and_results() -> None:
    """Starts and ends, ranges, figures with units, texts and results are told apart; the rest is left."""
    one = read(
        [
            (5.0, "a b starts"), (5.1, "c starts"), (5.25, "c ends"), (5.5, "a b ends"), (5.6, "d ends"),
            (6.0, "all: 0.500 s"), (6.0, "lanes: 2"), (6.0, "cold, next: +3.5 %"), (6.0, "x: none"),
            (6.0, "shape of blur: 2x1"), (6.0, "verdict: A: b."), (6.2, "result c"),
        ]
    )  # fmt: skip
    assert [(span.name, round(span.start, 6), round(span.end, 6)) for span in one.spans] == [
        ("a b", 0.0, 0.5),
        ("c", 0.1, 0.25),
    ]
    assert one.figures == {"all": Figure(0.5, "s"), "lanes": Figure(2.0), "cold, next": Figure(3.5, "%")}
    assert one.texts == {"shape of blur": "2x1", "verdict": "A: b."}
    assert [(round(at, 6), text) for at, text in one.results] == [(1.2, "c")]
    own = read([(9.0, "f ran from 0.5 to 0.75 s")])
    assert own.spans == [Span("f", 0.0, 0.25)]


def test_pieces_that_touch_are_not_together() -> None:
    """What begins where the other ends is one at a time; what overlaps for most of it is not."""
    assert words.most_at_once(row("abc")) == 1
    assert words.most_at_once([Span("a", 0.0, 1.0), Span("b", 0.98, 2.0)]) == 1
    assert words.most_at_once([Span("a", 0.0, 1.0), Span("b", 0.5, 1.5)]) == 2
    assert words.most_at_once(side_by_side("abc")) == 3
    assert words.most_at_once([]) == 0


def test_speed_goes_both_ways() -> None:
    """Faster, slower and neither are called so."""
    assert words.speed(2.0, 1.0, "X", "Y") == "X took 1 s against 2 s for Y: 2.00 times as fast."
    assert words.speed(1.0, 2.0, "X", "Y") == "X took 2 s against 1 s for Y: slower, 2.00 times as long."
    assert words.speed(1.0, 1.05, "X", "Y").endswith("no difference that one run can show.")


def test_together_claims_nothing_that_was_not_there() -> None:
    """In a row, at once with a gain, and at once without one are three sentences."""
    assert words.together(row("ab"), "calls").startswith("No two calls were under way at the same time: they took 2 s")
    assert words.together(side_by_side("ab"), "calls") == (
        "Up to 2 calls were under way at once: 2 s added up, 1 s by the clock."
    )
    lost = [Span("a", 0.0, 1.0), Span("b", 0.5, 1.0), Span("c", 1.0, 1.5)]
    assert "yet nothing was saved" in words.together([*lost, Span("d", 2.4, 2.5)], "calls")


def test_order_says_which() -> None:
    """Input order, order of ending, both, neither, chance, and results that are missing."""
    shrinking = [Span(text, 0.0, float(text)) for text in "321"]
    assert "order in which the calls ended" in words.order(ran(shrinking, results="1,2,3"), list("321"))
    assert words.order(ran(shrinking, results="3,2,1"), list("321")) == "Results came in input order: 3, 2, 1."
    assert "neither" in words.order(ran(shrinking, results="2,3,1"), list("321"))
    assert "also ended" in words.order(ran(row("abc"), results="a,b,c"), list("abc"))
    assert "chance" in words.order(ran(side_by_side("abc"), results="b,a,c"), list("abc"))
    assert words.order(ran(row("abc"), results="a,c"), list("abc")).startswith("2 results came for 3 items")


def test_held_back() -> None:
    """A result that came at once was not held back."""
    ends = [Span("3", 0.0, 3.0), Span("1", 0.0, 1.0)]
    late = Ran(spans=ends, results=[(3.0, "3"), (3.0, "1")])
    soon = Ran(spans=ends, results=[(1.01, "1"), (3.0, "3")])
    assert words.held_back(late) == "Call 1 ended first, at 1 s; its result came 2 s later."
    assert words.held_back(soon) == "Call 1 ended first, and its result came at once."


@pytest.mark.parametrize(
    ("share", "word"), [(0.02, "the program waited"), (0.97, "the program computed"), (0.5, "some of both")]
)
def test_cpu(share: float, word: str) -> None:
    """Waiting, computing, and both."""
    assert word in words.cpu(ran(all=2.0, cpu=2.0 * share))


# --- each lesson, where threads or processes won and where they did not


@pytest.mark.parametrize("number", [1, 11])
def test_two_calls_in_a_row(number: int) -> None:
    """Calls that ran at once are not said to be in a row."""
    figures = {"all": 2.0, "cpu": 0.001, "processes": 1.0}
    assert "No two calls" in said(number, ran(row(CALLS[:2]), **figures))
    assert "Up to 2 calls" in said(number, ran(side_by_side(CALLS[:2]), **figures))


THREE = {"joined_in_a_second_loop", "joined_inside_the_loop"}
FIGURES: dict[int, dict[str, float]] = {
    2: {"both started": 0.001, "all": 1.0},
    4: {"mistake, before it started": 1.0},
    5: {"both submitted": 0.001, "all": 1.0},
    6: {},
    14: {"all": 1.0},
    15: {"all": 1.0},
    16: {"both submitted": 0.001},
    17: {"all": 1.0},
}


@pytest.mark.parametrize("number", FIGURES)
def test_calls_that_should_be_together(number: int) -> None:
    """Where they were one at a time, the words say that, and not that they were at once."""
    names = CALLS if number in (6, 14, 17) else CALLS[:2]
    results = ",".join(names)

    def words_on(spans: list[Span]) -> str:
        figures = {name: Figure(value) for name, value in FIGURES[number].items()}
        made = ran(spans, results=results)
        return said(number, Ran(made.lines, spans=spans, figures=figures, results=made.results))

    serial, parallel = words_on(row(names)), words_on(side_by_side(names))
    assert "No two calls were under way at the same time" in serial
    assert "under way at once" not in serial
    assert f"Up to {len(names)} calls were under way at once" in parallel
    assert "No two" not in parallel


def test_joining_inside_the_loop() -> None:
    """It is called serial only where it was; and the faster of the two is named, whichever it is."""
    inside = [f"inside {number}" for number in range(1, 11)]
    usual = ran(
        [*side_by_side(CALLS), *row(inside)], joined_in_a_second_loop=1.0, joined_inside_the_loop=10.0
    )  # fmt: skip
    assert "10 times as fast" in said(3, usual)
    assert "So a join() inside the loop is serial" in said(3, usual)
    strange = ran(
        [*row(CALLS), *side_by_side(inside)], joined_in_a_second_loop=10.0, joined_inside_the_loop=1.0
    )  # fmt: skip
    assert "slower" in said(3, strange)
    assert "is serial" not in said(3, strange)
    assert "joined inside the loop" in lesson(3).beside(strange, ran(side_by_side(CALLS), OURS, all=1.0))[0]


def test_the_mistake_of_calling() -> None:
    """It is said to run before the thread only where that took as long."""
    spans = [*side_by_side(CALLS[:2]), Span("mistake", 2.0, 3.0)]
    early = Ran(spans=spans, figures={"mistake, before it started": Figure(1.0)})
    late = Ran(spans=spans, figures={"mistake, before it started": Figure(0.01)})
    assert "before the thread was made, in the caller" in said(4, early)
    assert "after the thread was made" in said(4, late)


@pytest.mark.parametrize("number", [7, 8, 18, 19])
@pytest.mark.parametrize(("results", "word"), [("1,2,3,4,5", "calls ended"), ("5,4,3,2,1", "in input order:")])
def test_durations(number: int, results: str, word: str) -> None:
    """The order is the one that was seen, whatever the lesson's title says."""
    spans = [Span(text, 0.0, float(text)) for text in "54321"]
    assert word in said(number, ran(spans, results=results))


@pytest.mark.parametrize("number", [9, 10, 20, 21])
def test_real_work(number: int) -> None:
    """Rates are those measured; a pool in which nothing was together is not praised."""
    names = [f"image-{number}" for number in range(4)]
    one = ran(row(names), all=4.0, cpu=3.9, bytes=2e6)
    assert "in 4 s: 1 a second." in said(number, one)
    assert "No two " in said(number, one)
    if number in (9, 20):
        assert "the program computed" in said(number, one)


def test_without_a_guard() -> None:
    """The error is quoted where it was shown; where both calls ran, nothing is said of an error."""
    message = "RuntimeError: \n   An attempt has been made\n   too early. This probably means\n"
    codes = {"exit code of call 1": Figure(1.0), "exit code of call 2": Figure(1.0)}
    failed = Ran(errors=f"Traceback\n{message}Traceback\n{message}", figures=codes)
    assert "neither call was run" in said(12, failed)
    assert "this error 2 times: An attempt has been made too early." in said(12, failed)
    fine = Ran(spans=side_by_side(CALLS[:2]), figures={name: Figure(0.0) for name in codes})
    assert "both calls were run" in said(12, fine)
    assert "No RuntimeError was shown here." in said(12, fine)
    assert "Python refused" not in said(12, fine)
    assert "exit codes 0 and 0" in said(13, Ran(spans=fine.spans, figures={**fine.figures, "all": Figure(1.0)}))


def test_a_lambda() -> None:
    """It is said to fail only where it did."""
    spans = side_by_side(CALLS[:2])
    assert "could not be sent" in said(15, Ran([(0.0, "a lambda: PicklingError")], spans=spans))
    assert "without an error" in said(15, Ran([(0.0, "else")], spans=spans))


def shares(**percent: float) -> Ran:
    """Conditions of lesson 22, each with a share of CPU."""
    figures = {}
    for name, share in percent.items():
        figures[f"{name.replace('_', ' ')}, each"] = Figure(0.1)
        figures[f"{name.replace('_', ' ')}, computing"] = Figure(share)
    return Ran(figures=figures)


def test_computing_or_waiting() -> None:
    """CPU-bound, I/O-bound and both; a cold cache that changes it, and one that was not measured."""
    warm = said(22, shares(a_small_batch=99, a_large_batch=98, only_reading=50))
    assert "99% was CPU: CPU-bound" in warm
    assert "some of both" in warm
    assert "A larger batch did not change" in warm
    assert "a cold cache was not measured" in warm
    cold = said(22, shares(a_small_batch=99, a_large_batch=98, a_cold_cache=15))
    assert "15% was CPU: I/O-bound" in cold
    assert "A cold cache changed the share of CPU by -83 points" in cold


def gains(blur: tuple[float, float], others: tuple[float, float] = (1.0, 1.9), apart: float = 1.0) -> Ran:
    """Lesson 23, where threads and processes were so many times as fast."""
    figures = {"lanes": Figure(2.0)}
    for name in ("blur", "median", "encode", "python"):
        threads, processes = blur if name == "blur" else others
        for way, factor in (("one by one", 1.0), ("threads", threads), ("processes", processes)):
            figures[f"{name}, {way}"] = Figure(1 / factor)
            figures[f"{name}, {way}, next"] = Figure(apart)
    return Ran(figures=figures)


def test_threads_or_processes() -> None:
    """The rule of thumb holds, fails, or both, as the numbers say; noise decides nothing."""
    both = said(23, gains((1.98, 1.8)))
    assert "The rule held for MedianFilter" in both
    assert "It failed for blur, shrink and save" in both
    held = said(23, gains((0.9, 1.8)))
    assert "threads 0.90x, processes 1.80x as fast as one by one. Processes won." in held
    assert "here the rule held" in held
    failed = said(23, gains((1.9, 1.1), (1.9, 1.1)))
    assert "processes were better for none of it" in failed
    assert "cannot be judged" in said(23, gains((1.0, 1.0), (0.9, 1.0)))
    assert winner(gains((1.7, 1.6), apart=5.0), "blur") == "They came out even."
    assert winner(gains((1.5, 1.2), apart=70.0), "blur") == (
        "Rounds of the same differed by 70%, so nothing can be told."
    )


def test_what_poolwise_chose_is_set_beside_what_won() -> None:
    """It does not say that they agree."""
    texts = {f"shape of {name}": "1x2" for name in ("blur", "median", "encode", "python")}
    told = lesson(23).beside(gains((0.9, 1.9)), Ran(texts=texts))
    assert told[0] == "Blur, shrink and save: poolwise took 1x2 (threads); in the program processes had won."


def cores(count: int, waiting: float, computing: float) -> Ran:
    """Lesson 24."""
    figures = {"cores": float(count), "one, wait": 1.0, "ten, wait": waiting}
    figures |= {"one, compute": 1.0, "ten, compute": computing}
    return Ran(figures={name: Figure(value) for name, value in figures.items()})


def test_ten_processes() -> None:
    """Enough cores, too few, somebody else on them, and a start that costs more than the wait."""
    assert "5 times is what there is to be had" in said(24, cores(2, 1.02, 5.1))
    assert "something else used them too, or" in said(24, cores(2, 1.02, 9.0))
    many = said(24, cores(16, 1.02, 1.1))
    assert "There is a core for each." in many
    assert "So the number of cores bounds" not in many
    assert "starting ten processes cost" in said(24, cores(2, 4.0, 5.0))


def costs(pool: float, threads: float) -> Ran:
    """Lesson 25, in which 20,000 calls in a pool and two counting threads took so many times as long."""
    figures = dict.fromkeys(("a call", "a task in a thread pool", "a thread", "a task in a process pool"), 50.0)
    figures |= {"a process": 2000.0, "20000 small calls, a loop": 1e3, "two counts, in a row": 1e5}
    figures |= {"20000 small calls, a thread pool": 1e3 * pool, "two counts, two threads": 1e5 * threads}
    return Ran(figures={name: Figure(value) for name, value in figures.items()})


def test_costs() -> None:
    """Threads made it slower, faster, or neither."""
    assert "a process 2 ms, 40 times as much" in said(25, costs(200, 1.5))
    assert said(25, costs(200, 1.5)).count("threads made it slower") == 2
    assert "threads made no difference" in said(25, costs(200, 1.02))
    assert "here threads made it faster" in said(25, costs(200, 0.55))


def test_asyncio() -> None:
    """Coroutines may lose, and may fetch other bytes."""
    figures = {"threads": 1.0, "threads, cpu": 0.1, "coroutines, cpu": 0.2}
    figures |= {"bytes by threads": 10.0, "bytes by coroutines": 9.0}

    def words_on(coroutines: float) -> str:
        made = {name: Figure(value) for name, value in {**figures, "coroutines": coroutines}.items()}
        return said(26, Ran(spans=side_by_side("ab"), figures=made))

    assert "slower, 2.00 times as long" in words_on(2.0)
    assert "2.00 times as fast" in words_on(0.5)
    assert "did not fetch the same bytes" in words_on(1.0)


def lanes(rates: Sequence[float], each: Sequence[float] | None = None) -> Ran:
    """Lesson 27."""
    numbers = (1, 2, 4, 8, 16, 32, 64)
    figures = {f"{number} lanes": Figure(rate) for number, rate in zip(numbers, rates)}
    figures |= {f"each on {number} lanes": Figure(time) for number, time in zip(numbers, each or [0.1] * 7)}
    return Ran(figures=figures)


def test_the_knee() -> None:
    """It is where twice the lanes stop paying; there may be none, and lines may not grow."""
    usual = lanes([10, 20, 40, 80, 84, 85, 85], [0.1, 0.1, 0.1, 0.1, 0.2, 0.4, 0.7])
    assert "The knee was at 8 lanes" in said(27, usual)
    assert "100 ms on 8 lanes and 700 ms on 64" in said(27, usual)
    assert "knee lies beyond 64 lanes" in said(27, lanes([10, 20, 40, 80, 160, 320, 640]))
    assert "wait in line" not in said(27, lanes([10, 20, 40, 80, 84, 85, 85]))
    assert knee([(1, 10.0), (2, 10.0)]) == 1
    assert knee([(1, 10.0), (2, 20.0)]) is None


@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20, 21])
@pytest.mark.parametrize(("seconds", "word"), [(2.0, "slower"), (0.5, "as fast"), (1.0, "no difference")])
def test_poolwise_may_lose(number: int, seconds: float, word: str) -> None:
    """Beside the program's time stands poolwise's, and whether it was slower."""
    names = ["5", "4", "3", "2", "1"]
    figures = {"all": 1.0, "bytes": 5.0, "processes": 2.0}
    theirs = ran(side_by_side(names), results="5,4,3,2,1", **figures)
    if number == 4:
        theirs = ran(side_by_side(CALLS), **figures)
    ours = ran(side_by_side(names, seconds), OURS, "5,4,3,2,1", **{**figures, "all": seconds})
    told = " ".join(lesson(number).beside(theirs, ours))
    assert word in told
    assert "This is the verdict." in told


def test_what_lies_outside_of_the_calls_is_said() -> None:
    """Calls that took the same with an import before them are not called slower, and the whole is not hidden."""
    theirs, ours = ran(side_by_side("ab"), all=1.01), ran(side_by_side("ab"), OURS, all=1.4)
    sentence = words.versus(theirs, ours)
    assert "no difference that one run can show" in sentence
    assert "All in all it took 1.4 s against 1.01 s" in sentence


# --- every lesson


@pytest.mark.parametrize("number", ALL)
def test_a_lesson_is_whole(number: int) -> None:
    """It has its number, programs that fit a terminal, and an introduction that claims no numbers."""
    one = lesson(number)
    assert one.number == number
    for program in (one.program, one.with_poolwise):
        assert max(map(len, program.read_text().splitlines())) <= 76
    assert not re.search(r"\d+(\.\d+)? ?(s|ms|times|x|%)\b", one.about)
    program = one.program.read_text()
    assert "import poolwise" not in program
    assert "import poolwise" in one.with_poolwise.read_text() or "from poolwise" in one.with_poolwise.read_text()


@pytest.mark.parametrize("number", ALL)
def test_a_program_that_failed_shows_nothing(number: int) -> None:
    """No word on times is said of a program that failed, or that did not print what the words need."""
    one = lesson(number)
    failed = Ran([(0.0, "all: 1.0 s")], errors="Traceback\nValueError: no", code=1)
    told = tell(one, failed, failed)
    assert list(told.shows) == ["Nothing, as the program failed with exit code 1: ValueError: no"]
    assert list(told.beside) == ["Nothing, as it failed with exit code 1: ValueError: no"]
    assert charts_of(told) == []
    silent = tell(one, Ran(), Ran())
    assert all("time" not in sentence for sentence in silent.beside) or silent.ran.spans == ()
    assert "".join(line.text for line in told_lines(told)).count("ValueError: no") == 4
    missing = tell(one, Ran(figures={"all": Figure(1.0)}), "This was not run.")
    assert missing.beside == ["This was not run."]
    assert missing.ours is None


def test_there_are_no_other_programs() -> None:
    """Each program belongs to a lesson."""
    known = {path for number in ALL for path in (lesson(number).program, lesson(number).with_poolwise)}
    assert {path for path in PROGRAMS.glob("*.py") if path.name != "__init__.py"} == known


# --- drawing


def test_a_timeline_in_80_columns() -> None:
    """Bars begin and end where the pieces do; long names and many pieces are cut."""
    lines = timeline_lines([Span("a", 0.0, 1.0), Span("b", 1.0, 2.0)], "#")
    bars = [line[line.index("|") + 1 : line.rindex("|")] for line in lines[:2]]
    assert bars[0].rstrip() + bars[1].lstrip() == "#" * len(bars[0])
    assert bars[0].count("#") == pytest.approx(len(bars[0]) / 2, abs=1)
    assert bars[1].endswith("#")
    many = timeline_lines([Span("n" * 99, place, place + 1.0) for place in range(99)])
    assert max(map(len, many)) <= 80
    assert any("75 more" in line for line in many)


def test_output_is_cut_and_visible() -> None:
    """Long output loses its middle, long lines their end, and nothing in it is invisible; errors are kept."""
    one = Ran([(0.1, f"line {place} {'x' * 99}") for place in range(99)], errors="Traceback\nKeyError: 'a'\n")
    lines = output_lines(one)
    assert len(lines) == 16
    assert "85 more lines" in lines[10]
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "  stderr  KeyError: 'a'"
    assert "\x1b" not in "".join(output_lines(Ran([(0.0, "\x1b[31m")])))


def test_charts() -> None:
    """The longest bar is the largest value."""
    (chart,) = lesson(27).charts(lanes([10, 20, 40, 80, 84, 85, 90]))
    lines = chart_lines(chart, "#")
    assert [line.count("#") for line in lines] == sorted(line.count("#") for line in lines)
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith(" 90.0 /s")


def test_the_list_names_every_lesson() -> None:
    """By part and number."""
    lines = [line.text for line in list_lines()]
    assert lines[0] == "Threads"
    assert [int(line.split()[0]) for line in lines if line.startswith("  ")] == list(ALL)


def test_the_page_escapes_and_loads_nothing() -> None:
    """Names of others are text in it; no address in it is anything but its own; one lesson or all."""
    evil = "<script>alert(1)</script>"
    one = lesson(1)
    spans = [Span(evil, 0.0, 1.0), Span("b", 1.0, 2.0)]
    made = Ran([(0.0, evil)], spans=spans, figures={"all": Figure(2.0), "cpu": Figure(0.0)})
    text = html([tell(one, made, Ran(spans=spans, figures={"all": Figure(2.0)}, texts=OURS))], 0.2, 0.0)
    assert evil not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r'(src|href)="(?!#|data:,)', text)
    assert "1 of 27 lessons" in text
    assert "a second of the original programs took 200 ms here" in text


def test_bars_of_the_page() -> None:
    """They stay inside, and can be seen."""
    rows = timeline_rows([Span("a", 0.0, 1.0), Span("b", 1.0, 1.0)])
    assert [(each.left, each.width) for each in rows] == [("0.00%", "100.00%"), ("99.60%", "0.40%")]


# --- what runs programs and serves images


def test_a_program_is_heard_line_by_line(tmp_path: Path) -> None:
    """Its lines, errors and exit code are there; its folder is its own, and is gone."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\nprint('a starts')\nprint('a ends')\nprint('where', os.getcwd())\n"
        "open('left', 'w').close()\nsys.exit('no ' + sys.argv[1])\n"
    )
    one = run_program(program, ["more"])
    assert (one.code, one.errors.strip()) == (1, "no more")
    assert [span.name for span in one.spans] == ["a"]
    assert not Path(one.lines[-1][1].removeprefix("where ")).exists()


def test_a_program_that_never_ends_is_ended(tmp_path: Path) -> None:
    """With what it started."""
    program = tmp_path / "program.py"
    program.write_text(
        "import subprocess, sys\nprint('begun')\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    )
    one = run_program(program, [], patience=0.5)
    assert one.code != 0


def test_the_server_answers_and_ends() -> None:
    """Files with their length, 404 for others, busy ones too; afterwards the port is free and no thread is left."""
    with ImageServer({"a.jpg": b"\xff\xd8picture"}, seconds=0.001) as server:
        for url in server.urls() + server.urls(busy=True):
            with urllib.request.urlopen(url) as reply:
                assert reply.read() == b"\xff\xd8picture"
                assert reply.headers["Content-Type"] == "image/jpeg"
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/b.jpg")
        caught.value.close()
        waiting = socket.create_connection(("127.0.0.1", server.port))  # It asks for nothing, and is no reason to wait.
    waiting.settimeout(10)
    with waiting, contextlib.suppress(ConnectionResetError):  # It may not have been accepted yet.
        assert waiting.recv(1) == b""
    assert not any(thread.name == "poolwise image server" for thread in threading.enumerate())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port)).close()


def test_latencies_are_the_same_at_every_run() -> None:
    """They differ from file to file, around the median."""
    names = [f"{number}" for number in range(200)]
    first = latencies(names, 0.1)
    assert first == latencies(names, 0.1)
    assert sorted(first.values())[100] == pytest.approx(0.1, rel=0.15)
    assert len(set(first.values())) == 200


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Pillow the lessons that need it say so; without pycurl only the half of lesson 10 is left out."""
    missing = {"PIL"}
    monkeypatch.setattr(guide, "find_spec", lambda name: None if name in missing else object())
    programs: list[str] = []

    def pretend(program: Path, arguments: Sequence[str], **_: Any) -> Ran:
        programs.append(program.name)
        return Ran()

    monkeypatch.setattr(guide, "run_program", pretend)
    with Guide(Wishes()) as one:
        for number in (20, 9):
            with pytest.raises(BackendUnavailable, match=r"Pillow.*poolwise\[images\]"):
                one.take(lesson(number))
        one.take(lesson(1))
    missing = {"pycurl"}
    with Guide(Wishes(urls="urls.txt")) as one:
        told = one.take(lesson(10))
    assert programs == ["lesson_01.py", "lesson_01_poolwise.py", "lesson_10.py"]
    assert "poolwise[fetch]" in told.beside[0]


def test_lessons_are_values() -> None:
    """They compare, and cannot be changed."""
    assert lesson(1) is lesson(1)
    with pytest.raises(AttributeError):
        lesson(1).number = 2  # type: ignore[misc]
    assert isinstance(lesson(1), Lesson)
