"""What the tests of web pages share: a server like GitHub Pages, notes on what a page does, hands, axe."""

import functools
import http.server
import importlib.util
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(ROOT / "tools"))
from readme import settings

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
BASE = f"/{settings()['repo']}/"  # where Pages puts the site of a repository
HOST = f"https://{settings()['user']}.github.io"


def load_builder(folder: Path):
    "`tools/site.py`, which `make site` runs, with another folder to write to."
    spec = importlib.util.spec_from_file_location("builder", ROOT / "tools" / "site.py")
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    builder.SITE, builder.BOOK = folder / "_site", folder / "book"
    return builder


class Handler(http.server.SimpleHTTPRequestHandler):
    "Gives a folder under `BASE`, and its 404.html for whatever is missing, as Pages does."

    def translate_path(self, path: str) -> str:
        return super().translate_path("/" + path.removeprefix(BASE) if path.startswith(BASE) else "/missing")

    def send_error(self, code, *words):
        page = Path(self.directory, "404.html")
        if code != 404 or not page.is_file():
            return super().send_error(code, *words)
        self.send_response(404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page.read_bytes())
        return None

    def log_message(self, *_):
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    "The address at which a server on loopback gives a site."
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}{BASE}"
    server.shutdown()
    server.server_close()


@contextmanager
def chromium() -> Iterator:
    "A headless browser."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Watch:
    "What the pages of a context do that nobody asked for; requests to other hosts are noted, and fail."

    def __init__(self, context):
        self.foreign, self.errors, self.fetched = [], [], []
        context.route(lambda url: not url.startswith("http://127.0.0.1:"), self.refuse)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        context.on("response", self.note)

    def refuse(self, route):
        self.foreign.append(route.request.url)
        route.abort()

    def note(self, response):
        "Every answer, as address, status and kind."
        self.fetched.append((response.url, response.status, response.request.resource_type))

    def complaints(self) -> list[str]:
        "All of it, in words."
        missing = [f"{status} {url}" for url, status, _ in self.fetched if status >= 400]
        return [f"asks {url}" for url in self.foreign] + self.errors + missing


def violations(page) -> list[str]:
    "What axe-core finds fault with."
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"]]


def on_page(paper, strokes):
    "Points from 0 to 1 as places in the window."
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    return [
        [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke] for stroke in strokes
    ]


def with_mouse(page, paper, strokes):
    for points in on_page(paper, strokes):
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point)
        page.mouse.up()


def with_finger(page, paper, strokes):
    devtools = page.context.new_cdp_session(page)
    for points in on_page(paper, strokes):
        for i, (x, y) in enumerate(points):
            kind = "touchMove" if i else "touchStart"
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    devtools.detach()
