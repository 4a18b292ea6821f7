"""Reading pictures: what is refused, what must be read rightly, and the command `predict`."""

import gc
import io
import json
import runpy
import struct
import time
import zlib

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, is_one_sentence
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.covariance import EmpiricalCovariance

from mnist_nb.data import LabelledImages, hold_out
from mnist_nb.experiments.reading import calibrate, few_pixels, write_reader
from mnist_nb.handwriting import (
    LARGEST,
    PAGE,
    SMALLEST,
    THICK,
    THIN,
    TINY,
    Prepared,
    brushed,
    check_size,
    class_statistics,
    dark_on_light,
    digit_pieces,
    distances,
    exact_paper,
    extent,
    find_ink,
    find_strokes,
    fit_reader,
    from_array,
    ink_depth,
    is_stray,
    load_reader,
    looks_drawn,
    pen_width,
    prepare,
    read_digit,
    read_page,
    read_prepared,
    tiny_ink,
    usual_pen,
)
from mnist_nb.interpret import embed
from mnist_nb.model import load_pretrained, load_weights, predict_logits, pretrained_path, save_weights
from mnist_nb.photographs import (
    TROUBLES,
    by_hand,
    chalk,
    draw,
    empty_pages,
    filled_shapes,
    noise_pages,
    photograph,
    scenes,
    sheet_on_table,
)
from mnist_nb.support import InputError, read_rows, results_path
from mnist_nb.train import PLAIN_RECIPE, PRESETS


@pytest.fixture(scope="module")
def seven() -> np.ndarray:
    "uint8 [60, 50], a crooked dark seven on a light page."
    page = np.full((60, 50), 230, np.uint8)
    page[10:16, 12:36] = 20
    for row in range(16, 50):
        left = 32 - (row - 16) // 2
        page[row, left : left + 5] = 20
    return page


def refused(path) -> str:
    "The one sentence with which a file is refused."
    with pytest.raises(InputError) as caught:
        read_digit(path)
    text = str(caught.value)
    assert path.name in text and "\n" not in text and (": " in text or "there is no file" in text)
    return text


def test_the_chapters_cell_for_a_readers_own_file(tmp_path, seven):
    "The reader writes a file's name in place of `None`, and the cell reads it."
    cells = nbformat.read(ROOT / "nbs" / "07_handwriting.ipynb", 4).cells
    (cell,) = (cell.source for cell in cells if cell.source.startswith("my_photograph = None"))
    path, scope = tmp_path / "seven.png", {"read_digit": read_digit, "photos": []}
    Image.fromarray(seven).save(path)
    exec(cell.replace("None", repr(str(path)), 1), scope)
    assert scope["mine"].digit == 7


def test_a_missing_file(tmp_path):
    assert "there is no file" in refused(tmp_path / "none.png")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.png").touch()
    assert "is empty" in refused(tmp_path / "a.png")


def test_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("I am a poem")
    assert "no picture" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_a_phones_heic_is_named_whatever_its_name(tmp_path, brand):
    for name in ("a.heic", "a.jpg"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(100))
        assert "HEIC" in refused(tmp_path / name)


def test_a_folder(tmp_path):
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif"])
def test_a_truncated_file(tmp_path, seven, kind):
    whole, path = io.BytesIO(), tmp_path / f"a.{kind}"
    Image.fromarray(np.kron(seven, np.ones((4, 4), np.uint8))).save(
        whole, {"jpg": "JPEG", "tif": "TIFF"}.get(kind, kind)
    )
    path.write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    assert "damaged" in refused(path) or "no picture" in refused(path)


def test_damaged_bytes_are_read_or_refused_in_one_sentence(tmp_path, seven):
    whole, rng, path, said = io.BytesIO(), np.random.default_rng(0), tmp_path / "a.png", []
    Image.fromarray(seven).save(whole, "PNG")
    for _ in range(30):
        content = bytearray(whole.getvalue())
        content[rng.integers(8, len(content))] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        try:
            read_page(path)
        except InputError as error:
            said.append(str(error))
    assert said and all("a.png" in text and "\n" not in text for text in said)


def test_one_pixel(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "a.png")
    assert "1 x 1 pixels" in refused(tmp_path / "a.png")
    with pytest.raises(InputError):
        read_digit(Image.new("L", (1, 1)))


@pytest.mark.parametrize("side", [9_000, 10_000, 20_000])
def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path, side, recwarn):
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
        for c in (b"IHDR" + header, b"IDAT")
    ]
    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    )  # no pixels: decoding would say so
    assert "million" in refused(tmp_path / "a.png")
    gc.collect()
    ours = [w for w in recwarn if w.category is not ResourceWarning or str(tmp_path) in str(w.message)]
    assert not ours  # neither a bomb nor a file that was left open


def test_the_limits_on_size_are_reached_exactly():
    for size in ((SMALLEST, 500), (500, SMALLEST), (SMALLEST, LARGEST // SMALLEST)):
        check_size(size, "it")
    for size in ((SMALLEST - 1, 500), (500, SMALLEST - 1), (SMALLEST, LARGEST // SMALLEST + 1)):
        with pytest.raises(InputError, match="it has .* pixels: expected at least 8 .* at most 80 million"):
            check_size(size, "it")


def test_all_greys_come_through_as_bytes_as_floats_and_as_yes_and_no():
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for kind in (np.float16, np.float32, np.float64):
        assert np.array_equal(from_array(greys.astype(kind) / kind(255)), greys)
    assert np.array_equal(from_array(greys), greys)
    assert np.array_equal(from_array((greys - 0.4).clip(0) / 255), greys)  # rounded, not cut off
    assert np.array_equal(from_array(greys > 99), np.where(greys > 99, 255, 0))


def test_the_longer_side_of_a_page_is_256_pixels(seven):
    for page in (seven, seven.T, seven.repeat(20, 0).repeat(20, 1)):
        shape = read_page(page).shape
        assert max(shape) == PAGE and shape[0] / shape[1] == pytest.approx(
            page.shape[0] / page.shape[1], rel=0.01
        )


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, seven, monkeypatch):
    import mnist_nb.handwriting as module

    sizes, plain = [], module.grey_page
    monkeypatch.setattr(module, "grey_page", lambda image: sizes.append(image.size) or plain(image))
    large = seven.repeat(32, 0).repeat(32, 1)
    Image.fromarray(large).save(tmp_path / "a.jpg")
    assert close(tmp_path / "a.jpg", large) and PAGE <= max(sizes[0]) <= 2 * PAGE < max(sizes[1])


def test_numbers_that_are_none_do_not_spoil_a_page(seven):
    page = seven.astype(np.float32)
    page[0, 0] = np.nan
    assert close(Image.fromarray(page), seven)


# Paper and ink


@given(st.integers(0, 2**32), st.sampled_from([5, 9, 15]), st.integers(1, 50), st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_a_brush_brightens_covers_what_is_narrower_and_knows_no_direction(seed, brush, height, width):
    page = np.random.default_rng(seed).uniform(0, 255, (height, width))
    over = brushed(page, brush)
    assert over.shape == page.shape and (over >= page - 1e-9).all() and over.max() <= page.max()
    for turn in range(1, 4):
        assert np.allclose(brushed(np.rot90(page, turn), brush), np.rot90(over, turn))


def test_a_brush_covers_strokes_and_keeps_shadows_slopes_and_tables():
    page = np.full((100, 100), 200.0)
    page[:, :40] *= 0.6  # a shadow, wider than the brush
    light = page.copy()
    page[20:80, 60:66] = page[50, :] = 30  # a stroke, and a line from rim to rim
    assert np.array_equal(brushed(page, 15), light)
    crop = np.full((100, 100), 200.0)
    crop[0] = crop[:30, 99] = 30  # strokes all along the rim, where the rest of it is paper
    assert (brushed(crop, 15) == 200).all()
    slope = np.linspace(100, 200, 100) + np.linspace(0, 50, 100)[:, None]
    assert np.array_equal(brushed(slope, 43), slope)  # in all four corners, too


@pytest.mark.parametrize("kind", [chalk, sheet_on_table])
def test_ink_is_what_is_thin_whichever_way_round(kind):
    page = read_page(kind(by_hand(3, 1, np.random.default_rng(0)), np.random.default_rng(0)))
    for picture in (page, 255 - page):
        turned, brush = dark_on_light(picture)
        assert np.allclose(turned, 255 - page if kind is chalk else page, atol=1e-3)
        assert brush == dark_on_light(page)[1]


def test_the_depth_of_ink_is_its_share_of_the_light_in_the_shadow_as_out_of_it():
    light = np.full((200, 200), 220.0)
    light[:, :90] = 120
    page = light.copy()
    page[40:160, 40:50] *= 0.3
    page[40:160, 140:150] *= 0.3
    depth, noise = ink_depth(page)
    assert depth[100, 45] == pytest.approx(0.7, abs=0.02) == depth[100, 145] and noise < 0.002
    assert np.abs(depth[:, 60:130]).max() < 0.02  # the edge of the shadow is no ink


def marks(*places):
    "Ink on a page of 200 x 200 pixels: in each place, rows and columns."
    ink = np.zeros((200, 200))
    for place in places:
        ink[place] = 1
    return ink


def kept(*places) -> np.ndarray:
    ink = marks(*places)
    return digit_pieces(ink, ink > 0)


BODY, BAR, FAR = np.s_[60:140, 90:98], np.s_[50:54, 90:130], np.s_[180:190, 20:60]
EDGE, ACROSS, INTO = np.s_[:, 197:], np.s_[170:174, :], np.s_[100:104, 96:]


def test_what_is_near_the_digit_belongs_to_it_and_what_is_far_does_not():
    assert np.array_equal(kept(BODY, BAR, FAR) > 0, marks(BODY, BAR) > 0)


@pytest.mark.parametrize("line", [EDGE, ACROSS])
def test_lines_at_the_rim_are_left_out_though_they_hold_more_ink(line):
    assert marks(line).sum() > 0.9 * marks(BODY).sum()
    assert np.array_equal(kept(BODY, line) > 0, marks(BODY) > 0)
    assert np.array_equal(kept(line) > 0, marks(line) > 0)  # but where there is nothing else, it is the digit
    assert is_stray(marks(line) > 0) and not is_stray(marks(BODY) > 0)


def test_a_stroke_that_runs_into_the_rim_stays():
    assert np.array_equal(kept(BODY, INTO) > 0, marks(BODY, INTO) > 0)


def test_a_diagonal_is_one_stroke():
    assert np.array_equal(digit_pieces(np.eye(60), np.eye(60) > 0), np.eye(60) > 0)


@pytest.mark.parametrize("width", [4, 8, 15, 30])
def test_the_width_of_a_pen_is_measured(width):
    line = np.zeros((300, 100), bool)
    line[20:280, 30 : 30 + width] = True
    assert pen_width(line) == pytest.approx(width, rel=0.12)
    strokes = draw(by_hand(2, 0, np.random.default_rng(0)), (300, 300), (40, 30, 180, 240), width)
    assert pen_width(strokes > 0.5) == pytest.approx(width, rel=0.2)


@pytest.mark.parametrize("pen", [3, 5, 12, 30, 60])
def test_every_pen_is_brought_to_the_usual_width_and_the_usual_is_left_alone(pen):
    ink = draw(by_hand(3, 0, np.random.default_rng(0)), (300, 300), (60, 30, 150, 240), pen)
    after = usual_pen(ink.astype(np.float64))
    share = pen_width(after > 0.5) / extent(after > 0.5)
    assert 0.85 * THIN < share < 1.15 * THICK
    if THIN < pen_width(ink > 0.5) / extent(ink > 0.5) < THICK:
        assert np.array_equal(after, ink)


def test_a_line_looks_drawn_and_a_surface_does_not():
    y, x = np.mgrid[:120, :120] - 60
    ring = np.abs(np.hypot(x, y) - 40) < 7
    assert looks_drawn(ring) and looks_drawn(np.abs(x) < 6) and looks_drawn(np.abs(x) < 15)
    grid = (x % 12 == 0) | (y % 12 == 0)
    wedge = (np.abs(x) < (y + 60) / 6) & (y > -60)
    for surface in (np.hypot(x, y) < 40, (np.abs(x) < 40) & (np.abs(y) < 30), grid, wedge):
        assert not looks_drawn(surface)


def test_what_stands_out_by_less_than_fifteen_times_the_noise_or_three_grey_levels_is_no_ink():
    rng = np.random.default_rng(0)
    ink = draw(by_hand(3, 0, rng), (256, 256), (60, 30, 130, 190), 9)
    for depth, noise, found in ((8, 0, True), (2, 0, False), (60, 1, True), (6, 4, False)):
        page = 210 - depth * ink + noise * rng.standard_normal(ink.shape)
        assert find_ink(page)[1] == found


def test_the_squares_of_the_paper_are_told_from_ink_by_being_half_as_dark():
    depth = np.zeros((256, 256))
    depth[::20] = depth[:, ::20] = 0.3
    assert not find_strokes(depth, 0.001)[1]
    ink = draw(by_hand(2, 0, np.random.default_rng(0)), (256, 256), (60, 30, 130, 190), 9)
    strokes, drawn = find_strokes(np.maximum(depth, ink), 0.001)
    assert drawn
    assert np.abs(strokes ^ (ink > 0.5)).sum() < 0.1 * ink.sum()


def test_full_ink_is_the_common_tone_of_strokes_and_not_their_darkest_point():
    page = np.full((200, 200), 230.0)
    page[50:150, 50:80] = 90
    page[100:110, 60:70] = 20  # a blot
    assert find_ink(page)[0][20:40, 12:15].min() == 1


@pytest.fixture(scope="module")
def few() -> np.ndarray:
    "float32 [8, 8], a seven of a few pixels, dark on light."
    page = np.full((8, 8), 250, np.float32)
    page[0, 2:6], page[1, 5], page[2:4, 4], page[4:8, 3] = 10, 60, 30, 10
    return page


def test_the_paper_of_a_tiny_drawing_is_the_tone_at_its_corners(few):
    assert exact_paper(few) == 250 and exact_paper(255 - few) == 5
    tight = few[:, 2:6]  # ink in two of the corners, and much of it
    assert exact_paper(np.pad(tight, ((0, 1), (0, 1)), constant_values=250)) == 250


def test_a_photograph_however_small_is_no_tiny_drawing(few):
    noise = np.random.default_rng(0).normal(0, 1, few.shape)
    large = np.pad(few, (0, TINY + 1 - len(few)), constant_values=250)
    flat = np.full_like(few, 100)
    for page in (few + noise, large, flat, flat + few / 50):  # not one tone; too large; blank; faint
        assert exact_paper(page.astype(np.float32)) is None
    assert exact_paper(large[:TINY, :TINY]) == 250
    assert (
        max(read_page(few.astype(np.uint8)).shape) == 8
        and max(read_page(large.astype(np.uint8)).shape) == PAGE
    )


def test_a_tiny_drawing_is_read_whatever_its_tones(few):
    seen = prepare(few.astype(np.uint8)).seen.float()
    assert read_digit(few.astype(np.uint8)).digit == 7
    for other in (255 - few, 40 + few / 2, 200 - few / 2):
        assert (prepare(other.round().astype(np.uint8)).seen - seen).abs().mean() < 2
        assert read_digit(other.round().astype(np.uint8)).digit == 7


def test_the_ink_of_a_tiny_drawing_lies_where_it_was_drawn(few):
    ink, drawn = tiny_ink(few, 250)
    assert ink.shape == (80, 80) and drawn and ink.min() == 0 and ink.max() == 1
    middles = ink[12:72:8, 12:72:8]  # of each pixel: eight, after a margin of one
    assert (middles[few < 20] > 0.8).all() and (middles[few > 200] < 0.2).all()
    assert not ink[:4].any() and not ink[:, :4].any()
    assert not tiny_ink(np.pad(np.zeros((6, 6), np.float32), 1, constant_values=250), 250)[1]  # a block


def test_few_pixels_are_made_as_the_makers_of_scikit_learns_digits_did():
    image = torch.zeros(28, 28, dtype=torch.uint8)
    image[4:24, 12:16] = 255  # its box is stretched to 20x32; that is more than 560 pixels, so two layers go
    expected = np.full((8, 8), 255)
    expected[:, 2:6] = 0
    assert np.array_equal(few_pixels(image), expected)
    frame = image.clone()
    frame[6:22, 13:15] = 0  # a thin frame, of about 300 pixels: neither fat nor thin
    counts = 16 - few_pixels(frame) / 255 * 16
    assert 256 <= counts.sum() <= 412 and np.allclose(counts, counts[:, ::-1], atol=1)


MODES = {
    "16 bits": lambda page: Image.fromarray(page.astype(np.uint16) * 257),
    "12 of 16 bits": lambda page: Image.fromarray(page.astype(np.uint16) * 16),
    "32 bits": lambda page: Image.fromarray(page.astype(np.int32) * 257),
    "floats": lambda page: Image.fromarray(page.astype(np.float32) / 255),
    "palette": lambda page: Image.fromarray(page).convert("RGB").quantize(16),
    "two colours": lambda page: Image.fromarray(page).convert("1", dither=Image.Dither.NONE),
    "CMYK": lambda page: Image.fromarray(page).convert("RGB").convert("CMYK"),
    "colours": lambda page: Image.fromarray(page).convert("RGB"),
    "opaque alpha": lambda page: Image.fromarray(page).convert("RGBA"),
    "grey with alpha": lambda page: Image.fromarray(page).convert("LA"),
    "inverted": lambda page: Image.fromarray(255 - page),
}


def close(image, page) -> bool:
    "Whether the same 28x28 pixels are seen of both, but for rounding."
    return (prepare(image).seen.float() - prepare(page).seen.float()).abs().mean() < 2


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_read_rightly(tmp_path, seven, mode):
    image = MODES[mode](seven)
    assert close(image, seven)
    path = tmp_path / ("a.tif" if image.mode in ("CMYK", "F", "I") else "a.png")
    image.save(path)
    assert close(path, seven)


@pytest.mark.parametrize("ink", [0, 255])
def test_strokes_on_transparent_ground(tmp_path, seven, ink):
    strokes = np.full((*seven.shape, 4), ink, np.uint8)
    strokes[seven >= 100] = [255 - ink] * 3 + [0]  # a colour that nobody sees
    strokes[seven < 100, 3] = 255
    Image.fromarray(strokes).save(tmp_path / "a.png")
    assert close(tmp_path / "a.png", seven)
    clear = Image.fromarray(strokes)
    clear.quantize(8).save(tmp_path / "p.png")  # a palette with a transparent entry
    assert close(tmp_path / "p.png", seven)


def test_an_opaque_page_with_transparent_corners(seven):
    page = np.dstack([seven] * 3 + [np.full_like(seven, 255)])
    page[:6, :6, 3] = 0
    assert close(page, seven)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, seven, orientation):
    how = Image.Transpose
    undo = {2: how.FLIP_LEFT_RIGHT, 3: how.ROTATE_180, 4: how.FLIP_TOP_BOTTOM, 5: how.TRANSPOSE}
    undo |= {6: how.ROTATE_90, 7: how.TRANSVERSE, 8: how.ROTATE_270}
    image, exif = Image.fromarray(seven), Image.Exif()
    exif[274] = orientation
    stored = image.transpose(undo[orientation]) if orientation > 1 else image
    stored.save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert close(tmp_path / "a.jpg", seven)


NONSENSE = {
    "NaN": np.full((28, 28), np.nan),
    "infinity": np.full((28, 28), np.inf),
    "floats to 255": np.full((28, 28), 255.0),
    "negative": np.full((28, 28), -1.0),
    "one dimension": np.zeros(784, np.uint8),
    "four dimensions": np.zeros((2, 1, 28, 28), np.uint8),
    "two colours": np.zeros((1, 28, 2), np.uint8),
    "empty": np.zeros((0, 28), np.uint8),
    "64-bit integers": np.zeros((28, 28), np.int64),
    "16 bits in colours": np.zeros((28, 28, 3), np.uint16),
    "thin": np.zeros((28, 2), np.uint8),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_an_array_that_is_no_picture(name):
    for array in (NONSENSE[name], torch.from_numpy(NONSENSE[name])):
        with pytest.raises(InputError, match="expected"):
            read_digit(array)


def test_something_else_entirely():
    with pytest.raises(TypeError, match="expected a path"):
        read_digit(7)


def test_a_batch_is_read_like_single_pictures(data, tmp_path):
    images = data.test.images[:6]
    files = [tmp_path / f"{i}.png" for i in range(6)]
    for file, image in zip(files, images):
        Image.fromarray(255 - image.numpy()).save(file)
    one_by_one = [read_digit(image) for image in images]
    for batch in (images, images.numpy(), list(images), [str(file) for file in files], files):
        readings = read_digit(batch)
        assert [r.digit for r in readings] == [r.digit for r in one_by_one]
        assert all(
            torch.allclose(r.probabilities, s.probabilities, atol=0.02) for r, s in zip(readings, one_by_one)
        )
    assert read_digit([]) == []
    assert (
        read_digit(np.dstack([images[0].numpy()] * 3)).digit == one_by_one[0].digit
    )  # [28, 28, 3] is one picture


def test_colours_and_transparency_make_one_picture_and_no_batch(seven):
    for planes in ([seven] * 3, [seven] * 3 + [np.full_like(seven, 255)]):
        assert read_digit(np.dstack(planes)).digit == 7


@pytest.mark.parametrize("true", [0.5, 2.0])
def test_a_reader_has_the_likeliest_temperature_and_refuses_its_share(digits, true):
    "Labels are drawn as a network of that temperature would have it."
    model, images = load_pretrained(), digits.test.images
    logits = predict_logits(model, images).double()
    draws = torch.Generator().manual_seed(0)
    labels = torch.multinomial((logits / true).softmax(1), 1, generator=draws)[:, 0]
    reader = fit_reader(model, digits.train, LabelledImages(images, labels, "digits"), refuse=0.1)
    best, *others = (
        F.cross_entropy(logits / (reader.temperature * factor), labels) for factor in (1, 0.98, 1.02)
    )
    assert best < min(others) and 0.7 < reader.temperature / true < 1.4
    far = distances(embed(model, images), reader.centres, reader.whitening)
    assert (far > reader.threshold).sum() == 30  # of 297


def test_distances_are_scikit_learns_mahalanobis_distances(digits):
    model, train, images = load_pretrained(), digits.train, digits.test.images[:50]
    centres, whitening = class_statistics(model, train)
    features = embed(model, train.images).double().numpy()
    means = np.stack([features[train.labels.numpy() == digit].mean(0) for digit in range(10)])
    fitted = EmpiricalCovariance(assume_centered=True).fit(features - means[train.labels.numpy()])
    away = embed(model, images).double().numpy()[:, None] - means
    theirs = np.sqrt(fitted.mahalanobis(away.reshape(-1, 32)).reshape(-1, 10).min(1))
    ours = distances(embed(model, images), centres, whitening)
    assert np.allclose(centres, means, atol=1e-5) and np.allclose(ours, theirs, rtol=0.01)


def test_the_shipped_reader_is_the_calibration_and_knows_the_shipped_network(mnist):
    (row,) = read_rows(results_path("calibration"))
    reader = load_reader()
    assert [reader.temperature, reader.threshold] == [float(row["temperature"]), float(row["threshold"])]
    for stored, fresh in zip(reader[3:], class_statistics(reader.model, mnist.train)):
        assert torch.allclose(stored, fresh, atol=2e-3 * fresh.abs().max().item())


def test_a_reader_is_written_so_that_it_reads_the_same(tmp_path):
    reader = load_reader()
    path = tmp_path / "reader.json"
    write_reader(reader, path)
    assert json.loads(path.read_text()) == json.loads(pretrained_path().with_name("reader.json").read_text())


def test_a_reading_is_tempered_refused_beyond_the_threshold_and_blank_without_ink(digits):
    seen = torch.cat([digits.test.images[:9], torch.zeros(1, 28, 28, dtype=torch.uint8)])
    reader, logits = load_reader(), predict_logits(load_pretrained(), seen)
    far = distances(embed(reader.model, seen), reader.centres, reader.whitening)
    most = far[:9].sort().values[4].item()  # the fifth is just believed
    prepared = [Prepared(image, bool(image.any())) for image in seen]
    readings = read_prepared(prepared, reader._replace(temperature=2.0, threshold=most))
    assert read_prepared([Prepared(seen[0], False)], reader)[0].remark == "not drawn with a pen"
    for reading, image, row, distance in zip(readings[:9], seen, logits, far):
        believed = distance.item() <= most
        assert reading.digit == (row.argmax().item() if believed else None)
        assert reading.remark == ("" if believed else "does not look like a digit")
        assert torch.allclose(reading.probabilities, (row / 2).softmax(0)) and torch.equal(
            reading.seen, image
        )
    assert [reading.digit is None for reading in readings].count(True) == 5
    assert (readings[9].digit, readings[9].remark) == (None, "no ink found")


def test_who_brings_a_reader_is_answered_by_it(seven):
    reader = load_reader()
    assert read_digit(seven, reader._replace(threshold=0)).digit is None
    assert read_digit(seven, reader).digit == read_digit(seven).digit == 7


# By the kinds of trouble


@pytest.mark.parametrize("kind", TROUBLES, ids=lambda kind: kind.__name__)
def test_every_kind_of_trouble_is_read(kind):
    "Small figures of what the results show by the hundred; the strokes owe nothing to MNIST."
    rng = np.random.default_rng(2)
    readings = [
        (digit, read_digit(kind(by_hand(digit, digit, rng), rng)).digit) for digit in (2, 3, 5, 6, 8, 9)
    ]
    assert sum(answer == digit for digit, answer in readings) >= 5, readings
    assert sum(answer not in (digit, None) for digit, answer in readings) <= 1, readings


def test_a_second_generators_snapshots_are_colour_photographs_of_readable_digits():
    snapshot = runpy.run_path(str(ROOT / "tools" / "snapshots.py"))["snapshot"]
    made = [snapshot(by_hand(d, d, np.random.default_rng(d)), np.random.default_rng(d)) for d in range(10)]
    assert made[3] == snapshot(by_hand(3, 3, np.random.default_rng(3)), np.random.default_rng(3))
    opened = [Image.open(io.BytesIO(file)) for file in made]
    assert all((one.format, one.mode) == ("JPEG", "RGB") and 300 <= max(one.size) <= 1600 for one in opened)
    assert sum(reading.digit == digit for digit, reading in enumerate(read_digit(opened))) >= 7


@pytest.mark.parametrize("level", [12, 34])
def test_a_blank_sheet_on_a_table_is_no_digit(level):
    "A sheet on a table, without any digit: all the ink that there is are its four edges."
    page = np.full((500, 400), 75 + level, np.uint8)
    page[60:440, 50:340] = 222
    assert read_digit(page).digit is None


def test_filled_shapes_scenes_blank_pages_and_noise_are_refused():
    rng = np.random.default_rng(12)
    for pictures, least in (
        (filled_shapes(30, rng), 28),
        (scenes(20, rng), 17),
        (empty_pages(30, rng), 30),
        (noise_pages(30, rng), 30),
    ):
        readings = read_digit(pictures)
        assert sum(r.digit is None and r.remark != "" for r in readings) >= least


MAKERS = {
    "1": lambda a: Image.fromarray(a > 127),
    "L": Image.fromarray,
    "I": lambda a: Image.fromarray(a.astype(np.int32) * 9),
    "F": lambda a: Image.fromarray(a.astype(np.float32) - 128),
    "I;16": lambda a: Image.fromarray(a.astype(np.uint16) * 257),
    "LAB": lambda a: Image.merge("LAB", [Image.fromarray(a)] * 3),
    "La": lambda a: Image.fromarray(a).convert("LA").convert("La"),
    "RGBa": lambda a: Image.fromarray(a).convert("RGBA").convert("RGBa"),
    "PA": lambda a: Image.fromarray(a).convert("P").convert("PA"),
    "P": lambda a: Image.fromarray(a).convert("P"),  # from colours it would be dithered
} | {
    mode: lambda a, mode=mode: Image.fromarray(a).convert("RGB").convert(mode)
    for mode in ("RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LA")
}
FILLS = {
    "constant": lambda rng, shape: np.full(shape, rng.integers(256)),
    "noise": lambda rng, shape: rng.integers(0, 256, shape),
    "extremes": lambda rng, shape: 255 * rng.integers(0, 2, shape),
    "a spot": lambda rng, shape: 255 * (np.arange(np.prod(shape)) == 3).reshape(shape),
    "a ramp": lambda rng, shape: np.linspace(0, 255, np.prod(shape)).reshape(shape),
}
SIDES = st.one_of(st.integers(1, 40), st.sampled_from([400, 800, 1600]))


@given(SIDES, SIDES, st.sampled_from(sorted(MAKERS)), st.sampled_from(sorted(FILLS)), st.integers(0, 2**32))
@settings(max_examples=120, deadline=None)
def test_no_picture_gives_a_traceback(width, height, mode, fill, seed):
    "Of whatever size, mode and content: 28x28 pixels, or one sentence where it is too small."
    content = FILLS[fill](np.random.default_rng(seed), (height, width)).astype(np.uint8)
    try:
        seen = prepare(MAKERS[mode](content)).seen
    except InputError as error:
        assert min(width, height) < SMALLEST and "pixels: expected" in str(error)
        return
    assert seen.shape == (28, 28) and seen.dtype == torch.uint8 and min(width, height) >= SMALLEST
    if fill == "constant":
        assert not seen.any()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-30])
@pytest.mark.filterwarnings("error")
def test_floats_that_no_camera_makes(value, seven):
    page = seven.astype(np.float32) / 255
    prepare(Image.fromarray(np.full_like(page, value)))
    page[3, 4] = value
    prepare(Image.fromarray(page))


def test_photographs_are_read(mnist):
    rng = np.random.default_rng(11)
    images, labels = mnist.train.images[:60], mnist.train.labels[:60].tolist()
    both = [[Image.open(io.BytesIO(file)) for file in photograph(image, rng)] for image in images]
    for photos in zip(*both):
        readings = read_digit(list(photos))
        assert sum(r.digit == label for r, label in zip(readings, labels)) >= 58
        assert all(0.99 < r.probabilities.sum() < 1.01 and r.seen.dtype == torch.uint8 for r in readings)


def test_reading_one_file_is_quick(tmp_path, mnist):
    (tmp_path / "a.jpg").write_bytes(photograph(mnist.train.images[0], np.random.default_rng(0))[0])
    reader, seconds = load_reader(), []
    for _ in range(10):
        start = time.process_time()
        read_digit(tmp_path / "a.jpg", reader)
        seconds.append(time.process_time() - start)  # a busy machine does not count
    assert min(seconds) < 0.05, seconds


def test_predict_prints_a_table_json_and_the_picture_it_saw(run, tmp_path, seven):
    Image.fromarray(seven).save(tmp_path / "seven.png")
    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    done = run("predict", "seven.png", "blank.png", "--show", "seen.png")
    assert done.returncode == 0, done.stderr
    header, first, second = done.stdout.strip().splitlines()
    assert first.split()[:2] == ["seven.png", "7"] and "no ink found" in second
    assert Image.open(tmp_path / "seen.png").width > 100
    records = json.loads(run("predict", "--json", "seven.png", "blank.png").stdout)
    assert [(r["file"], r["digit"]) for r in records] == [("seven.png", 7), ("blank.png", None)]
    assert 0.5 < records[0]["probability"] <= 1 and f"{records[0]['probability']:.1%}" in first


def test_one_bad_file_among_a_hundred(run, tmp_path, seven):
    content = io.BytesIO()
    Image.fromarray(seven).save(content, "PNG")
    names = [f"{i:02}.png" for i in range(100)]
    for name in names:
        (tmp_path / name).write_bytes(content.getvalue())
    (tmp_path / names[50]).write_bytes(content.getvalue()[:50])
    done = run("predict", "--json", *names)
    assert done.returncode == 2 and done.stderr.count("mnist-nb: ") == 1 and "50.png" in done.stderr
    records = json.loads(done.stdout)
    assert [r["file"] for r in records] == names
    assert [r["digit"] for r in records] == [None if i == 50 else 7 for i in range(100)]
    assert records[50]["error"] and records[0]["error"] is None
    lines = run("predict", *names[48:52]).stdout.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [[n, "-" if n == "50.png" else "7"] for n in names[48:52]]
    assert lines[2].endswith("not read")


def test_a_name_that_no_system_takes_costs_no_other_and_one_of_mathematics_is_drawn(run, tmp_path, seven):
    Image.fromarray(seven).save(tmp_path / "a$_$.png")
    done = run("predict", "a$_$.png", "a" * 300 + ".png", "--show", "seen.png")
    assert is_one_sentence(done, "cannot be read", "name too long") and " 7 " in done.stdout
    assert Image.open(tmp_path / "seen.png").width > 50


MISTAKES = {
    "no file": ["predict"],
    "missing": ["predict", "a.png"],
    "folder": ["predict", "."],
    "show": ["predict", "a.png", "--show", "x"],
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(run, name):
    done = run(*MISTAKES[name])
    assert is_one_sentence(done) and len(done.stderr.strip().splitlines()) == 1


def test_calibrate_refuses_weights_of_another_run(digits, tmp_path):
    with pytest.raises(InputError, match="mnist-nb train --valid --preset default --seed 0"):
        calibrate(digits.train, pretrained_path())  # they were trained on all folds
    right = {"recipe": PRESETS["default"].record(), "seed": 0, "scored_on": "valid"}
    recipes = [PRESETS["classic"].record(), right["recipe"] | {"optimizer": "sgd"}, None]
    others = [{"seed": 1}, {"scored_on": "test"}, *({"recipe": recipe} for recipe in recipes)]
    for i, other in enumerate(others):
        save_weights(load_pretrained(), tmp_path / f"{i}.safetensors", right | other)
        with pytest.raises(InputError, match=f"{i}.safetensors is not of the run that counts.*--valid"):
            calibrate(digits.train, tmp_path / f"{i}.safetensors")


@pytest.mark.parametrize("more", [{}, PLAIN_RECIPE], ids=["this version", "an earlier one"])
def test_calibrate_fits_on_the_fold_that_the_run_held_out(digits, tmp_path, more):
    seed = load_weights(pretrained_path())[1]["seed"]
    facts = {"recipe": more | PRESETS["default"].record(), "seed": seed, "scored_on": "valid"}
    save_weights(load_pretrained(), tmp_path / "valid.safetensors", facts)
    row, reader, held = calibrate(digits.train, tmp_path / "valid.safetensors")
    rest, expected = hold_out(digits.train, seed)
    assert torch.equal(held.images, expected.images)
    fitted = fit_reader(load_pretrained(), rest, held)
    assert fitted[1:3] == reader[1:3] and torch.equal(fitted.centres, reader.centres)
    assert (row["temperature"], row["threshold"]) == (
        round(reader.temperature, 5),
        round(reader.threshold, 5),
    )
    assert (row["recipe"], row["seed"], row["fold"], row["images"]) == (
        "default",
        seed,
        seed,
        len(held.labels),
    )
    assert list(row) == list(read_rows(results_path("calibration"))[0])


def test_the_results_keep_what_is_promised():
    rows = {row["pictures"]: row for row in read_rows(results_path("photographs"))}
    for name in ("dark ink on light paper", "light ink on dark paper"):
        assert float(rows[name]["right"]) >= 99.55 and rows[name]["count"] == "2000"
    for name, least in (("blank pages", 100), ("noise", 100), ("scenes", 90), ("filled shapes", 95)):
        assert float(rows[name]["refused"]) >= least
    assert float(rows["test images, prepared"]["refused"]) <= 0.5
    assert abs(float(rows["test images, prepared"]["lost"])) <= 0.05
    small = rows["scikit-learn's 8x8 digits"]
    assert small["count"] == "1797" and float(small["right"]) >= 96.6
    page, tiny = read_rows(results_path("few_pixels"))  # held out: the step is worth something
    assert page["count"] == tiny["count"] == "5000" and float(tiny["right"]) >= float(page["right"]) + 0.2
    kinds = [row for row in read_rows(results_path("troubles")) if row["pipeline"] == "now"]
    for row in kinds[: len(TROUBLES)]:
        assert row["count"] == "100" and float(row["wrong"]) <= 2
        assert float(row["wrong"]) + float(row["refused"]) <= 10
