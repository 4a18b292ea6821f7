"""Reading pictures: what is refused, what must be read rightly, and the command `predict`."""

import gc
import io
import json
import struct
import time
import zlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import is_one_sentence
from PIL import Image

from mnist_nb.data import LabelledImages, hold_out
from mnist_nb.experiments.reading import calibrate
from mnist_nb.handwriting import (
    LARGEST,
    RIM,
    SMALLEST,
    Reader,
    check_size,
    find_ink,
    fit_reader,
    from_array,
    load_reader,
    main_strokes,
    paper_surface,
    prepare,
    read_digit,
    read_page,
    read_prepared,
)
from mnist_nb.model import load_pretrained, load_weights, predict_logits, pretrained_path, save_weights
from mnist_nb.photographs import empty_pages, noise_pages, photograph
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


def test_a_missing_file(tmp_path):
    assert "there is no file" in refused(tmp_path / "none.png")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.png").touch()
    assert "is empty" in refused(tmp_path / "a.png")


def test_no_picture(tmp_path):
    (tmp_path / "a.png").write_text("I am a poem")
    assert "no picture" in refused(tmp_path / "a.png")


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


def test_the_longer_side_of_a_page_is_200_pixels(seven):
    for page in (seven, seven.T, seven.repeat(20, 0).repeat(20, 1)):
        shape = read_page(page).shape
        assert max(shape) == 200 and shape[0] / shape[1] == pytest.approx(
            page.shape[0] / page.shape[1], rel=0.01
        )


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, seven, monkeypatch):
    import mnist_nb.handwriting as module

    sizes, plain = [], module.grey_page
    monkeypatch.setattr(module, "grey_page", lambda image: sizes.append(image.size) or plain(image))
    large = seven.repeat(32, 0).repeat(32, 1)
    Image.fromarray(large).save(tmp_path / "a.jpg")
    assert close(tmp_path / "a.jpg", large) and 200 <= max(sizes[0]) <= 400 < max(sizes[1])


def test_numbers_that_are_none_do_not_spoil_a_page(seven):
    page = seven.astype(np.float32)
    page[0, 0] = np.nan
    assert close(Image.fromarray(page), seven)


# Paper and ink


def test_the_paper_is_found_under_uneven_light_though_most_of_the_page_is_ink():
    y, x = np.mgrid[:200, :200] / 200
    light = 200 - 60 * y + 20 * x
    page = light.copy()
    page[RIM + 2 : -RIM - 2, RIM + 2 : -RIM - 2] = page[:60, 100:130] = 20
    assert (page == 20).mean() > 0.6 and np.abs(paper_surface(page) - light).max() < 1


def strokes(*places):
    "Ink on a page of 200 x 200 pixels: in each place, rows and columns."
    ink = np.zeros((200, 200))
    for place in places:
        ink[place] = 1
    return ink


LONG, SHORT, SPECK = (
    np.s_[20:120, 50:54],
    np.s_[20:50, 100:104],
    np.s_[150:152, 150:152],
)  # 400, 120 and 4 pixels


def test_lesser_strokes_are_kept_and_specks_are_not():
    assert np.array_equal(main_strokes(strokes(LONG, SHORT, SPECK)), strokes(LONG, SHORT))


def test_a_diagonal_is_one_stroke():
    assert np.array_equal(main_strokes(np.eye(60)), np.eye(60))


@pytest.mark.parametrize(
    "ink",
    [strokes(*(np.s_[row : row + 12, 20:24] for row in range(10, 190, 40))), strokes(np.s_[50:59, 50:59]),
     strokes(np.s_[::3], np.s_[:, ::3])],
    ids=["many alike", "a dot", "a texture"],
)  # fmt: skip
def test_what_no_pen_writes_is_no_ink(ink):
    assert main_strokes(ink) is None


def test_full_ink_is_the_common_tone_of_strokes_and_not_their_darkest_point():
    page = np.full((200, 200), 230.0)
    page[50:150, 50:80] = 90
    page[100:110, 60:70] = 20  # a blot
    assert find_ink(page)[70:90, 60:70].min() == 1


def test_a_dot_of_a_twentieth_of_the_page_is_a_stroke():
    assert main_strokes(strokes(np.s_[50:60, 50:60])) is not None


def test_ink_stands_out_from_its_page(seven):
    "By more than a grey level, and it is either darker or lighter."
    assert find_ink(np.where(seven < 100, 215.0, 230)) is not None
    for page in (np.where(seven < 100, 228.5, 230), np.full((200, 200), 230.0)):
        assert find_ink(page) is None
    page = np.full((200, 200), 130.0)
    page[30:80, 30:80] = 30
    assert find_ink(page) is not None
    page[100:148, 100:148] = 230  # nearly as much that is as much lighter
    assert find_ink(page) is None


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
    return (prepare(image).float() - prepare(page).float()).abs().mean() < 2


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
    reader = fit_reader(model, LabelledImages(images, labels, "digits"), refuse=0.1)
    best, *others = (
        F.cross_entropy(logits / (reader.temperature * factor), labels) for factor in (1, 0.98, 1.02)
    )
    assert best < min(others) and 0.7 < reader.temperature / true < 1.4
    assert (logits.std(1) < reader.threshold).sum() == 30  # of 297


def test_the_shipped_reader_is_the_calibration():
    (row,) = read_rows(results_path("calibration"))
    reader = load_reader()
    assert [reader.temperature, reader.threshold] == [float(row["temperature"]), float(row["threshold"])]


def test_a_reading_is_tempered_refused_below_the_threshold_and_blank_without_ink(digits):
    seen = torch.cat([digits.test.images[:9], torch.zeros(1, 28, 28, dtype=torch.uint8)])
    logits = predict_logits(load_pretrained(), seen)
    least = logits[:9].std(1).sort().values[4].item()  # the fifth is just believed
    readings = read_prepared(seen, Reader(load_pretrained(), 2.0, least))
    for reading, image, row in zip(readings[:9], seen, logits):
        believed = row.std().item() >= least
        assert reading.digit == (row.argmax().item() if believed else None)
        assert reading.remark == ("" if believed else "does not look like a digit")
        assert torch.allclose(reading.probabilities, (row / 2).softmax(0)) and torch.equal(
            reading.seen, image
        )
    assert [reading.digit is None for reading in readings].count(True) == 5
    assert (readings[9].digit, readings[9].remark) == (None, "no ink found")


def test_who_brings_a_reader_is_answered_by_it(seven):
    reader = load_reader()
    assert read_digit(seven, reader._replace(threshold=1e9)).digit is None
    assert read_digit(seven, reader).digit == read_digit(seven).digit == 7


def test_photographs_are_read(mnist):
    rng = np.random.default_rng(11)
    images, labels = mnist.train.images[:60], mnist.train.labels[:60].tolist()
    both = [[Image.open(io.BytesIO(file)) for file in photograph(image, rng)] for image in images]
    for photos in zip(*both):
        readings = read_digit(list(photos))
        assert sum(r.digit == label for r, label in zip(readings, labels)) >= 58
        assert all(0.99 < r.probabilities.sum() < 1.01 and r.seen.dtype == torch.uint8 for r in readings)


def test_blank_pages_and_noise_are_refused():
    rng = np.random.default_rng(12)
    readings = read_digit(empty_pages(30, rng) + noise_pages(30, rng))
    assert sum(r.digit is None and r.remark != "" for r in readings) >= 57


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


def test_one_bad_file_among_a_thousand(run, tmp_path, seven):
    content = io.BytesIO()
    Image.fromarray(seven).save(content, "PNG")
    names = [f"{i:03}.png" for i in range(1000)]
    for name in names:
        (tmp_path / name).write_bytes(content.getvalue())
    (tmp_path / names[500]).write_bytes(content.getvalue()[:50])
    done = run("predict", "--json", *names)
    assert done.returncode == 2 and done.stderr.count("mnist-nb: ") == 1 and "500.png" in done.stderr
    records = json.loads(done.stdout)
    assert [r["file"] for r in records] == names
    assert [r["digit"] for r in records] == [None if i == 500 else 7 for i in range(1000)]
    assert records[500]["error"] and records[0]["error"] is None


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


def test_calibrate_refuses_weights_of_another_run(data, tmp_path):
    with pytest.raises(InputError, match="mnist-nb train --valid --preset default --seed 0"):
        calibrate(data.train, pretrained_path())  # they were trained on all folds
    right = {"recipe": PRESETS["default"].record(), "seed": 0, "scored_on": "valid"}
    recipes = [PRESETS["classic"].record(), right["recipe"] | {"optimizer": "sgd"}, None]
    others = [{"seed": 1}, {"scored_on": "test"}, *({"recipe": recipe} for recipe in recipes)]
    for i, other in enumerate(others):
        save_weights(load_pretrained(), tmp_path / f"{i}.safetensors", right | other)
        with pytest.raises(InputError, match=f"{i}.safetensors is not of the run that counts.*--valid"):
            calibrate(data.train, tmp_path / f"{i}.safetensors")


@pytest.mark.parametrize("more", [{}, PLAIN_RECIPE], ids=["this version", "an earlier one"])
def test_calibrate_fits_on_the_fold_that_the_run_held_out(data, tmp_path, more):
    seed = load_weights(pretrained_path())[1]["seed"]
    facts = {"recipe": more | PRESETS["default"].record(), "seed": seed, "scored_on": "valid"}
    save_weights(load_pretrained(), tmp_path / "valid.safetensors", facts)
    row, (_, held) = calibrate(data.train, tmp_path / "valid.safetensors"), hold_out(data.train, seed)
    reader = fit_reader(load_pretrained(), held)
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
        assert float(rows[name]["lost"]) <= 0.7 and rows[name]["count"] == "2000"
    assert all(float(rows[name]["refused"]) >= 95 for name in ("blank pages", "noise"))
    assert float(rows["test images as they are"]["refused"]) <= 0.5
    assert rows["scikit-learn's 8x8 digits"]["count"] == "1797"
