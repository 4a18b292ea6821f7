"""The pad and every chapter in JupyterLab, in a headless Chromium that a test moves as a person would.

Where no Chromium is found these tests are skipped, and the last line of the run says so."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
import torch
from conftest import CHAPTERS, ROOT
from kernels import WarmKernels
from playwright.sync_api import expect, sync_playwright

from mnist_nb.data import center_digit
from mnist_nb.sketch import draw_strokes, strokes_of

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PATIENCE = 90_000  # ms; only a failure waits that long, and the machine may be busy
SETTINGS = {  # cells off screen are rendered, too, and nothing asks for news
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
NOTHING = "Nothing is drawn yet."
PAD = (  # a notebook with nothing else: no chapter is run again for it
    "from mnist_nb.model import load_pretrained\nfrom mnist_nb.sketch import draw_strokes, sketch_pad",
    "pad = sketch_pad(load_pretrained())\npad",
)
IDLE = """() => {
  const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
  return kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory, one_thread):
    kernels = WarmKernels(tmp_path_factory.mktemp("kernels"), one_thread)
    yield kernels
    kernels.close()


@pytest.fixture(scope="module")
def lab(kernels, tmp_path_factory, one_thread):
    "The address of a JupyterLab on this machine, with folders of its own and a copy of the chapters."
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "nbs", folder / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    cells = [nbformat.v4.new_code_cell(source) for source in PAD]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}  # else JupyterLab asks for one
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(notebook, folder / "nbs" / "pad.ipynb")
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    own = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")} | {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PATH": str(kernels.folder),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={address.split(':')[-1]}",
    ]
    command += [
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder / 'nbs'}",
        "--IdentityProvider.token=pad",
    ]
    command += ["--expose-app-in-browser", "--LabApp.extension_manager=readonly"]
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=one_thread | own, stdout=log, stderr=log)
    try:
        wait_for(server, f"{address}/api/status?token=pad", folder / "log")
        yield address
    finally:
        server.send_signal(signal.SIGTERM)  # it ends its kernels
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for(server, url, log):
    "Until the server answers."
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE / 1000:
        try:
            return urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())


class Watch:
    "What the page did besides what we asked for."

    def __init__(self):
        self.errors, self.foreign, self.frames = [], [], []

    def complain(self, error):
        "An error of the page; that we close a notebook before its kernel has answered is none."
        if "Canceled future for" not in str(error):
            self.errors.append(str(error))

    def refuse(self, route):
        "No other host is asked; a picture stands for what it would have sent."
        self.foreign.append(route.request.url)
        route.fulfill(
            content_type="image/svg+xml",
            body='<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        )


@pytest.fixture(scope="module")
def watch():
    return Watch()


@pytest.fixture(scope="module")
def page(lab, watch):
    "A page of JupyterLab in which a notebook with the pad is open and has been run."
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(has_touch=True, viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(PATIENCE)
        context.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), watch.refuse)
        page = context.new_page()
        page.on("pageerror", watch.complain)
        page.on(
            "websocket", lambda socket: socket.on("framesent", lambda frame: watch.frames.append(len(frame)))
        )
        page.goto(f"{lab}/lab/tree/pad.ipynb?reset&token=pad", wait_until="domcontentloaded")
        run_all(page)
        yield page
        browser.close()


def run_all(page):
    "Every cell, as Run All Cells of the menu does; it ends when the last cell has its number."
    page.wait_for_function(IDLE)
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
    prompts = page.locator(".jp-CodeCell:has(.cm-content) .jp-InputPrompt")
    expect(prompts.last).to_have_text("[*]:")
    expect(prompts.last).to_have_text(re.compile(r"\[\d+\]:"))
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0


@pytest.fixture
def pad(page):
    "The pad, clean."
    pad = page.locator(".mnist-pad")
    pad.get_by_role("button", name="Clear").click()
    says(pad, NOTHING)
    return pad


@pytest.fixture
def paper(pad):
    return pad.get_by_role("application")


def says(pad, text):
    "Wait for the answer to the last state of the drawing; the page's text and that for screen readers agree."
    expect(pad).to_have_attribute("aria-busy", "false")
    expect(pad.locator(".reading")).to_have_text(text)
    expect(pad.get_by_role("status")).to_have_text(text)


def reads(pad, digit):
    "Wait until the page says that digit."
    says(pad, re.compile(rf"^Reads {digit} \(\d+%\)"))
    row = pad.get_by_role("row", name=re.compile(rf"^{digit} \d+%$"))
    expect(row).to_have_class("first")


def on_page(paper, strokes):
    "Points from 0 to 1 as places in the window."
    paper.scroll_into_view_if_needed()  # running all cells scrolls to the last
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


def with_pen(page, paper, strokes):
    devtools = page.context.new_cdp_session(page)
    for points in on_page(paper, strokes):
        for i, (x, y) in enumerate([*points, points[-1]]):
            kind = "mousePressed" if i == 0 else "mouseReleased" if i == len(points) else "mouseMoved"
            place = {"x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            devtools.send("Input.dispatchMouseEvent", {"type": kind, "pointerType": "pen", **place})


def with_keys(page, paper, text):
    "`U9` is nine times the arrow up; `.` is the space key."
    names = {
        "U": "ArrowUp",
        "D": "ArrowDown",
        "L": "ArrowLeft",
        "R": "ArrowRight",
        "a": "Home",
        "b": "PageUp",
        "c": "End",
        ".": " ",
    }
    paper.focus()
    for name, times in re.findall(r"([A-Za-c.])(\d*)", text):
        for _ in range(int(times or 1)):
            page.keyboard.press(names[name])


@pytest.mark.parametrize("digit", range(10))
def test_a_digit_drawn_with_the_mouse_is_read(page, pad, paper, digit):
    with_mouse(page, paper, strokes_of(digit))
    reads(pad, digit)


@pytest.mark.parametrize("digit", (2, 5, 8))
def test_a_digit_drawn_with_a_finger_is_read_and_the_page_stays(page, pad, paper, digit):
    before = paper.bounding_box()
    with_finger(page, paper, strokes_of(digit))
    reads(pad, digit)
    assert paper.bounding_box() == before


def test_a_digit_drawn_with_a_pen_is_read(page, pad, paper):
    with_pen(page, paper, strokes_of(3))
    reads(pad, 3)


@pytest.mark.parametrize(
    "digit, keys", {0: "U7.R2D2D10L2L2U10U2R2", 1: "U7.D14", 4: "U7L3.D7R7.U7.D14", 7: "U7L4.R8c7D"}.items()
)
def test_a_digit_drawn_with_the_keyboard_is_read(page, pad, paper, digit, keys):
    with_keys(page, paper, keys + ".")
    reads(pad, digit)


def test_keys_on_the_pad_do_nothing_to_the_notebook(page, pad, paper):
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    where = "jupyterapp.shell.currentWidget.content.activeCellIndex"
    before = page.evaluate(where)
    with_keys(page, paper, "D3")
    for key in ("d", "d", "x", "a", "Backspace", "Delete", "Control+z"):
        page.keyboard.press(key)
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells and page.evaluate(where) == before


def test_undo_and_clear_with_buttons_and_keys(page, pad, paper):
    undo, clear = (pad.get_by_role("button", name=name) for name in ("Undo", "Clear"))
    with_mouse(page, paper, strokes_of(1))
    reads(pad, 1)
    one = pad.locator(".reading").inner_text()
    with_mouse(page, paper, [[(0.2, 0.5), (0.8, 0.5)], [(0.2, 0.8), (0.8, 0.8)]])
    expect(pad.locator(".reading")).not_to_have_text(one)
    undo.click()
    undo.click()
    says(pad, one)
    clear.click()
    says(pad, NOTHING)
    undo.click()  # a clear can be undone, too
    says(pad, one)
    paper.focus()
    page.keyboard.press("Backspace")
    says(pad, NOTHING)
    with_mouse(page, paper, strokes_of(7))
    reads(pad, 7)
    page.keyboard.press("Delete")
    says(pad, NOTHING)
    expect(pad.get_by_role("row", name=re.compile("^[0-9] 0%$"))).to_have_count(10)


PIXELS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, i) => i % 4 == 0);
}"""


def test_everything_answers_while_the_pen_is_down(page, pad, paper):
    (points,) = on_page(paper, strokes_of(3))
    maps = pad.locator(".maps")
    assert not any(max(canvas.evaluate(PIXELS)) for canvas in maps.all())
    page.mouse.move(*points[0])
    page.mouse.down()
    seen = set()
    for i, point in enumerate(points[1:], 1):
        page.mouse.move(*point)
        if i % 12 == 0:
            expect(pad.locator(".reading")).to_have_text(re.compile("^Reads"))
            seen.add(pad.locator("table").inner_text())
    assert len(seen) >= 3 and maps.count() == 8
    assert all(max(canvas.evaluate(PIXELS)) == 255 for canvas in maps.all())
    expect(pad.get_by_role("status")).to_have_text(NOTHING)  # screen readers are told when the pen is up
    page.mouse.up()
    reads(pad, 3)


def test_the_page_draws_as_the_chapter_does(page, pad, paper):
    with_mouse(page, paper, strokes_of(5))
    reads(pad, 5)
    seen = torch.tensor(pad.locator(".seen").evaluate(PIXELS)).view(28, 28)
    by_hand = center_digit(draw_strokes(strokes_of(5)))
    assert (seen - by_hand).abs().mean() < 6 < by_hand.mean()  # of 255; the page's edges are its own


def test_everything_has_a_name(pad):
    assert pad.get_attribute("aria-label") == "Digit pad"
    expect(pad.get_by_role("application")).to_have_accessible_name(
        re.compile("Drawing area.*Space.*Backspace.*Delete")
    )
    pictures = [canvas.get_attribute("aria-label") for canvas in pad.get_by_role("img").all()]
    assert pictures[0] == "The drawing as the network sees it" and pictures[1] == "conv1: 8 maps of 14×14"
    assert len(pictures) == 9 == len(set(pictures))
    expect(pad.get_by_role("status")).to_have_text(NOTHING)
    assert pad.locator("canvas").count() == 10  # the paper and the nine pictures, each with a name


def test_pixels_from_the_kernel_appear_on_the_pad(page, pad, paper):
    in_kernel(page, f"pad.pixels = draw_strokes({strokes_of(6)!r}).numpy().tobytes()")
    reads(pad, 6)
    assert max(paper.evaluate(PIXELS)) == 255
    with_mouse(page, paper, [[(0.5, 0.5), (0.52, 0.52)]])
    pad.get_by_role("button", name="Undo").click()
    reads(pad, 6)


def in_kernel(page, code):
    "Run code in the notebook's kernel."
    kernel = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    assert (
        page.evaluate(
            f"code => {kernel}.requestExecute({{ code }}).done.then(reply => reply.content.status)", code
        )
        == "ok"
    )


def test_a_kernel_that_answers_late_gets_the_newest_drawing_only(page, pad, paper, watch, tmp_path):
    wait = f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)"
    in_kernel(page, f"import os, time\ndef hold(change):\n    {wait}\npad.observe(hold, 'pixels')")
    before = len(watch.frames)
    with_mouse(page, paper, strokes_of(2))
    pad.get_by_role("button", name="Clear").click()
    with_mouse(page, paper, strokes_of(9))
    expect(pad.locator(".reading")).to_have_text(re.compile("^The kernel has not answered yet"))
    (tmp_path / "go").touch()
    reads(pad, 9)
    drawings = [size for size in watch.frames[before:] if size > 140 * 140]
    assert 2 <= len(drawings) <= 3  # the first point, the last state, and at most one between, out of dozens


def test_after_a_restart_the_pad_says_so_and_a_new_run_brings_it_back(page, pad, paper, watch):
    page.evaluate("void jupyterapp.commands.execute('kernelmenu:restart')")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_function(IDLE)
    with_mouse(page, paper, strokes_of(4))
    expect(pad.locator(".reading")).to_have_text(re.compile("If it was restarted, run this cell again"))
    run_all(page)
    expect(pad.locator(".reading")).to_have_text(NOTHING)
    with_mouse(page, paper, strokes_of(4))
    reads(pad, 4)
    assert watch.errors == []


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_renders_without_an_error(page, watch, chapter):
    notebook = nbformat.read(chapter, 4)
    watch.errors.clear()
    watch.foreign.clear()
    path = chapter.relative_to(ROOT / "nbs").as_posix()
    page.evaluate("void jupyterapp.shell.currentWidget?.dispose()")
    page.evaluate(
        "path => void jupyterapp.commands.execute('docmanager:open', { path, factory: 'Notebook' })", path
    )
    page.wait_for_function("path => jupyterapp.shell.currentWidget?.context?.path === path", arg=path)
    page.wait_for_function(IDLE)
    panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    kinds = [cell.cell_type for cell in notebook.cells]
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    expect(panel.locator(".jp-CodeCell")).to_have_count(kinds.count("code"))
    expect(panel.locator(".jp-MarkdownCell .jp-RenderedMarkdown")).to_have_count(kinds.count("markdown"))
    expect(panel.locator(".jp-OutputArea-output")).to_have_count(len(outputs))
    expect(panel.locator(".jp-OutputArea-output img[src^='data:image/png']")).to_have_count(
        sum("image/png" in o.get("data", {}) for o in outputs)
    )
    page.wait_for_function(
        "[...document.querySelectorAll('.jp-Notebook img')].every(i => i.complete && i.naturalWidth > 0)"
    )
    assert (
        panel.locator(
            '[data-mime-type="application/vnd.jupyter.error"], mjx-merror, .jupyter-widgets'
        ).count()
        == 0
    )
    assert watch.foreign == [] and watch.errors == []
    if chapter.parent.name != "appendix":
        page.evaluate("document.querySelector('.jp-WindowedPanel-outer, .jp-Notebook').scrollTop = 0")
        lower_edge = panel.bounding_box()
        picture = panel.locator(".jp-OutputArea-output img").first.bounding_box()
        assert picture["y"] + picture["height"] <= lower_edge["y"] + lower_edge["height"]
