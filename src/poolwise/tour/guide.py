"""Takes a learner through lessons: what their programs need is made when first needed, and goes in the end."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from poolwise import BackendUnavailable
from poolwise.tour.lesson import Lesson, Needs, Told, tell
from poolwise.tour.run import run_program
from poolwise.tour.server import ImageServer

SCALE = 0.2
"""What the original seconds are multiplied by unless other is asked for."""

IMAGES = 16
PHOTOGRAPHS = 20
LATENCY_SECONDS = 0.3
_PHOTOGRAPH = (2048, 1536)
_IMAGE = (800, 600)
_LEAST_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the learner asked for.

    Attributes:
        scale: what the original seconds are multiplied by; photographs have fewer pixels with it.
        urls: a file of URLs for the download lessons, or None for the server on loopback.
        photographs: a folder, or None for generated ones.
    """

    scale: float = SCALE
    urls: str | None = None
    photographs: str | None = None


class Guide:
    """See the module's docstring. A context manager.

    Args:
        wishes: of the learner.
    """

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._stack = ExitStack()

    def __enter__(self) -> Guide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def take(self, lesson: Lesson) -> Told:
        """Run the programs of a lesson, and tell what they show.

        Raises:
            BackendUnavailable: it needs Pillow, which is not installed.
            UsageError: the folder or the file that was given is none.
        """
        arguments = [self._argument(lesson.needs)]
        ran = run_program(lesson.program, arguments)
        if lesson.pycurl and find_spec("pycurl") is None:
            return tell(lesson, ran, "This was not run, as it needs pycurl: pip install 'poolwise[fetch]'")
        return tell(lesson, ran, run_program(lesson.with_poolwise, arguments))

    def _argument(self, needs: Needs) -> str:
        if needs == "seconds":
            return str(max(_LEAST_SECONDS, self._wishes.scale))
        if needs == "photographs":
            return self._photographs
        if needs == "urls" and self._wishes.urls is not None:
            return os.path.abspath(self._wishes.urls)
        return str(self._url_files[needs])

    @cached_property
    def _folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="poolwise-tour-")))

    @cached_property
    def _photographs(self) -> str:
        """The folder of photographs."""
        from poolwise.tour.photographs import generate_photographs, link_photographs

        _require_pillow("this lesson")
        folder = str(self._folder / "photographs")
        if self._wishes.photographs is not None:
            link_photographs(self._wishes.photographs, folder, PHOTOGRAPHS)
        else:
            factor = min(1.0, self._wishes.scale**0.25)
            width, height = (max(64, round(side * factor)) for side in _PHOTOGRAPH)
            generate_photographs(folder, count=PHOTOGRAPHS, size=(width, height))
        return folder

    @cached_property
    def _url_files(self) -> dict[Needs, Path]:
        """Files with the URLs of the server, which starts with this."""
        from poolwise.tour.photographs import photograph_bytes

        _require_pillow("the image server of this lesson (--urls FILE needs none)")
        names = [f"image-{number:02}.jpg" for number in range(1, IMAGES + 1)]
        images = {name: photograph_bytes(name, _IMAGE) for name in names}
        server = self._stack.enter_context(ImageServer(images, seconds=LATENCY_SECONDS * self._wishes.scale))
        files: dict[Needs, Path] = {"urls": self._folder / "urls.txt", "busy urls": self._folder / "busy.txt"}
        for needs, path in files.items():
            path.write_text("".join(f"{url}\n" for url in server.urls(busy=needs == "busy urls")))
        return files


def _require_pillow(who: str) -> None:
    if find_spec("PIL") is None:
        raise BackendUnavailable(f"{who} needs Pillow, which is not installed: pip install 'poolwise[images]'")
