"""Headless Chromium, driven by the DevTools protocol over two pipes; no other program and no network is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any

SECONDS = 45
_TO_CHROMIUM, _FROM_CHROMIUM = 3, 4  # Where Chromium expects its pipes.


def chromium() -> str | None:
    """Return the path of Chromium, or None where there is none."""
    return shutil.which("chromium")


class Browser:
    """A browser with one page; a context manager.

    Args:
        program: path of Chromium.
    """

    def __init__(self, program: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="poolwise-chromium-")
        their_in, self._out = _high_pipe()
        self._in, their_out = _high_pipe()

        def place() -> None:
            os.dup2(their_in, _TO_CHROMIUM)
            os.dup2(their_out, _FROM_CHROMIUM)

        self._process = subprocess.Popen(
            [
                *(program, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"),
                *("--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--hide-scrollbars"),
                *(f"--user-data-dir={self._profile}", "about:blank"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(_TO_CHROMIUM, _FROM_CHROMIUM),
            preexec_fn=place,
            start_new_session=True,
        )
        os.close(their_in)
        os.close(their_out)
        self._number = 0
        self._left = b""
        self._session: str | None = None
        self.events: deque[dict[str, Any]] = deque()

    def __enter__(self) -> Browser:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)  # Chromium ends when its pipe does;
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # its helpers may be slower.
        except ProcessLookupError:
            pass
        self._process.wait()
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, /, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            part = os.read(self._in, 1 << 20)
            assert part, "chromium has ended"
            self._left += part
        line, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(line))

    def open(self, path: Path, *, width: int, dark: bool = False) -> None:
        """Show a file in a window of this width, and wait until it is loaded."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def ask(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press_tab(self) -> None:
        """Press the tabulator key."""
        key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
        self.call("Input.dispatchKeyEvent", type="rawKeyDown", **key)
        self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self) -> list[str]:
        """Return what the console said since the page was opened: errors, warnings, exceptions, refused loads."""
        self.ask("0")  # What happened before has been told by then.
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Log.entryAdded":
                found.append(str(parameters["entry"]["text"]))
            elif event.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                found.append(json.dumps(parameters))
        return found

    def requests(self) -> list[str]:
        """Return the addresses that were asked for since the page was opened."""
        self.ask("0")
        return [
            str(event["params"]["request"]["url"])
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


def _high_pipe() -> tuple[int, int]:
    """Return a pipe whose ends have numbers that Chromium's own do not overwrite."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
