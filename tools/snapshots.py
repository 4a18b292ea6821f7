"""Photographs of one handwritten digit, as somebody with a phone would take them: `snapshot(strokes, rng)`.

The second generator: written by another, who saw neither the pipeline nor its first generator. It was run
four times: when the pipeline had been frozen, and three times after changes that were chosen without it.

The scene is worked out in linear light, straight in the picture's own pixels: strokes go through the page's
homography, ink is the distance to them, and pixels mapped back find rulings and edges.
"""

import io
from collections import namedtuple

import numpy as np
from PIL import Image
from scipy import ndimage

Array, Random, Shape = np.ndarray, np.random.Generator, tuple[int, int]
Pen = namedtuple("Pen", "share width ratio opacity uneven gaps nib grain")  # width in mm, ratio to height
Paper = namedtuple("Paper", "share colour fibre streak flecks")
KINDS: dict[str, dict] = {
    "pen": {
        "ballpoint": Pen(3, (0.35, 0.7), (0.02, 0.07), (0.75, 0.95), 0.16, 0.6, 0, 0),
        "gel": Pen(2, (0.4, 0.8), (0.022, 0.085), (0.9, 1.0), 0.04, 0, 0, 0),
        "fountain": Pen(1.5, (0.4, 1.0), (0.03, 0.09), (0.8, 0.97), 0.07, 0, 0.6, 0),
        "pencil": Pen(2.5, (0.5, 1.0), (0.024, 0.09), (0.5, 0.9), 0.14, 0, 0, 0.6),
        "felt": Pen(2, (0.8, 2.0), (0.045, 0.12), (0.85, 1.0), 0.05, 0, 0, 0.08),
        "marker": Pen(1.5, (2.5, 5.5), (0.07, 0.15), (0.85, 1.0), 0.03, 0, 0.2, 0.1),
    },
    "pale pen": {
        "chalk": Pen(1, (6, 10), (0.05, 0.13), (0.6, 0.95), 0.08, 0, 0, 0.8),
        "white pen": Pen(1, (0.8, 1.6), (0.035, 0.1), (0.75, 0.98), 0.06, 0.2, 0, 0.15),
    },
    "ink": {
        "black": (26, 26, 31),
        "blue": (32, 52, 145),
        "dark green": (20, 82, 56),
        "red": (188, 36, 42),
        "grey": (88, 88, 94),
    },
    "paper": {
        "white": Paper(5, (241, 241, 239), 0.008, 0, 0),
        "cream": Paper(2, (245, 235, 210), 0.01, 0, 0),
        "sticky": Paper(1.5, (252, 228, 118), 0.008, 0, 0),
        "grey": Paper(2, (206, 204, 196), 0.02, 0, 0.002),
        "kraft": Paper(1, (191, 152, 108), 0.035, 0.03, 0.003),
    },
    "chalk": {"black": Paper(1, (50, 55, 55), 0.04, 0.12, 0), "green": Paper(1, (42, 72, 58), 0.04, 0.1, 0)},
    "white pen": {"black": Paper(1, (40, 39, 42), 0.06, 0, 0), "navy": Paper(1, (40, 44, 60), 0.06, 0, 0)},
    "ruling": {"blue": (150, 170, 205), "grey": (165, 165, 165), "red": (215, 140, 150)},
    "table": {
        "oak": (178, 134, 92),
        "walnut": (94, 64, 46),
        "desk": (128, 130, 134),
        "slate": (52, 50, 52),
        "pale desk": (222, 221, 218),
        "cloth": (70, 92, 128),
    },
}


def _pick(rng: Random, kind: str) -> tuple[str, tuple]:
    """A name and its entry from one of the kinds, by their shares where they have any."""
    shares = np.array([getattr(entry, "share", 1.0) for entry in KINDS[kind].values()])
    return list(KINDS[kind].items())[rng.choice(len(shares), p=shares / shares.sum())]


def _span(rng: Random, low: float, high: float) -> float:
    """A number between low and high, even on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _step(field: Array) -> Array:
    """The logistic function."""
    return 0.5 + 0.5 * np.tanh(field / 2)


def _linear(colour: tuple, rng: Random) -> Array:
    """An sRGB colour, varied a little, in linear light."""
    varied = np.array(colour) / 255 * (rng.normal(1, 0.03) + rng.normal(0, 0.012, 3))
    return (np.minimum(varied, 1) ** 2.2).astype(np.float32)


def _grow(field: Array, shape: Shape) -> Array:
    """A coarse field enlarged smoothly to a shape."""
    return np.asarray(Image.fromarray(field.astype(np.float32)).resize(shape[::-1], Image.Resampling.BICUBIC))


def _noise(rng: Random, shape: Shape, *sigma: float) -> Array:
    """Smooth noise of unit variance; sigma in pixels, one number or down and across."""
    sigma = np.array((*sigma, *sigma)[:2])
    step = np.maximum(1, sigma / 1.5)
    field = rng.standard_normal(tuple(np.ceil(shape / step).astype(int) + 3), dtype=np.float32)
    field = ndimage.gaussian_filter(field, sigma / step, truncate=3)
    field /= max(float(field.std()), 1e-6)
    return _grow(field, shape) if step.max() > 1 else field[: shape[0], : shape[1]]


def _wave(rng: Random, length: int, sigma: float) -> Array:
    """Smooth noise of about unit variance along a line."""
    return ndimage.gaussian_filter1d(rng.standard_normal(length), sigma, truncate=3) * np.sqrt(3.54 * sigma)


def _rigid(angle: float, x: float = 0, y: float = 0) -> Array:
    """A turn and a shift as a matrix on homogeneous coordinates."""
    return np.array([[np.cos(angle), -np.sin(angle), x], [np.sin(angle), np.cos(angle), y], [0, 0, 1]])


def _view(rng: Random, tall: int, wide: int) -> Array:
    """Homography of a slightly tilted page: page pixels around the middle to picture pixels."""
    focal, tilt = rng.uniform(0.9, 1.6) * max(tall, wide), float(np.clip(rng.normal(0, 0.14), -0.32, 0.32))
    way, tip = _rigid(rng.uniform(0, np.pi)), [[np.cos(tilt), 0, 0], [0, 1, 0], [-np.sin(tilt), 0, 0]]
    pose = way @ tip @ way.T
    pose[2, 2] = focal
    return np.array([[1, 0, wide / 2 / focal], [0, 1, tall / 2 / focal], [0, 0, 1 / focal]]) @ pose


def _trace(strokes: list[Array], pen: Pen, height: float, ratio: float, place: Array, rng: Random) -> Array:
    """Points half a pixel apart along the pen's way: x, y, heading x, y, radius and opacity."""
    traced, nib, full, taper = [], rng.uniform(0.4, 1.1), rng.uniform(*pen.opacity), rng.uniform(0, 0.4)
    for path in strokes:
        along = np.append(0, np.cumsum(np.hypot(*np.diff(path, axis=0).T))) * height
        at = np.linspace(0, along[-1], max(4, int(along[-1] * 2)))
        path = np.stack([np.interp(at, along, axis) for axis in path.T], 1)
        path = ndimage.gaussian_filter1d(path, 0.024 * height, axis=0, mode="nearest")
        slow, quick, skips, *shake = (_wave(rng, len(at), s * height) for s in (0.4, 0.06, 0.024, 0.16, 0.16))
        path = (path + 0.003 * np.stack(shake, 1)) * height @ place[:, :2].T + place[:, 2]
        spot = path[:, :2] / path[:, 2:]
        heading = np.gradient(spot, axis=0)
        heading /= np.hypot(*heading.T)[:, None] + 1e-9
        slant = ndimage.gaussian_filter1d(np.abs(heading @ [np.sin(nib), np.cos(nib)]), 0.04 * height)
        press, gaps = pen.uneven * (slow + 0.6 * quick), pen.gaps * np.clip(skips + slow / 2 - 2, 0, 1)
        broad = (1 + pen.nib * (1.5 * slant - 1)) * np.clip(1 + 0.7 * press, 0.6, 1.5) / path[:, 2]
        broad *= max(0.55, height * ratio / 2) * (1 - taper * np.exp((at - at[-1]) / (0.05 * height)))
        traced.append(np.column_stack([spot, heading, broad, full + press - gaps]))
    return np.concatenate(traced)


def _ink(trace: Array, pen: Pen, shape: Shape, rng: Random) -> tuple[tuple, Array]:
    """How much ink lies on each pixel of the digit's box, by its distance to the nearest point of the way."""
    radius, place = float(trace[:, 4].max()), trace[:, :2]
    low = np.maximum(np.floor(place.min(0) - 2.5 * radius - 4), 0).astype(int)
    high = np.minimum(np.ceil(place.max(0) + 2.5 * radius + 4).astype(int), shape[::-1])
    owner = np.full((high - low)[::-1], -1)
    owner[tuple(np.clip(np.rint(place).astype(int) - low, 0, high - low - 1).T[::-1])] = np.arange(len(trace))
    nearest = ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    x, y, dx, dy, r, opacity = np.moveaxis(trace.astype(np.float32)[owner[tuple(nearest)]], -1, 0)
    rows, cols = (np.arange(a, b, dtype=np.float32) for a, b in zip(low[::-1], high[::-1]))
    x, y = cols - x, rows[:, None] - y
    distance = np.hypot(x * dy - y * dx, np.maximum(np.abs(x * dx + y * dy) - 0.75, 0))
    tooth = 0.7 * (_noise(rng, owner.shape, max(0.6, 0.2 * radius)) + _noise(rng, owner.shape, 0.5))
    cover = np.clip(r - distance + 0.5 + 0.3 * pen.grain * radius * tooth, 0, 1) * np.clip(opacity, 0.1, 1)
    cover *= 1 - pen.grain * _step(4 * (tooth - 0.6))
    dust = 0.12 * max(pen.grain - 0.6, 0) * np.exp(-distance / (1.2 * r + 1))
    return (slice(low[1], high[1]), slice(low[0], high[0])), np.maximum(cover, dust)[..., None]


def _rulings(x: Array, y: Array, mm: float, rng: Random) -> Array:
    """Lines, squares or dots: how much of each pixel they cover."""
    kind, half, phase = rng.integers(3), rng.uniform(0.06, 0.13) * mm, rng.random()
    pitch = rng.uniform(4, 6) * mm * (1.6 if kind == 0 else 1)
    x, y = (np.abs((field / pitch + phase) % 1 - 0.5) * pitch for field in (x, y))
    away, half = ((y, half), (np.minimum(x, y), half), (np.hypot(x, y), 1.8 * half))[kind]
    return np.clip(half - away + 0.5, 0, min(1, 2 * half))[..., None]


def _table(x: Array, y: Array, spots: tuple, room: float, mm: float, rng: Random) -> tuple[Array, Array]:
    """Where the table shows beside one or two edges of the sheet, and its colour in the sheet's shadow."""
    down, across = x.shape[0] // 2, x.shape[1] // 2
    ends = [
        (x, -1, x[down, 0], x[spots].min()),
        (x, 1, x[down, -1], x[spots].max()),
        (y, -1, y[0, across], y[spots].min()),
        (y, 1, y[-1, across], y[spots].max()),
    ]
    ends, out = [end for end in ends if end[1] * (end[2] - end[3]) > 2 * room], np.full_like(x, -1e6)
    for k in rng.permutation(len(ends))[: rng.integers(1, 3)]:
        field, side, border, edge = ends[k]
        cut = edge + side * room + rng.random() * (border - edge - side * room)
        out = np.maximum(out, side * (field - np.float32(cut)))
    name, colour = _pick(rng, "table")
    grain = (1.5, 70) if name in ("oak", "walnut") else (0.8, 0.8)
    shade = 1 + rng.uniform(0.03, 0.14) * _noise(rng, x.shape, *grain)
    shade *= 1 - rng.uniform(0.3, 0.8) * np.exp(-np.maximum(out, 0) / (rng.uniform(0.5, 4) * mm + 1))
    return np.clip(out + 0.5, 0, 1)[..., None], _linear(colour, rng) * np.clip(shade, 0.05, 2)[..., None]


def _relief(paper: Paper, shape: Shape, mm: float, rng: Random) -> Array:
    """The sheet's own light and dark: fibres, streaks, flecks, now and then faint crumples."""
    fine, coarse = max(0.5, 0.1 * min(mm, 12)), (shape[0] // 4, shape[1] // 4)
    relief = 1 + paper.fibre * (_noise(rng, shape, fine, 2.5 * fine) + _noise(rng, shape, 4 * fine))
    if paper.streak:
        relief += paper.streak * rng.uniform(0.3, 1) * _noise(rng, shape, min(shape) / 60, min(shape) / 4)
    if paper.flecks:
        flecks = (rng.random(shape, dtype=np.float32) < paper.flecks / fine**2).astype(np.float32)
        relief -= rng.uniform(0.5, 2) * fine**2 * ndimage.gaussian_filter(flecks, (0.6 * fine, 1.2 * fine))
    if rng.random() < 0.35:
        ridges = np.abs(_noise(rng, coarse, _span(rng, 0.03, 0.15) * max(coarse)))
        slope = ndimage.sobel(ridges, 0) + rng.uniform(-1, 1) * ndimage.sobel(ridges, 1)
        relief += _grow(rng.uniform(0.01, 0.045) * np.clip(slope / slope.std(), -2.5, 2.5), shape)
    return np.clip(relief, 0.3, 1.6)[..., None]


def _shadow(x: Array, y: Array, rng: Random) -> Array:
    """Share of light left beside a phone or the fingers of a hand that come in from one side."""
    way, reach, thick = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.45), rng.uniform(0.08, 0.25)
    far = x * np.cos(way) + y * np.sin(way) - reach
    side = y * np.cos(way) - x * np.sin(way) - rng.uniform(-0.3, 0.3)
    fingers = [
        np.hypot(np.minimum(far - tip, 0), side - s * thick) - 0.3 * thick
        for s, tip in zip((-0.9, -0.3, 0.3, 0.9), rng.uniform(0, 0.15, 4))
    ]
    edge = np.min(fingers, 0) if rng.random() < 0.5 else np.maximum(-far, np.abs(side) - thick)
    return 1 - rng.uniform(0.15, 0.5) * _step(-edge / _span(rng, 0.008, 0.05))[..., None]


def _light(shape: Shape, rng: Random) -> Array:
    """Light of one or two lamps at every pixel, in colour, with vignetting, shadows and white balance."""
    small = tuple(max(8, side // 6) for side in shape)
    y, x = ((np.arange(n) + 0.5 - n / 2) / max(small) for n in small)
    y, light = y[:, None], np.full((*small, 3), rng.uniform(0.25, 0.9))
    for _ in range(rng.integers(1, 3)):
        (cx, cy), above, warm = rng.uniform(-0.9, 0.9, 2), _span(rng, 0.6, 2), rng.normal(0, 0.05)
        fall = (1 + ((x - cx) ** 2 + (y - cy) ** 2) / above**2) ** -1.5
        light += rng.uniform(0.3, 1) * fall[..., None] * [1 + warm, 1, 1 - warm]
    light *= (1 - rng.uniform(0, 0.7) * (x * x + y * y))[..., None]
    light *= 1 + rng.normal(0.02, 0.06) * np.array([1, 0, -1]) + rng.normal(0, 0.015) * np.array([-1, 1, -1])
    light *= _shadow(x, y, rng) if rng.random() < 0.45 else 1
    light = np.stack([_grow(light[..., k], shape) for k in range(3)], -1)
    if rng.random() < 0.15:
        way, soft = rng.uniform(0, 2 * np.pi), _span(rng, 0.001, 0.008) * max(shape)
        y, x = ((np.arange(n, dtype=np.float32) - n * rng.uniform(0.25, 0.75)) / soft for n in shape)
        light *= 1 - rng.uniform(0.2, 0.5) * _step(np.add.outer(np.sin(way) * y, np.cos(way) * x))[..., None]
    return light


def _lens(scene: Array, sigma: float, smear: Array) -> Array:
    """The scene out of focus by sigma pixels and smeared along a vector."""
    scene, pad = ndimage.gaussian_filter(scene, sigma, axes=(0, 1), truncate=3), int(np.abs(smear).max()) + 1
    padded, (tall, wide) = np.pad(scene, ((pad, pad), (pad, pad), (0, 0)), mode="edge"), scene.shape[:2]
    stops = np.rint(np.linspace(-0.5, 0.5, pad)[:, None] * smear).astype(int) + pad
    return sum(padded[i : i + tall, j : j + wide] for i, j in stops) / np.float32(pad) if pad > 2 else scene


def _compose(strokes: list[Array], rng: Random) -> tuple[Array, float]:
    """One try: the scene in linear light as the lens draws it, and how much contrast its ink has left."""
    longer, aspect, pale = _span(rng, 300, 1600), _span(rng, 0.5, 2), rng.random() < 0.1
    shape = (round(longer * min(1, 1 / aspect)), round(longer * min(1, aspect)))
    name, pen = _pick(rng, "pale pen" if pale else "pen")
    paper = _pick(rng, name if pale else "paper")[1]
    turn, ratio, view = np.radians(rng.uniform(-12, 12)), _span(rng, *pen.ratio), _view(rng, *shape)
    reach = np.abs(_rigid(turn)[:2, :2]) @ (np.ptp(np.concatenate(strokes), axis=0) / 2 + ratio / 2) * 1.1
    room = np.array(shape[::-1]) / 2 - 0.04 * min(shape)
    height = min(rng.uniform(0.2, 0.75) * min(shape), *room / reach)
    mm, shift = height * ratio / rng.uniform(*pen.width), rng.uniform(-1, 1, 2) * (room - reach * height)
    trace = _trace(strokes, pen, height, ratio, view @ _rigid(turn, *shift), rng)
    where, cover = _ink(trace, pen, shape, rng)
    spots = tuple(np.clip(np.rint(trace[:, 1::-1]).astype(int), 0, np.array(shape) - 1).T)
    back = np.linalg.inv(view @ _rigid(turn + rng.normal(0, 0.06))).astype(np.float32)
    rows, cols = (np.arange(n, dtype=np.float32) for n in shape)
    x, y, w = (a * cols + b * rows[:, None] + c for a, b, c in back)
    x, y, light = x / w, y / w, _light(shape, rng)
    scene = _linear(paper.colour, rng) * _relief(paper, shape, mm, rng)
    if not pale and rng.random() < 0.35:
        faint = rng.uniform(0.15, 0.6) * pen.opacity[0] * _rulings(x, y, mm, rng)
        scene *= 1 - faint * (1 - _linear(_pick(rng, "ruling")[1], rng))
    blank = scene[spots]
    colour = (236, 234, 228) if pale else (72, 72, 76) if name == "pencil" else _pick(rng, "ink")[1]
    scene[where] += cover * (_linear(colour, rng) * (1 if pale else scene[where]) - scene[where])
    if rng.random() < 0.14:
        share, table = _table(x, y, spots, height * (0.1 + ratio), mm, rng)
        scene += share * (table - scene)
    scene, blank = scene * light, blank * light[spots]
    if rng.random() < 0.25:
        bells = [np.exp(-(((np.arange(n) / n - rng.random()) / rng.uniform(0.08, 0.3)) ** 2)) for n in shape]
        glare = _span(rng, 0.05, 0.4) * np.sqrt(np.median(blank)) * np.outer(*bells)[..., None]
        scene, blank = scene + glare, blank + glare[spots]
    gain = rng.uniform(0.35, 0.95) * (np.mean(paper.colour) / 240) ** 1.5 / np.median(blank)
    radius, way = float(np.median(trace[:, 4])), rng.uniform(0, 2 * np.pi)
    smear = rng.uniform(0, min(0.05 * height, 1.5 * radius + 2)) if rng.random() < 0.3 else 0
    sigma = min(_span(rng, 0.35, 4), 0.02 * height, 0.8 * radius + 0.3)
    scene = _lens((scene * gain).astype(np.float32), sigma, smear * np.array([np.sin(way), np.cos(way)]))
    seen, bare = (np.clip(at @ [0.3, 0.6, 0.1], 1e-4, 1) ** (1 / 2.2) for at in (scene[spots], blank * gain))
    return scene, float(np.quantile(np.abs(seen - bare) / np.maximum(seen, bare), 0.25))


def _develop(scene: Array, noise: float, rng: Random) -> bytes:
    """Shot and chroma noise, tone curve, at times a sharpening halo, and JPEG."""
    grain, red, blue = (_noise(rng, scene.shape[:2], sigma) for sigma in (0.45, *rng.uniform(0.7, 3, 2)))
    grain = np.stack([grain + rng.uniform(0.2, 1) * red, grain, grain + rng.uniform(0.2, 1) * blue], -1)
    scene = np.maximum(scene + noise * np.sqrt(np.maximum(scene, 0) + 0.01) * grain, 0)
    tone = (scene / np.sqrt(np.sqrt(1 + np.square(scene * scene)))) ** np.float32(1 / 2.2)
    tone += rng.uniform(-0.1, 0.3) * (tone * tone * (3 - 2 * tone) - tone)
    if rng.random() < 0.4:
        blurred = ndimage.gaussian_filter(tone, rng.uniform(0.7, 2), axes=(0, 1), truncate=3)
        tone += rng.uniform(0.3, 1.2) * (tone - blurred)
    file, picture = io.BytesIO(), Image.fromarray((np.clip(tone, 0, 1) * 255 + 0.5).astype(np.uint8))
    picture.save(file, "JPEG", quality=int(rng.integers(50, 96)), subsampling=int(rng.choice([0, 2, 2])))
    return file.getvalue()


def snapshot(strokes: list[Array], rng: Random) -> bytes:
    """A colour JPEG of a page with the digit: polylines [n, 2] in the unit square, x right and y down."""
    strokes = [np.asarray(stroke, float).reshape(-1, 2) for stroke in strokes]
    low, high = (pick(np.concatenate(strokes), axis=0) for pick in (np.min, np.max))
    size = max(high[1] - low[1], (high[0] - low[0]) / 2, 1e-6)
    for _ in range(40):
        scene, contrast = _compose([(stroke - (low + high) / 2) / size for stroke in strokes], rng)
        if contrast > 0.14:
            break
    return _develop(scene, min(_span(rng, 0.004, 0.04), 0.15 * contrast), rng)
