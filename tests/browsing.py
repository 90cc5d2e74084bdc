"""What the tests of pages share: node for the program alone, chromium for what a reader sees."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from throughtime.export import page

NODE = shutil.which("node")
CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
needs_node = pytest.mark.skipif(not NODE, reason="there is no node here")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium here")


def in_node(program, *, timeout=60):
    """What a program says as JSON, by `console.log`."""
    with tempfile.NamedTemporaryFile("w", suffix=".js", encoding="utf-8") as file:
        file.write(program)
        file.flush()
        said = subprocess.run([NODE, file.name], capture_output=True, text=True, timeout=timeout)
    assert said.returncode == 0, said.stderr[-3000:]
    return json.loads(said.stdout)


def core(exported, precision="float32"):
    """An expression of JavaScript: { model, spec, … } of a page, without its document."""
    spec, parts = page.spec_of(exported, precision)
    names = (
        "Model, Vocabulary, Decoder, Reader, draw, chance, softmax, erf, tagsOf, forecastOf, "
        "Translating, scoreOfAbc, scoreOfEvents"
    )
    data = base64.b64encode(parts.weights.bytes).decode("ascii")
    return (
        f"(() => {{ {page.script(parts, page.CORE)}\nconst spec = {page.embedded(spec)};\n"
        f"return {{ spec, model: new Model(spec.model, bytesOf('{data}')), {names} }}; }})()"
    )


class Browser:
    """Chromium without a window, spoken to over a pipe; what it asks of a network and what it
    writes to its console are kept."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        (theirs_in, self.to), (self.come, theirs_out) = os.pipe(), os.pipe()

        def ends():
            # chromium reads from 3 and writes to 4
            a, b = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
             "--no-first-run", "--disable-background-networking", "--disable-component-update",
             "--mute-audio",
             "--autoplay-policy=no-user-gesture-required",
             f"--user-data-dir={self.profile.name}", "about:blank"],
            close_fds=False, preexec_fn=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self.numbers, self.buffer = itertools.count(1), b""
        self.requests, self.said = [], []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        """A command, and its answer."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            came = self.message()
            if came.get("id") == number:
                assert "error" not in came, came
                return came["result"]

    def message(self):
        """The next one; events are kept."""
        while b"\0" not in self.buffer:
            data = os.read(self.come, 1 << 20)
            assert data, "chromium has ended"
            self.buffer += data
        one, _, self.buffer = self.buffer.partition(b"\0")
        came = json.loads(one)
        kind, params = came.get("method", ""), came.get("params", {})
        if kind == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        if kind in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.said.append(json.dumps(params)[:600])
        return came

    def open(self, path, *, width=1280, height=900, dark=False):
        """A file; what was asked for and said before is forgotten."""
        self.requests, self.said = [], []
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Page.navigate", url=Path(path).resolve().as_uri())
        self.wait(
            "document.readyState === 'complete' && document.querySelector('main').children.length"
        )

    def run(self, program):
        """The value of an expression, awaited."""
        answer = self.ask(
            "Runtime.evaluate", expression=program, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition, seconds=30):
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"never: {condition}; said: {self.said}"
            time.sleep(0.02)

    def type(self, selector, text):
        """As a reader types: the field has the focus, then the text comes."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.ask("Input.insertText", text=text)

    def click(self, text):
        """The button that says so."""
        self.run(
            "[...document.querySelectorAll('button')].find("
            f"(b) => b.textContent.trim().startsWith({json.dumps(text)})).click()"
        )

    def picture(self, path, *, whole=True):
        """A PNG of the page."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def outside(self):
        """Requests that leave the file."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "about:"))]

    def overflow(self):
        """How much wider than the window the page is."""
        return self.run("document.documentElement.scrollWidth - window.innerWidth")

    def close(self):
        """The process that was started here."""
        os.close(self.to)
        self.process.terminate()
        self.process.wait(20)
        os.close(self.come)
        self.profile.cleanup()
