"""A headless Chromium, driven through its debugging pipe: what a page asks for, says and shows."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass
class Visit:
    """What a page did.

    Attributes
    ----------
    requests : list of str
        URLs that were asked for, the page's own among them.
    complaints : list of str
        Errors and warnings on the console, exceptions.
    width : int
        Of the page's content, in CSS pixels; more than the window's means scrolling sideways.
    text : str
        What can be read.
    png : bytes
        The whole page.
    """

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    width: int = 0
    text: str = ""
    png: bytes = b""


class Browser:
    """One running Chromium."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self.process, self._to, self._back = process, to, back
        self._number, self._rest, self.events = 0, b"", []

    def visit(self, path: Path, width: int, *, dark: bool = False, paper: bool = False) -> Visit:
        """Open a file in a window of this width."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        attach = {"targetId": target, "flatten": True}
        session = self.ask("Target.attachToTarget", attach)["sessionId"]
        self.events.clear()
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable", {}, session)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        media = {"media": "print" if paper else "screen", "features": [scheme]}
        self.ask("Emulation.setEmulatedMedia", media, session)
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", size, session)
        self.ask("Emulation.setScrollbarsHidden", {"hidden": True}, session)
        self.ask("Page.navigate", {"url": path.resolve().as_uri()}, session)
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            self._receive()
        result = Visit(width=self._value("document.documentElement.scrollWidth", session),
                      text=self._value("document.body.innerText", session))  # fmt: skip
        whole = {"captureBeyondViewport": True, "format": "png"}
        box = self.ask("Page.getLayoutMetrics", {}, session)["cssContentSize"]
        shot = self.ask("Page.captureScreenshot", {**whole, "clip": {**box, "scale": 1}}, session)
        result.png = base64.b64decode(shot["data"])
        result.requests, result.complaints = self._requests(), self._complaints()
        self.ask("Target.closeTarget", {"targetId": target})
        return result

    def _value(self, expression: str, session: str) -> Any:
        asked = {"expression": expression, "returnByValue": True}
        return self.ask("Runtime.evaluate", asked, session)["result"]["value"]

    def _requests(self) -> list[str]:
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def _complaints(self) -> list[str]:
        said = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(e["params"]) for e in self.events if e["method"] in said]

    def ask(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        """Send a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            chunk = os.read(self._back, 1 << 16)
            assert chunk, "the browser has ended"
            self._rest += chunk
        one, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(one)
        if "method" in message:
            self.events.append(message)
        return message


def find_browser() -> str:
    """Return the path of a Chromium; an error says what to install."""
    result = [path for path in map(shutil.which, NAMES) if path]
    assert result, f"none of {', '.join(NAMES)} is here: apt-get install chromium"
    return result[0]


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a headless Chromium with a profile of its own."""
    to_read, to = os.pipe()
    back, back_write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            find_browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
        ]  # fmt: skip
        process = subprocess.Popen(
            # Chromium reads from descriptor 3 and answers on 4
            ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{back_write}', "bash", *command],
            pass_fds=(to_read, back_write), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(back_write)
        try:
            yield Browser(process, to, back)
        finally:
            process.terminate()
            process.wait(timeout=30)
            os.close(to)
            os.close(back)
