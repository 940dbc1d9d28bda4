"""Headless Chromium, driven through a pipe: no package, no port, and no network."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60.0  # seconds for one answer

# What is measured on a page that is open.
LOOK = """
(() => {
  const view = document.documentElement.clientWidth;
  const told = e => `${e.tagName}.${e.getAttribute('class') || ''} ${(e.textContent || '').slice(0, 40)}`;
  const boxes = [...document.querySelectorAll('body *')].map(e => [e, e.getBoundingClientRect()]);
  const hidden = e => e.closest('details:not([open])') !== null && e.tagName !== 'SUMMARY';
  const texts = [...document.querySelectorAll('svg text')].filter(e => !hidden(e));
  return {
    view,
    scroll: document.documentElement.scrollWidth,
    over: boxes.filter(([e, b]) => b.width && b.right > view + 0.5 && !e.closest('svg')).map(([e]) => told(e)),
    cut: boxes.filter(([e]) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth && !e.closest('svg')
      && getComputedStyle(e).display !== 'inline' && !e.classList.contains('bar')).map(([e]) => told(e)),
    figures: [...document.querySelectorAll('figure, svg, .map')].map(e => e.getBoundingClientRect())
      .map(b => [b.width, b.height]),
    outside: texts.filter(e => {
      const svg = e.closest('svg').getBoundingClientRect(), b = e.getBoundingClientRect();
      return b.left < svg.left - 6 || b.right > svg.right + 6 || b.top < svg.top - 6 || b.bottom > svg.bottom + 6;
    }).map(told),
    least: Math.min(99, ...texts.map(e =>
      parseFloat(getComputedStyle(e).fontSize) * Math.hypot(e.getScreenCTM().c, e.getScreenCTM().d))),
    ink: getComputedStyle(document.body).color,
    page: getComputedStyle(document.body).backgroundColor,
    text: document.body.innerText,
  };
})()
"""


@dataclass
class Seen:
    """What came of opening a page.

    Attributes:
        look: what ``LOOK`` measured.
        asked: the addresses that the page asked for.
        said: what the browser complained of.
        picture: a PNG of all of it.
    """

    look: dict[str, Any]
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    picture: bytes = b""


def find_browser() -> str | None:
    """Returns Chromium's program, or None where there is none."""
    return next((place for place in map(shutil.which, NAMES) if place), None)


class Browser:
    """A running Chromium, which answers one question after the other."""

    def __init__(self, process: subprocess.Popen[bytes], asks: int, answers: int) -> None:
        self._process, self._asks, self._answers = process, asks, answers
        self._numbers, self._left, self.events = itertools.count(1), b"", list[dict[str, Any]]()

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Returns the answer to a command of the DevTools protocol; what is told meanwhile is in ``events``."""
        number = next(self._numbers)
        asked = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._asks, json.dumps(asked).encode() + b"\0")
        while True:
            told = self.next()
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return dict(told["result"])
            self.events.append(told)

    def next(self) -> dict[str, Any]:
        """Returns what the browser says next."""
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._left:
            assert time.monotonic() < end and self._process.poll() is None, "the browser does not answer"
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser has ended"
            self._left += part
        told, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(told))

    def see(self, address: str, *, width: int, dark: bool, picture: bool = False) -> Seen:
        """Returns what a page is like at a width, in light or dark, with the network off."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        page = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.events.clear()
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable", page)
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.ask("Network.emulateNetworkConditions", page, **offline)
        phone = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", page, **phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", page, features=[scheme])
        self.ask("Page.navigate", page, url=address)
        while not any(told.get("method") == "Page.loadEventFired" for told in self.events):
            self.events.append(self.next())
        found = self.ask("Runtime.evaluate", page, expression=LOOK, returnByValue=True)
        assert "exceptionDetails" not in found, found
        seen = Seen(found["result"]["value"])
        if picture:
            size = self.ask("Page.getLayoutMetrics", page)["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
            shot = self.ask("Page.captureScreenshot", page, captureBeyondViewport=True, clip=clip)
            seen.picture = base64.b64decode(shot["data"])
        for told in self.events:
            said = told.get("params", {})
            if told.get("method") == "Network.requestWillBeSent":
                seen.asked.append(said["request"]["url"])
            if told.get("method") == "Log.entryAdded":
                seen.said.append(f"{said['entry']['level']}: {said['entry']['text']}")
            if told.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                seen.said.append(json.dumps(said)[:300])
        self.ask("Target.closeTarget", targetId=target)
        return seen


@contextmanager
def open_browser(program: str) -> Iterator[Browser]:
    """Yields a running Chromium; it is gone after the block, with all that it wrote."""
    asks, answers = os.pipe(), os.pipe()

    def pipes() -> None:  # the protocol reads descriptor 3 and writes 4
        low, high = os.dup(asks[0]), os.dup(answers[1])
        os.dup2(low, 3)
        os.dup2(high, 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        options += ["--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"]
        process = subprocess.Popen(
            [program, *options, f"--user-data-dir={home}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=pipes,
            close_fds=False,
            start_new_session=True,
        )
        os.close(asks[0])
        os.close(answers[1])
        try:
            yield Browser(process, asks[1], answers[0])
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(asks[1])
            os.close(answers[0])


def shoot(page: Path, folder: Path) -> list[Path]:
    """Returns pictures of a page at both widths and in both schemes."""
    program, made = find_browser(), []
    assert program is not None
    with open_browser(program) as browser:
        for width, dark in itertools.product((1280, 390), (False, True)):
            seen = browser.see(page.resolve().as_uri(), width=width, dark=dark, picture=True)
            made.append(folder / f"{page.stem}-{width}-{'dark' if dark else 'light'}.png")
            made[-1].write_bytes(seen.picture)
            print(made[-1], {k: v for k, v in seen.look.items() if k not in ("text", "figures")}, seen.asked, seen.said)
    return made


if __name__ == "__main__":
    import sys

    shoot(Path(sys.argv[1]), Path(sys.argv[2]))
