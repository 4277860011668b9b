"""A real browser without a window, driven by its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"none of {', '.join(NAMES)} is installed: no browser to look with"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
FAULTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


class Browser:
    """One page in a browser of its own; a context manager.

    Attributes:
      faults: what the page's console said, and every exception in it.
    """

    def __init__(self, folder: Path):
        self._process = subprocess.Popen(
            [BROWSER, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stderr=subprocess.PIPE,
            text=True,
        )
        # It says where it listens: "DevTools listening on ws://127.0.0.1:<port>/...".
        address = next(line for line in self._process.stderr if "DevTools listening on" in line)
        port = address.split("127.0.0.1:")[1].split("/")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
            page = next(found for found in json.load(answer) if found["type"] == "page")
        self._socket = websocket.create_connection(page["webSocketDebuggerUrl"], timeout=60)
        self._numbers = itertools.count(1)
        self._loaded = False
        self.faults: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *unused: object) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)
        self._process.stderr.close()

    def call(self, method: str, **parameters: object) -> dict:
        """Calls a method of the protocol; notes what the page says meanwhile."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def _receive(self) -> dict:
        message = json.loads(self._socket.recv())
        if message.get("method") == "Page.loadEventFired":
            self._loaded = True
        elif message.get("method") in FAULTS:
            # Of the browser's own log the errors count; it gives hints there, too.
            level = message["params"].get("entry", {}).get("level", "error")
            self.faults += [json.dumps(message["params"])] if level == "error" else []
        return message

    def open(self, page: Path, width: int, scheme: str = "light") -> None:
        """Loads a page in a window of a width, a person preferring a light or a dark one."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self._loaded = False
        self.call("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._receive()

    def run(self, script: str) -> object:
        """The value of an expression in the page; a promise's, where it is one."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")
