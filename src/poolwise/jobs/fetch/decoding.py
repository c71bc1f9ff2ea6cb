"""`verify="decode"`: every pixel of an image is decoded once, by Pillow, in a child process that may crash.

    Decoders.check(path) ──path──> a child: open, count frames and pixels, load each ──"" or a sentence──>

A child that crashes, hangs, or takes too much memory costs the file that it was at, and is replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from typing import IO, Any

from poolwise.jobs.fetch.errors import DamagedImage

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "AVIF")
MEMORY_BYTES = 4 << 30


class Decoders:
    """Child processes that decode, made when they are first needed.

    Args:
        count: most of them at a time.
        max_pixels: of one picture.
        max_frames: of one file.
        seconds: that one file may take.
    """

    def __init__(self, count: int, *, max_pixels: int, max_frames: int, seconds: float) -> None:
        self._arguments = [str(max_pixels), str(max_frames)]
        self._seconds = seconds
        self._closed = False
        self._free: queue.LifoQueue[subprocess.Popen[str] | None] = queue.LifoQueue()
        for _ in range(count):
            self._free.put(None)

    def check(self, path: str) -> None:
        """Decode a file.

        Raises:
            DamagedImage: it cannot be decoded, or holds more than is allowed.
        """
        child = self._free.get()
        try:
            if child is None or child.poll() is not None:
                child = self._start()
            sentence, fine = self._ask(child, path)
            if not fine:
                child = None
        finally:
            self._free.put(child)
            if self._closed:
                self.close()
        if sentence:
            raise DamagedImage(sentence)

    def _start(self) -> subprocess.Popen[str]:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", code, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )

    def _ask(self, child: subprocess.Popen[str], path: str) -> tuple[str, bool]:
        """Return what is wrong with a file ("" where nothing is), and whether the child still lives."""
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(self._seconds, end)
        timer.daemon = True
        timer.start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(path) + "\n")
            child.stdin.flush()
            answer = child.stdout.readline()
        except OSError:
            answer = ""
        finally:
            timer.cancel()
        if answer and not late.is_set():
            return str(json.loads(answer)), True
        child.kill()
        code = child.wait()
        _close(child)
        if late.is_set():
            return f"takes longer than {self._seconds:g} s to decode", False
        return f"ended the process that decoded it (exit code {code})", False

    def close(self) -> None:
        """End all children; one that is busy ends after that."""
        self._closed = True
        while True:
            try:
                child = self._free.get_nowait()
            except queue.Empty:
                return
            if child is not None:
                child.kill()
                child.wait()
                _close(child)


def _close(child: subprocess.Popen[str]) -> None:
    streams: tuple[IO[str] | None, ...] = (child.stdin, child.stdout)
    for stream in streams:
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


# -- in the child ------------------------------------------------------------------------------------------------------


def main() -> None:
    """Decode the files whose paths come on stdin; answer each with a sentence, or "" where it is whole."""
    max_pixels, max_frames = map(int, sys.argv[1:3])
    _bound_memory()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(decode(json.loads(line), max_pixels, max_frames)) + "\n")
        answers.flush()


def _bound_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, OSError, ValueError):  # Windows has none; elsewhere a lower bound may hold already.
        pass


def decode(path: str, max_pixels: int, max_frames: int) -> str:
    """Decode a file here, and return what is wrong with it; "" where nothing is."""
    import warnings

    from PIL import Image

    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # Counted here, before anything is decoded.
    Image.init()
    try:
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            frames = _frames(image)
            if frames > max_frames:
                return f"holds {frames:,} pictures; at most {max_frames:,} are decoded"
            for number in range(frames):
                image.seek(number)
                pixels = image.width * image.height
                if pixels > max_pixels:
                    return f"has {pixels:,} pixels; at most {max_pixels:,} are decoded"
                image.load()
    except MemoryError:
        return "needs more memory to decode than there is"
    except Exception as error:
        return f"cannot be decoded: {str(error) or type(error).__name__}"
    return ""


def _frames(image: Any) -> int:
    return int(getattr(image, "n_frames", 1))
