"""The live page in Chromium: what it computes equals what Python computes, and everybody can use it.

`make site-check` takes all 10,000 test images, and says how quick the page is."""

import base64
import json
import math
import random
import re
import shutil
import statistics
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from conftest import ROOT
from playwright.sync_api import expect
from safetensors.torch import load_file, save
from web import BASE, CHROMIUM, Watch, chromium, load_builder, served, violations, with_finger, with_mouse

from mnist_nb.data import center_digit, to_input
from mnist_nb.experiments.variants import Variant
from mnist_nb.export import export_bin, fold, pack, rounded, unfold, unpack
from mnist_nb.handwriting import Prepared, load_reader, looks_drawn, read_digit, read_prepared
from mnist_nb.model import (
    DigitNet,
    load_pretrained,
    load_weights,
    predict_logits,
    pretrained_path,
    save_weights,
)
from mnist_nb.sketch import draw_strokes, read_drawing, strokes_of
from mnist_nb.support import InputError

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
SIDE = 140
RECORD = """
  window.sheets = []; // every canvas on which ink is drawn
  window.OffscreenCanvas = class extends OffscreenCanvas {
    constructor(...sides) { super(...sides); sheets.push(this); }
  };
  requestAnimationFrame(function look() { // when the first maps are there
    const maps = [...document.querySelectorAll(".layers canvas")];
    const seen = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const drawn = maps.some((canvas) => seen(canvas).some((value, i) => i % 4 < 3 && value));
    if (drawn) window.firstMaps = performance.now();
    else requestAnimationFrame(look);
  });
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    "The live page alone."
    builder = load_builder(tmp_path_factory.mktemp("live"))
    builder.front_door()
    return builder.SITE


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    "Open the live page in a context of its own; at the end nothing may have gone wrong in any."
    opened = []

    def visit(**options):
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
        context.add_init_script(RECORD)
        opened.append((context, Watch(context)))
        page = context.new_page()
        page.watch = opened[-1][1]
        page.goto(address)
        expect(page.locator(".reading")).to_have_text(re.compile("^Reads 3"))
        return page

    yield visit
    for context, watch in opened:
        context.close()
        assert watch.complaints() == []


@pytest.fixture
def page(visit):
    return visit()


def pixels(canvases) -> torch.Tensor:
    "The grey levels of some canvases of one size, uint8 [N, side, side]."
    code = """canvases => canvases.map(canvas => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return [...data].filter((_, i) => i % 4 === 0);
    })"""
    levels = torch.tensor(canvases.evaluate_all(code), dtype=torch.uint8)
    return levels.view(len(levels), math.isqrt(levels.shape[1]), -1)


def ink_of(page) -> torch.Tensor:
    "What is drawn, uint8 [SIDE, SIDE]."
    code = "[...sheets[0].getContext('2d').getImageData(0, 0, 140, 140).data].filter((_, i) => i % 4 === 0)"
    return torch.tensor(page.evaluate(code), dtype=torch.uint8).view(SIDE, SIDE)


def shares(page) -> torch.Tensor:
    "The ten probabilities, as the bars show them."
    widths = page.locator(".bars td div").evaluate_all(
        "bars => bars.map(bar => parseFloat(bar.style.width) / 100)"
    )
    return torch.tensor(widths)


def says(page, text):
    "Shown and said alike."
    expect(page.locator(".reading")).to_have_text(text)
    expect(page.locator(".mnist-view [role=status]")).to_have_text(text)


def python_reads(ink: torch.Tensor, reader):
    "What the package makes of the same ink, centred and looked at as the chapter on the pad does it."
    seen, drawn = center_digit(ink).round().to(torch.uint8), looks_drawn((ink > 51).numpy())
    return read_prepared([Prepared(seen, drawn)], reader)[0]


RUN_ALL = """async (packed) => {
  const { readNetwork, runNetwork } = await import("./network.js");
  const network = readNetwork(await (await fetch("default.safetensors")).arrayBuffer());
  const images = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0)), logits = [], times = [];
  for (let at = 0; at < images.length; at += 784) {
    const start = performance.now();
    logits.push([...runNetwork(network, images.subarray(at, at + 784)).logits]);
    times.push(performance.now() - start);
  }
  return { logits, times };
}"""


def test_every_test_image_gets_the_logits_of_pytorch(page, data, whole, record_property):
    images = data.test.images if whole else data.test.images[:500]
    theirs, logits, times = predict_logits(load_pretrained(), images), [], []
    for part in images.split(1000):
        done = page.evaluate(RUN_ALL, base64.b64encode(part.numpy().tobytes()).decode())
        logits, times = logits + done["logits"], times + done["times"]
    ours = torch.tensor(logits)
    median, worst = statistics.median(times), (ours - theirs).abs().max().item()
    record_property(
        f"logits of {len(images):,} test images ({data.name})", f"{worst:.1e} away at most (allowed 1e-4)"
    )
    record_property("a forward pass with all maps, median", f"{median:.1f} ms (allowed 10)")
    assert len(ours) == len(images) and torch.equal(ours.argmax(1), theirs.argmax(1)) and worst < 1e-4
    assert median < 10 or not whole  # beside other tests it may take longer


def test_every_map_on_the_page_is_that_of_pytorch(page):
    for digit in (3, 8):
        page.get_by_role("button", name=f"Draw a {digit}").click()
        answer = read_drawing(load_pretrained(), ink_of(page))
        assert torch.equal(pixels(page.locator(".seen"))[0], answer.seen)
        for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6", "features"):
            maps = answer.maps[name]
            shown = pixels(page.locator(f".layers [role=group][aria-label^='{name}:'] canvas"))
            assert shown.shape == maps.shape
            assert (shown - 255 * maps / maps.max()).abs().max() <= 0.51  # rounded to a grey level


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d\d", text.replace("−", "-"))]


@pytest.mark.parametrize("layer, channel", [(1, 2), (3, 5), (6, 30)])
def test_a_pixel_of_a_map_is_explained_with_pytorchs_numbers(page, layer, channel):
    page.get_by_role("button", name=f"conv{layer}, map {channel}", exact=True).click()
    model, place = load_pretrained(), (4, 5)
    side = 14 if layer < 5 else 7
    enlarged = page.locator(".enlarged")
    box = enlarged.bounding_box()
    where = {"x": (place[1] + 0.5) * box["width"] / side, "y": (place[0] + 0.5) * box["height"] / side}
    enlarged.click(position=where)
    title = f"conv{layer}, map {channel}, row {place[0]}, column {place[1]}"
    expect(page.locator(".detail h3")).to_have_text(title)
    x = (to_input(pixels(page.locator(".seen"))) - model.mean) / model.std
    for name, block in model.blocks.named_children():
        if name == f"conv{layer}":
            break
        x = block(x)
    sums, norm = block.conv(x), block.norm
    pooled, at = block.pool(sums), (0, channel, *place)
    scale = norm.weight[channel] / (norm.running_var[channel] + norm.eps).sqrt()
    shift = norm.bias[channel] - norm.running_mean[channel] * scale
    wanted = [pooled[at], pooled[at], scale, shift, norm(pooled)[at], block(x)[at]]
    wanted[5:5] = [x[at]] if block.skip else []
    found = numbers(page.locator(".sentence").inner_text())
    assert found == pytest.approx([value.item() for value in wanted], abs=0.0051)
    expect(page.locator(".mnist-view > [role=status]")).to_contain_text(title)  # for those who hear the page
    window, weights, products = page.locator(".nine").all_inner_texts()
    source = int((re.findall(r"window on map (\d+)", window) or [0])[0])
    own = block.conv.weight[channel, source].flatten()
    assert numbers(weights) == pytest.approx(own.tolist(), abs=0.0051)
    if block.skip:  # without pooling the window stands around the pixel itself
        around = torch.nn.functional.pad(x, (1, 1, 1, 1))[0, source]
        around = around[place[0] : place[0] + 3, place[1] : place[1] + 3].flatten()
        assert numbers(window) == pytest.approx(around.tolist(), abs=0.0051)
        total, *nine = numbers(products)  # the caption comes first
        assert nine == pytest.approx((around * own).tolist(), abs=0.0051)
        assert total == pytest.approx((around @ own).item(), abs=0.0051)


def test_features_and_scores_are_explained_with_pytorchs_numbers(page):
    model = load_pretrained()
    seen = pixels(page.locator(".seen"))
    maps, features = model.blocks((to_input(seen) - model.mean) / model.std), model.features(to_input(seen))
    page.get_by_role("button", name="features, feature 9").click()
    wanted = [maps[0, 9].mean().item(), maps[0, 9].max().item(), features[0, 9].item()]
    assert numbers(page.locator(".sentence").inner_text()) == pytest.approx(wanted, abs=0.0051)
    page.locator(".bars button").nth(8).click()
    expect(page.locator(".detail h3")).to_have_text("the score of 8")
    score, temperature = predict_logits(model, seen)[0, 8].item(), load_reader().temperature
    assert numbers(page.locator(".sentence").inner_text()) == pytest.approx([score, temperature], abs=0.0051)
    shown = [numbers(text)[-1] for text in page.locator(".shares button").all_inner_texts()]
    products = features[0, :, 0, 0] * model.conv7.weight[8, :, 0, 0]
    assert shown == pytest.approx(products.tolist(), abs=0.0051) and len(shown) == 32


def test_the_page_is_small(page, folder, record_property):
    paths = {urlsplit(url).path.removeprefix(BASE) or "index.html" for url, _, _ in page.watch.fetched}
    paths |= {"icon.svg"}  # for the tab; Chromium without a window may leave it out
    size = sum((folder / path).stat().st_size for path in paths)
    record_property("the live page, all its files", f"{size / 1000:.0f} KB in {len(paths)} (allowed 150)")
    assert {"index.html", "network.js", "default.safetensors", "reader.json"} <= paths and size < 150_000
    others = {"widget.js", "card.png", "404.html", ".nojekyll"}  # for other pages
    assert paths == {file.name for file in folder.iterdir()} - others  # nothing is left over


def test_maps_are_there_at_once(visit, whole, record_property):
    times = []
    for _ in range(5 if whole else 1):
        page = visit()
        page.wait_for_function("window.firstMaps")
        times.append(page.evaluate("firstMaps"))
    record_property("from opening to the first maps, slowest", f"{max(times):.0f} ms (allowed 1000)")
    assert max(times) < 1000 or not whole


def turned(strokes, angle: float, scale: float, lean: float, noise: float):
    "The same strokes, leaning, turned around the middle, smaller, with a trembling hand, in fewer points."
    draw = random.Random(f"{angle} {scale} {lean} {noise}")
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))

    def turn(x: float, y: float) -> tuple[float, float]:
        x, y = x - 0.5 + lean * (0.5 - y), y - 0.5
        return 0.5 + cos * x - sin * y + draw.gauss(0, noise), 0.5 + sin * x + cos * y + draw.gauss(0, noise)

    def few(stroke):
        kept = stroke[:1]
        for point in stroke[1:-1]:
            kept += [point] if math.dist(point, kept[-1]) > 0.1 else []
        return [*kept, stroke[-1]]

    return [[turn(*point) for point in few(stroke)] for stroke in strokes]


SEVEN, ONE = [(0.26, 0.17), (0.74, 0.17), (0.44, 0.86)], [(0.36, 0.3), (0.52, 0.14), (0.5, 0.86)]
FOUR = [(0.68, 0.62), (0.26, 0.62), (0.56, 0.14), (0.56, 0.88)]
DRAWN = {  # as several people might
    **{f"{digit}, small, to the right": turned(strokes_of(digit), 8, 0.6, 0, 0.002) for digit in range(10)},
    **{f"{digit}, leaning": turned(strokes_of(digit), -4, 0.9, 0.25, 0.006) for digit in range(10)},
    "7 with a bar": [SEVEN, [(0.42, 0.5), (0.72, 0.5)]],
    "1 with a foot": [ONE, [(0.34, 0.86), (0.66, 0.86)]],
    "4 in one stroke": [FOUR],
}
# All but the star are refused, by their strokes or by their distance to every digit. None is symmetric:
# there the middle falls between two pixels, and the last bit of a sum would decide.
SCRIBBLES = {
    "a grid": [[(x, 0.1), (x, 0.88)] for x in (0.2, 0.5, 0.77)]
    + [[(0.1, y), (0.9, y)] for y in (0.2, 0.5, 0.82)],
    "a star": [[(0.5 + 0.4 * math.sin(2.51 * i), 0.5 - 0.4 * math.cos(2.51 * i)) for i in range(6)]],
    "a wave": [[(0.05 + 0.0225 * i, 0.5 + 0.42 * math.sin(i / 2)) for i in range(41)]],
    "an E": [[(0.8, 0.1), (0.2, 0.1), (0.2, 0.9), (0.8, 0.9)], [(0.2, 0.5), (0.7, 0.5)]],
    "bars": [[(x, 0.1), (x, 0.87)] for x in (0.1, 0.3, 0.5, 0.7, 0.88)],
    "dots": [[(x, y)] for x in (0.1, 0.4, 0.9) for y in (0.1, 0.3, 0.6, 0.9)],
}
REFUSED = SCRIBBLES.keys() - {"a star"}
REFUSALS = {  # what Python remarks, as the page says it
    "not drawn with a pen": "Refuses: not like strokes of a pen. Most like ",
    "does not look like a digit": "Refuses: not like a digit. Most like ",
}


@pytest.fixture(scope="module")
def reader():
    return load_reader()


def test_ink_is_that_of_draw_strokes(visit):
    "Computed, and never read back from a canvas: Firefox and Brave may add noise to what they give back."
    page = visit()
    for digit in range(10):
        page.get_by_role("button", name=f"Draw a {digit}").click()
        assert (ink_of(page).int() - draw_strokes(strokes_of(digit)).int()).abs().max() <= 1
    for file in (ROOT / "mnist_nb" / "web").glob("*.js"):
        assert "getImageData" not in file.read_text(encoding="utf-8"), file.name


@pytest.mark.parametrize("hand", [with_mouse, with_finger], ids=["mouse", "finger"])
def test_page_and_python_read_the_same_ink_alike(visit, reader, hand, whole, record_property):
    "Of the digits also `read_digit`, which looks for the ink in another way, must say the same."
    page = visit(has_touch=hand is with_finger)
    paper, away = page.locator(".paper"), []
    paper.scroll_into_view_if_needed()
    place = paper.bounding_box()
    drawings = [*(DRAWN | SCRIBBLES).items()][hand is with_finger :: 2 if whole else 4]
    for name, strokes in drawings:
        page.get_by_role("button", name="Clear").click()
        says(page, "Nothing is drawn yet.")
        hand(page, paper, strokes)
        ink = ink_of(page)
        mine = python_reads(ink, reader)
        answer = f"Reads {mine.digit} " if mine.digit is not None else REFUSALS[mine.remark]
        says(page, re.compile(f"^{answer}"))
        assert paper.bounding_box() == place, name  # no sentence moves it
        away.append((shares(page) - mine.probabilities).abs().max().item())
        assert (mine.digit is None) == (name in REFUSED), name
        if name in DRAWN:
            assert mine.digit == read_digit(ink, reader).digit == int(name[0]), name
    record_property(
        f"probabilities of {len(drawings)} drawings, {hand.__name__}", f"{max(away):.1e} away at most"
    )
    assert max(away) < 1e-3


# A network of one's own


def drop(page, file: Path):
    "Let a file fall on the page."
    packed = base64.b64encode(file.read_bytes()).decode()
    code = """([packed, name]) => {
      const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
      const files = new DataTransfer();
      files.items.add(new File([bytes], name));
      document.querySelector("h1").dispatchEvent(
        new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(code, [packed, file.name])


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    "A network as `mnist-nb train` saves it, which pools elsewhere than the shipped one."
    torch.manual_seed(0)
    model = DigitNet(dropout=0.2, pool_after=2)
    model.train()(torch.rand(64, 1, 28, 28))  # so that its norms have seen something
    for block in model.blocks.children():
        if hasattr(block, "norm"):
            torch.nn.init.normal_(block.norm.weight, 1, 0.3)
            torch.nn.init.normal_(block.norm.bias, 0, 0.3)
    path = tmp_path_factory.mktemp("own") / "model.safetensors"
    save_weights(model, path, {"recipe": None})
    return path


def choose(page, file: Path):
    with page.expect_file_chooser() as chooser:
        page.locator("#file").click()
    chooser.value.set_files(file)


@pytest.mark.parametrize("bring", [drop, choose])
def test_a_network_of_ones_own_answers_as_in_python_and_never_refuses(page, own, bring):
    bring(page, own)
    which, model = page.locator("#which"), load_weights(own)[0]
    expect(which).to_have_text(
        re.compile("^model.safetensors is at work.* plain probabilities, and never refuses")
    )
    assert (
        page.locator(".layers [aria-label^='conv3:']").get_attribute("aria-label") == "conv3: 16 maps of 7×7"
    )
    for strokes in (strokes_of(2), SCRIBBLES["an E"]):
        page.get_by_role("button", name="Clear").click()
        with_mouse(page, page.locator(".paper"), strokes)
        plain = read_drawing(model, ink_of(page)).probabilities
        assert (shares(page) - plain).abs().max() < 1e-4
        says(page, re.compile(f"^Reads {plain.argmax()} "))
    page.get_by_role("button", name="Back to the shipped network").click()
    expect(which).to_have_text(re.compile("^The shipped network is at work. It refuses"))
    says(page, re.compile("^Refuses"))
    expect(page.locator("#back")).to_be_hidden()
    expect(page.locator("#file")).to_be_focused()
    assert page.locator("#file").input_value() == ""  # it names no network that is gone
    bring(page, own)  # the same file once more
    expect(which).to_have_text(re.compile("^model.safetensors is at work"))


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_a_packed_network_answers_as_in_python(page, own, data, tmp_path, bits):
    export_bin(load_weights(own)[0], tmp_path / "model.bin", data.test.images[:10], bits)
    drop(page, tmp_path / "model.bin")
    expect(page.locator("#which")).to_have_text(re.compile("^model.bin is at work"))
    with_mouse(page, page.locator(".paper"), strokes_of(2))
    model = unfold(unpack((tmp_path / "model.bin").read_bytes()))
    assert (shares(page) - read_drawing(model, ink_of(page)).probabilities).abs().max() < 1e-4


def test_the_sums_of_a_packed_network_are_shown_in_numbers_that_add_up(page, data, tmp_path):
    def numbers():
        page.get_by_role("button", name="conv3, map 4", exact=True).click()
        title, text = page.locator(".detail h3").inner_text(), page.locator(".sentence").inner_text()
        return title, [float(n.replace("−", "-")) for n in re.findall(r"−?\d+\.\d\d", text)]

    export_bin(load_pretrained(), tmp_path / "model.bin", data.test.images[:10], 8)
    title, before = numbers()
    drop(page, tmp_path / "model.bin")
    expect(page.locator("#which")).to_have_text(re.compile("^model.bin is at work"))
    again, after = numbers()
    (total, again_total, scale, shift, normed), (_, _, old_scale, _, old_normed) = after[:5], before[:5]
    assert title == again and total == again_total and abs(scale) == 1
    assert total * scale + shift == pytest.approx(normed, abs=0.02)
    assert normed == pytest.approx(old_normed, abs=0.3) and abs(old_scale) > 0.05


def test_damaged_packed_networks_are_refused_in_one_sentence(page, tmp_path):
    good, which = pack(rounded(fold(load_pretrained()), 3)), page.locator("#which")

    def signed(place: int, *new: int) -> bytes:  # with other bytes from there on, and the right checksum
        content = good[8:place] + bytes(new) + good[place + len(new) :]
        return good[:4] + zlib.crc32(content).to_bytes(4, "little") + content

    contents = {
        "header only": good[:25],
        "short": good[:-1],
        "long": good + b"0",
        "flipped": good[:-1] + bytes([good[-1] ^ 1]),
    }
    contents |= {"version": good[:3] + b"2" + good[4:], "bits": signed(8, 9), "pools": signed(9, 6)}
    contents |= {"channels": signed(12, 8), "infinite": signed(25, 0, 0x7C), "word": b"mnb"}
    for name, content in contents.items():
        with pytest.raises(InputError):
            unpack(content)  # what Python refuses, the page refuses
        (tmp_path / f"{name}.bin").write_bytes(content)
        drop(page, tmp_path / f"{name}.bin")
        expect(which).to_have_text(
            re.compile(f"^{name}.bin: This is no packed network, or a damaged one: [^.]+")
        )


def header(text: bytes, numbers: bytes = b"") -> bytes:
    return len(text).to_bytes(8, "little") + text + numbers


def bad_files(folder: Path) -> list[Path]:
    "Files that are no network which the page can run."
    good, shipped = pretrained_path().read_bytes(), load_file(pretrained_path())
    torch.manual_seed(0)
    variant, broken = Variant(ema_decay=0).make_network(), load_pretrained()
    broken.conv7.weight.data[0, 0] = math.nan
    save_weights(variant, folder / "variant.safetensors", {})
    save_weights(broken, folder / "nan.safetensors", {})
    flipped = load_pretrained()
    flipped.blocks.conv1.norm.running_var[0] *= -1  # one bit; every number is finite
    save_weights(flipped, folder / "flipped.safetensors", {})
    contents = {
        "empty": b"", "short": good[:-500], "header only": good[:4000], "page": b"<!doctype html><p>no</p>",
        "picture": (ROOT / "nbs" / "images" / "index_3_0.png").read_bytes(), "zeros": bytes(5000),
        "huge": (2**62).to_bytes(8, "little") + good[8:],
        "no object": header(b"null"), "list": header(b"[1]"), "no entry": header(b'{"mean": null}'),
        "no JSON": header(b"{weights: yes}"), "no text": header(bytes(range(128, 200))),
        "no facts": save(shipped), "odd facts": save(shipped, {"facts": "[]"}),
        "fewer": save({k: t for k, t in shipped.items() if "conv3" not in k}, {"facts": facts_of(good)}),
        "other shape": save(shipped | {"conv7.weight": torch.zeros(10, 8, 1, 1)}, {"facts": facts_of(good)}),
        "outside": header(b'{"mean": {"dtype": "F32", "shape": [], "data_offsets": [-8, -4]}}'),
    }  # fmt: skip
    for name, content in contents.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    return sorted(folder.iterdir())


def facts_of(weights: bytes) -> str:
    "What a weights file says of its network."
    return json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])["__metadata__"]["facts"]


def test_every_bad_file_is_refused_in_one_sentence_and_the_page_works_on(page, tmp_path):
    which, said = page.locator("#which"), {}
    for file in bad_files(tmp_path):
        with pytest.raises(InputError):
            load_weights(file)  # what Python refuses, the page refuses
        drop(page, file)
        expect(which).to_have_text(re.compile(f"^{file.name}"))
        said[file.stem] = which.inner_text()
    assert all(
        re.fullmatch(r"[^.]+\.safetensors:? [A-Za-z][^\n]{10,200}[.]", text) for text in said.values()
    ), said
    assert "no finite answer" in said["flipped"]
    assert "finite" in said["nan"] and "cut short" in said["short"] and "another network" in said["variant"]
    assert len(said) == 20
    page.get_by_role("button", name="Draw a 6").click()
    says(page, re.compile("^Reads 6"))
    expect(page.locator("#back")).to_be_hidden()  # the shipped network was at work all the time


# For everybody


def test_it_works_without_a_network_once_loaded(page, own):
    page.context.set_offline(True)
    assert page.evaluate("fetch('reader.json?again').then(() => true, () => false)") is False  # it is off
    page.watch.errors.clear()  # Chromium complains of that
    with_mouse(page, page.locator(".paper"), strokes_of(7))
    says(page, re.compile("^Reads 7"))
    page.get_by_role("button", name="conv4, map 3", exact=True).click()
    expect(page.locator(".detail h3")).to_have_text(re.compile("^conv4, map 3, row"))
    drop(page, own)
    expect(page.locator("#which")).to_contain_text("is at work")
    page.locator(".bars button").nth(7).click()
    expect(page.locator(".detail h3")).to_have_text("the score of 7")


def press_until(page, key: str, selector: str):
    "Press a key until what has the focus is of that kind."
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{key} never gets to {selector}")


def test_everything_can_be_done_by_keys_alone(page, own):
    keyboard, title = page.keyboard, page.locator(".detail h3")
    page.on("filechooser", lambda chooser: chooser.set_files(own))
    press_until(page, "Tab", ".paper")
    for key in [*["ArrowUp"] * 7, "Space", *["ArrowDown"] * 14, "Space"]:
        keyboard.press(key)
    says(page, re.compile("^Reads 1"))
    press_until(page, "Tab", "[aria-label='conv1, map 0']")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "Control+ArrowRight", "Enter"):
        keyboard.press(key)  # with Control it is the browser's own
    expect(title).to_have_text(re.compile("^conv1, map 3, row"))
    row, column = map(int, re.findall(r"\d+", title.inner_text())[2:])
    press_until(page, "Tab", ".enlarged")
    keyboard.press("ArrowDown" if row < 13 else "ArrowUp")
    keyboard.press("ArrowLeft" if column else "ArrowRight")
    moved = row + (1 if row < 13 else -1), column + (-1 if column else 1)
    expect(title).to_have_text(f"conv1, map 3, row {moved[0]}, column {moved[1]}")
    press_until(page, "Shift+Tab", ".bars button")
    keyboard.press("Enter")
    expect(title).to_have_text(re.compile("^the score of "))
    press_until(page, "Tab", "#file")
    keyboard.press("Enter")
    expect(page.locator("#which")).to_contain_text("is at work")
    press_until(page, "Tab", "#back")
    keyboard.press("Enter")
    expect(page.locator("#which")).to_contain_text("shipped network is at work")
    expect(page.locator("#file")).to_be_focused()


def test_a_key_draws_no_line_into_a_stroke_of_the_mouse(page):
    paper = page.locator(".paper")
    page.get_by_role("button", name="Clear").click()
    box = paper.bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 80, steps=3)
    before = ink_of(page)
    paper.press("ArrowLeft")
    page.mouse.move(box["x"] + 40, box["y"] + 81)
    assert (ink_of(page)[:, 60:] == 0).all() and (before > 0).any()
    page.mouse.up()


def test_an_empty_pad_is_spoken_of_in_whole_sentences(page):
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="conv4, map 3", exact=True).click()
    said = page.locator(".mnist-view > [role=status]")
    expect(said).to_have_text("Draw something, and its sums are here.")


def test_those_who_hear_the_page_are_told_when_the_pen_is_up(page):
    paper, said = page.locator(".paper"), page.locator(".mnist-view > [role=status]")
    page.get_by_role("button", name="Clear").click()
    says(page, "Nothing is drawn yet.")
    box = paper.bounding_box()
    page.mouse.move(box["x"] + 140, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 240, steps=4)
    expect(page.locator(".reading")).to_have_text(re.compile("^Reads 1"))
    assert said.inner_text() == "Nothing is drawn yet."
    page.mouse.up()
    expect(said).to_have_text(re.compile("^Reads 1"))
    paper.press("ArrowLeft")
    expect(said).to_have_text("Pen at column 9, row 10 of 20.")
    paper.press("Space")
    expect(said).to_have_text("Pen down.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_and_a_narrow_window_is_enough(visit, whole, scheme):
    "In six states, each in light and dark, or without `--whole` in one of them."
    page = visit(color_scheme=scheme, viewport={"width": 360, "height": 740})
    states = [
        "nothing else",
        "conv3, map 2",
        "features, feature 9",
        "3: how its score is computed",
        "an E",
        "",
    ]
    for i, name in enumerate(states):
        if not name:
            page.get_by_role("button", name="Clear").click()
            says(page, "Nothing is drawn yet.")
        elif name == "an E":
            page.get_by_role("button", name="Clear").click()
            with_mouse(page, page.locator(".paper"), SCRIBBLES[name])
            says(page, re.compile("^Refuses"))
        elif i:
            page.get_by_role("button", name=name, exact=True).click()
        if whole or i % 2 == (scheme == "dark"):
            assert violations(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") == 360, name


def test_axe_would_find_a_fault(page):
    page.locator(".seen").evaluate("seen => seen.removeAttribute('aria-label')")
    page.locator("h1").evaluate("title => (title.style.color = '#bbb')")
    assert len(violations(page)) >= 2


def test_a_page_that_misses_its_weights_says_so(browser, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "live")
    (tmp_path / "live" / "default.safetensors").unlink()
    with served(tmp_path / "live") as address:
        page = browser.new_page()
        page.goto(address)
        expect(page.locator("main")).to_contain_text("The network cannot be loaded")
        expect(page.locator("#file")).to_be_disabled()
        (tmp_path / "live" / "maps.js").write_text("let a = ;")  # as what an old browser cannot read
        page.goto(address)
        expect(page.get_by_role("alert")).to_contain_text("The network cannot be loaded")
        (tmp_path / "live" / "maps.js").unlink()
        page.goto(address)
        expect(page.get_by_role("alert")).to_contain_text("The network cannot be loaded")
        page.close()
