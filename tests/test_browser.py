"""The pad and every chapter in JupyterLab, in a headless Chromium that a test moves as a person would.

Where no Chromium is found these tests are skipped, and the last line of the run says so."""

import ast
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
from playwright.sync_api import expect
from web import CHROMIUM, chromium, on_page, with_finger, with_mouse

from mnist_nb.handwriting import Prepared, load_reader, looks_drawn, read_prepared
from mnist_nb.sketch import SIDE, draw_strokes, read_drawing, strokes_of

PATIENCE = 90_000  # ms; only a failure waits that long, and the machine may be busy
SETTINGS = {  # cells off screen are rendered, too, and nothing asks for news
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
NOTHING = "Nothing is drawn yet."
PAD = (  # a notebook with nothing else: no chapter is run again for it
    "from mnist_nb.handwriting import load_reader\nfrom mnist_nb.sketch import draw_strokes, sketch_pad",
    "reader = load_reader()\npad = sketch_pad(reader.model, reader)\npad",
    "plain = sketch_pad(reader.model)\nplain",
)
KERNEL = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
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
        self.errors, self.foreign = [], []

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
    with chromium() as browser:
        context = browser.new_context(has_touch=True, viewport={"width": 1400, "height": 1000})
        context.set_default_timeout(PATIENCE)
        context.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), watch.refuse)
        page = context.new_page()
        page.on("pageerror", watch.complain)
        page.goto(f"{lab}/lab/tree/pad.ipynb?reset&token=pad", wait_until="domcontentloaded")
        run_all(page)
        yield page


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
    "The pad with a reader, clean; below it stands one without."
    return clean(page.locator(".mnist-view").first)


def clean(pad):
    pad.get_by_role("button", name="Clear").click()
    says(pad, NOTHING)
    return pad


@pytest.fixture
def paper(pad):
    return pad.locator(".paper")


def says(pad, text):
    "Wait for that; the page's text and that for screen readers agree."
    expect(pad.locator(".reading")).to_have_text(text)
    expect(pad.get_by_role("status")).to_have_text(text)


def reads(pad, digit):
    "Wait until the page says that digit."
    says(pad, re.compile(rf"^Reads {digit} \(\d+%\)"))
    expect(pad.locator(".bars tr").nth(digit)).to_have_class("first")


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
    pad.get_by_role("button", name="conv3, map 5").press("Enter")
    pad.locator(".enlarged").press("ArrowLeft")
    for key in ("d", "d", "x", "a"):
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
    assert pad.locator(".bars td:last-child").all_inner_texts() == ["0%"] * 10


def test_the_first_stroke_replaces_the_three_with_which_a_pad_opens(page, paper):
    plain = page.locator(".mnist-view").last
    reads(plain, 3)
    assert from_kernel(page, "plain.pixels") == "b''"  # nobody has drawn it
    with_mouse(page, plain.locator(".paper"), strokes_of(1))
    reads(plain, 1)
    plain.get_by_role("button", name="Undo").click()
    reads(plain, 3)
    assert from_kernel(page, "plain.pixels") == "b''"  # it is a sample again
    with_mouse(page, plain.locator(".paper"), strokes_of(7))
    reads(plain, 7)


PIXELS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [...data].filter((_, i) => i % 4 == 0);
}"""


def test_everything_answers_while_the_pen_is_down(page, pad, paper):
    (points,) = on_page(paper, strokes_of(3))
    maps = pad.locator(".maps canvas")
    brightest = lambda: maps.evaluate_all(f"all => all.map(canvas => Math.max(...({PIXELS})(canvas)))")  # noqa: E731
    assert set(brightest()) == {0}
    page.mouse.move(*points[0])
    page.mouse.down()
    seen = set()
    for i, point in enumerate(points[1:], 1):
        page.mouse.move(*point)
        if i % 12 == 0:
            expect(pad.locator(".reading")).to_have_text(re.compile("^(Reads|Refuses)"))
            seen.add(pad.locator(".bars").inner_text() + pad.locator(".detail").inner_text())
    assert len(seen) >= 3
    layers, features = brightest()[:-32], brightest()[-32:]
    assert len(layers) == 8 + 4 * 16 + 32 and layers.count(255) >= 6 and max(features) == 255
    expect(pad.get_by_role("status")).to_have_text(NOTHING)  # screen readers are told when the pen is up
    page.mouse.up()
    reads(pad, 3)


def test_the_page_draws_as_the_chapter_does(page, pad, paper):
    with_mouse(page, paper, strokes_of(5))
    reads(pad, 5)
    pixels = torch.frombuffer(bytearray(ast.literal_eval(from_kernel(page, "pad.pixels"))), dtype=torch.uint8)
    by_hand = draw_strokes(strokes_of(5)).float()
    assert (pixels.view(SIDE, SIDE) - by_hand).abs().mean() < 0.5 < by_hand.mean() / 50  # of 255


READER = load_reader()


def in_python(pixels: bytes):
    "What chapters 07 and 08 make of the ink: the reading, and the plain answer."
    ink = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(SIDE, SIDE)
    answer = read_drawing(READER.model, ink)
    return read_prepared([Prepared(answer.seen, looks_drawn((ink > 51).numpy()))], READER)[0], answer


@pytest.mark.parametrize("drawing", ["a two", "two dots"])
def test_what_a_pad_says_is_what_python_makes_of_the_pixels_that_arrive(page, pad, drawing):
    strokes = strokes_of(2) if drawing == "a two" else [[(0.1, 0.1)], [(0.9, 0.9)]]
    plain = clean(page.locator(".mnist-view").last)
    for view in (pad, plain):
        with_mouse(page, view.locator(".paper"), strokes)
    pixels = [ast.literal_eval(from_kernel(page, f"{name}.pixels")) for name in ("pad", "plain")]
    assert len(pixels[0]) == SIDE * SIDE and any(pixels[0])
    reading, answer = in_python(pixels[0])
    assert (drawing == "two dots") == (reading.digit is None)
    refusal = "Refuses: not like strokes of a pen. Most like "
    says(pad, re.compile("^" + (refusal if reading.digit is None else f"Reads {reading.digit} ")))
    shown(pad, reading.probabilities)
    answer = in_python(pixels[1])[1]
    says(plain, re.compile(f"^Reads {answer.probabilities.argmax()} "))  # it has no reader, and never refuses
    shown(plain, answer.probabilities)
    seen = torch.tensor(plain.locator(".seen").evaluate(PIXELS)).view(28, 28)
    assert (seen - answer.seen).abs().max() <= 1  # where a half is rounded


def shown(pad, probabilities):
    "The bars are those probabilities."
    wide = pad.locator(".bars td div").evaluate_all("bars => bars.map(bar => parseFloat(bar.style.width))")
    torch.testing.assert_close(torch.tensor(wide) / 100, probabilities, atol=1e-3, rtol=0)


def test_a_pixel_opens_into_the_sum_that_pytorch_computes(page, pad, paper):
    with_mouse(page, paper, strokes_of(8))
    answer = in_python(ast.literal_eval(from_kernel(page, "pad.pixels")))[1]
    sums = READER.model.blocks.conv3.conv(answer.maps["conv2"][None])[0, 5]
    pad.get_by_role("button", name="conv3, map 5", exact=True).click()  # it opens at its brightest pixel
    for key in ("ArrowLeft", "ArrowUp", "ArrowUp"):
        pad.locator(".enlarged").press(key)
        title, words = pad.locator(".detail h3").inner_text(), pad.locator(".sentence").inner_text()
        row, column = map(int, re.fullmatch(r"conv3, map 5, row (\d+), column (\d+)", title).groups())
        assert f"add up to {sums[row, column]:.2f}".replace("-", "\u2212") in words
        assert words.endswith(f"The pixel is {answer.maps['conv3'][5, row, column]:.2f}.")
        expect(pad.get_by_role("status")).to_have_text(f"{title}: {words}")
    box = pad.locator(".enlarged").bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 1)  # the mouse shows another in passing
    expect(pad.locator(".detail h3")).to_have_text("conv3, map 5, row 0, column 0")
    page.mouse.move(box["x"] - 9, box["y"] - 9)
    expect(pad.locator(".detail h3")).to_have_text(title)


def test_everything_has_a_name(page, pad, paper):
    assert pad.get_attribute("aria-label") == "Digit pad"
    expect(paper).to_have_accessible_name(re.compile("Drawing area.*Space.*Backspace.*Delete"))
    with_mouse(page, paper, strokes_of(0))
    reads(pad, 0)
    parts = pad.locator("button, canvas:not([aria-hidden]), [role=group]").all()
    assert len(parts) > 8 + 4 * 16 + 2 * 32 + 10 + 10 and all(part.is_visible() for part in parts)
    for part in parts:
        expect(part).to_have_accessible_name(re.compile(r"\w"))
    expect(pad.get_by_role("group", name="conv1: 8 maps of 14×14")).to_have_count(1)
    expect(pad.get_by_role("status")).to_have_count(1)


def test_pixels_from_the_kernel_appear_on_the_pad(page, pad, paper):
    in_kernel(page, f"pad.pixels = draw_strokes({strokes_of(6)!r}).numpy().tobytes()")
    reads(pad, 6)
    assert max(paper.evaluate(PIXELS)) == 255
    with_mouse(page, paper, [[(0.5, 0.5), (0.52, 0.52)]])
    pad.get_by_role("button", name="Undo").click()
    reads(pad, 6)
    in_kernel(page, "pad.pixels = b''")
    says(pad, NOTHING)


def in_kernel(page, code):
    "Run code in the notebook's kernel."
    run = f"code => {KERNEL}.requestExecute({{ code }}).done.then(reply => reply.content.status)"
    assert page.evaluate(run, code) == "ok"


def from_kernel(page, expression):
    "The value of an expression in the notebook's kernel, as text, once all earlier messages have arrived."
    ask = f"asked => {KERNEL}.requestExecute({{ code: '', user_expressions: {{ asked }} }}).done"
    reply = page.evaluate(f"{ask}.then(reply => reply.content.user_expressions)", expression)
    return reply["asked"]["data"]["text/plain"]


def test_the_pad_answers_while_the_kernel_is_busy_and_after_it_was_killed(page, pad, paper, watch, tmp_path):
    wait = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)"
    page.evaluate(f"code => void {KERNEL}.requestExecute({{ code }})", wait)
    page.wait_for_function(f"{KERNEL}.status === 'busy'")
    with_mouse(page, paper, strokes_of(9))
    reads(pad, 9)
    assert page.evaluate(f"{KERNEL}.status") == "busy"
    (tmp_path / "go").touch()
    assert in_python(ast.literal_eval(from_kernel(page, "pad.pixels")))[0].digit == 9  # told when it had time
    page.evaluate(f"code => void {KERNEL}.requestExecute({{ code }})", "os.kill(os.getpid(), 9)")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    pad.get_by_role("button", name="Clear").click()
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
