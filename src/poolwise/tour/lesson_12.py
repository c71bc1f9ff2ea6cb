"""Lesson 12: two processes without a main guard."""

from __future__ import annotations

from poolwise.tour import words
from poolwise.tour.lesson import Lesson, Ran


def shows(ran: Ran) -> list[str]:
    """Say what the children ended with, and which error they showed."""
    codes = [int(ran[f"exit code of call {number}"]) for number in (1, 2)]
    said = [f"The two children ended with exit codes {codes[0]} and {codes[1]}; {_ran(len(ran.spans))}."]
    error = next((line for line in ran.errors.splitlines() if line.startswith("RuntimeError")), "")
    if error:
        said += [
            f"They showed this error {ran.errors.count(error)} times: {_sentence(ran.errors)}",
            "Each child imported the program to find the function, came to start() itself, and Python refused: "
            "otherwise it would start children without end. What starts processes belongs behind "
            'if __name__ == "__main__": (lesson 13).',
        ]
    elif not any(codes):
        said.append("No RuntimeError was shown here.")
    return said


def _ran(calls: int) -> str:
    return {0: "neither call was run", 1: "one of the two calls was run", 2: "both calls were run"}[calls]


def _sentence(errors: str) -> str:
    """Return the first sentence of the message, which goes over several lines."""
    after = errors[errors.index("RuntimeError") :].partition(":")[2]
    return " ".join(after.split()).partition(". ")[0].rstrip(".") + "."


def beside(ran: Ran, ours: Ran) -> list[str]:  # noqa: ARG001
    """Say whether the same program, as unguarded, works."""
    said = f"The same program without a guard, with worker processes of poolwise: {_ran(len(ours.spans))}."
    return [said, words.together(ours.spans, "calls"), words.verdict(ours)]


LESSON = Lesson(
    12,
    "Processes",
    "Two processes without a main guard",
    "Where children are spawned (Windows, macOS), each imports the program. What if that starts processes?",
    shows,
    beside,
)
