"drafts: strokes of ten hands, skeletons, and the kinds of photographs"
import math
import numpy as np
from PIL import Image
from scipy import ndimage

O = [(0.55, 0.0), (0.2, 0.15), (0.05, 0.5), (0.2, 0.88), (0.5, 1.0), (0.85, 0.82), (0.95, 0.45), (0.8, 0.1), (0.5, 0.0)]
SHAPES = {  # of each digit some ways to write it: strokes, "~" through curved points, "-" through corners
    0: [[("~", O)], [("~", [*O, (0.35, 0.06)])], [("~", [(0.4, 0.03), *O[1:-1], (0.6, 0.02)])]],
    1: [[("-", [(0.5, 0), (0.5, 1)])], [("-", [(0.15, 0.25), (0.55, 0), (0.55, 1)])],
        [("-", [(0.2, 0.22), (0.5, 0), (0.5, 1)]), ("-", [(0.15, 1), (0.85, 1)])]],
    2: [[("~", [(0.08, 0.25), (0.3, 0.03), (0.7, 0.04), (0.85, 0.28), (0.6, 0.6), (0.1, 0.98)]), ("-", [(0.1, 0.98), (0.95, 0.96)])],
        [("~", [(0.1, 0.2), (0.4, 0.0), (0.8, 0.12), (0.78, 0.4), (0.4, 0.8), (0.12, 0.97), (0.08, 0.85), (0.3, 0.84), (0.6, 0.96), (0.95, 0.93)])]],
    3: [[("~", [(0.1, 0.12), (0.45, 0.0), (0.85, 0.18), (0.7, 0.4), (0.4, 0.46), (0.75, 0.52), (0.93, 0.75), (0.55, 1.0), (0.08, 0.88)])],
        [("-", [(0.12, 0.02), (0.85, 0.02), (0.45, 0.42)]), ("~", [(0.45, 0.42), (0.85, 0.52), (0.9, 0.8), (0.5, 1.0), (0.1, 0.9)])]],
    4: [[("-", [(0.3, 0), (0.08, 0.58), (0.95, 0.58)]), ("-", [(0.7, 0.2), (0.66, 1)])],
        [("-", [(0.68, 1), (0.68, 0), (0.06, 0.68), (0.97, 0.68)])],
        [("~", [(0.15, 0.05), (0.12, 0.4), (0.3, 0.52), (0.8, 0.46)]), ("-", [(0.8, 0.02), (0.72, 1)])]],
    5: [[("-", [(0.85, 0.0), (0.25, 0.02), (0.2, 0.42)]), ("~", [(0.2, 0.42), (0.6, 0.36), (0.92, 0.62), (0.7, 0.95), (0.1, 0.94)])],
        [("~", [(0.25, 0.04), (0.2, 0.42), (0.55, 0.38), (0.88, 0.65), (0.6, 0.98), (0.12, 0.92)]), ("-", [(0.3, 0.0), (0.92, 0.02)])]],
    6: [[("~", [(0.75, 0.0), (0.35, 0.28), (0.1, 0.68), (0.35, 1.0), (0.8, 0.88), (0.82, 0.6), (0.45, 0.5), (0.13, 0.72)])],
        [("~", [(0.55, 0.0), (0.25, 0.35), (0.12, 0.75), (0.45, 1.0), (0.85, 0.78), (0.6, 0.55), (0.25, 0.68), (0.15, 0.8)])]],
    7: [[("-", [(0.05, 0.03), (0.92, 0.0), (0.38, 1)])], [("-", [(0.05, 0.03), (0.92, 0.0), (0.4, 1)]), ("-", [(0.3, 0.5), (0.85, 0.48)])],
        [("-", [(0.06, 0.16), (0.08, 0.02), (0.9, 0.04)]), ("~", [(0.9, 0.04), (0.6, 0.42), (0.45, 1)])]],
    8: [[("~", [(0.78, 0.14), (0.45, 0.0), (0.2, 0.18), (0.42, 0.42), (0.82, 0.68), (0.6, 1.0), (0.2, 0.88), (0.3, 0.6), (0.7, 0.34), (0.75, 0.1)])],
        [("~", [(0.5, 0.46), (0.22, 0.24), (0.5, 0.0), (0.78, 0.22), (0.5, 0.46), (0.14, 0.74), (0.5, 1.0), (0.86, 0.74), (0.5, 0.46)])]],
    9: [[("~", [(0.85, 0.12), (0.5, 0.0), (0.14, 0.22), (0.35, 0.5), (0.75, 0.38), (0.85, 0.12)]), ("-", [(0.85, 0.12), (0.75, 1)])],
        [("~", [(0.86, 0.2), (0.5, 0.0), (0.14, 0.24), (0.4, 0.5), (0.84, 0.26), (0.86, 0.6), (0.6, 0.98), (0.2, 0.92)])],
        [("~", [(0.8, 0.1), (0.4, 0.02), (0.15, 0.3), (0.45, 0.5), (0.82, 0.2), (0.8, 0.6), (0.62, 1.0)])]],
}


def curve(points, smooth):
    p = np.array(points, float)
    t = np.linspace(0, len(p) - 1, 24 * (len(p) - 1) + 1)
    if not smooth:
        return np.stack([np.interp(t, range(len(p)), p[:, k]) for k in (0, 1)], 1)
    from scipy.interpolate import CubicSpline
    at = np.concatenate([[0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(p, axis=0), axis=1)))])
    return CubicSpline(at, p)(np.linspace(0, at[-1], len(t)))


def by_hand(digit, hand, rng):
    "Strokes of a digit as one of ten hands writes it, height 1, a little different each time."
    mine = np.random.default_rng(1000 * hand + digit)
    style = np.random.default_rng(hand)
    slant, wide = style.uniform(-0.1, 0.3), style.uniform(0.5, 0.85)
    shape = SHAPES[digit][mine.integers(len(SHAPES[digit]))]
    bend = rng.normal(0, 0.018, (2, 2, 2))
    out = []
    for kind, points in shape:
        p = np.array(points) + rng.normal(0, 0.015, (len(points), 2)) + mine.normal(0, 0.02, (len(points), 2))
        c = curve(p, kind == "~")
        x, y = c.T
        if digit == 1: x = 0.5 + (x - 0.5) * 0.7
        x = x * wide + slant * (1 - y) * wide
        x = x + bend[0, 0, 0] * np.sin(3 * y); y = y + bend[0, 1, 0] * np.sin(3 * x)
        out.append(np.stack([x, y], 1))
    return unit(out)


def unit(strokes):
    "Moved and scaled to height 1 from (0, 0)."
    every = np.concatenate(strokes)
    low, high = every.min(0), every.max(0)
    return [(s - low) / (high - low)[1] for s in strokes]


def thinned(ink):
    "Zhang and Suen's: bool [H, W] to lines of one pixel."
    ink = np.pad(ink, 1).astype(np.uint8)
    while True:
        before = ink.sum()
        for odd in (0, 1):
            n = [np.roll(ink, shift, (0, 1)) for shift in ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))]
            count = sum(n)
            turns = sum((n[k] == 0) & (n[(k + 1) % 8] == 1) for k in range(8))
            a, b = (n[0] * n[2] * n[4], n[2] * n[4] * n[6]) if not odd else (n[0] * n[2] * n[6], n[0] * n[4] * n[6])
            ink = np.where((ink == 1) & (count >= 2) & (count <= 6) & (turns == 1) & (a == 0) & (b == 0), 0, ink)
        if ink.sum() == before:
            return ink[1:-1, 1:-1] > 0


def skeleton(image):
    "Strokes (short pieces of them) of an MNIST digit, uint8 [28, 28]."
    large = np.asarray(Image.fromarray(np.asarray(image)).resize((112, 112), Image.Resampling.BICUBIC))
    line = thinned(large > 110)
    y, x = np.nonzero(line)
    at = np.stack([x, y], 1).astype(float)
    d = np.abs(at[:, None] - at[None]).max(2)
    near = d <= 3
    smooth = np.stack([(near * at[:, k]).sum(1) / near.sum(1) for k in (0, 1)], 1)
    ends = near.sum(1) <= 4
    smooth[ends] = at[ends]
    i, j = np.nonzero(np.triu(d == 1))
    if len(i) == 0:
        return unit_points(smooth)
    return unit([np.stack([smooth[a], smooth[b]]) for a, b in zip(i, j)])


def coverage(strokes, size, box, pen):
    "float32 [H, W]: strokes of height 1 drawn with a round pen into a box (left, top, width or None, height)."
    w, h = size
    left, top, width, height = box
    every = np.concatenate(strokes)
    across = (every[:, 0].max() - every[:, 0].min()) or 1
    sx = (width - pen) / across if width else height - pen
    mask = np.ones((h, w), bool)
    for s in strokes:
        p = np.stack([left + pen / 2 + s[:, 0] * sx, top + pen / 2 + s[:, 1] * (height - pen)], 1)
        for a, b in zip(p[:-1], p[1:]):
            n = max(2, int(np.abs(b - a).max() * 1.5) + 1)
            q = a + (b - a) * np.linspace(0, 1, n)[:, None]
            q = q.round().astype(int)
            ok = (q >= 0).all(1) & (q[:, 0] < w) & (q[:, 1] < h)
            mask[q[ok, 1], q[ok, 0]] = False
    m = int(pen) + 2
    l, t = max(0, int(left) - m), max(0, int(top) - m)
    ys, xs = np.nonzero(~mask)
    r, bt = min(w, xs.max() + m + 1), min(h, ys.max() + m + 1)
    l, t = max(0, xs.min() - m), max(0, ys.min() - m)
    out = np.zeros((h, w), np.float32)
    out[t:bt, l:r] = np.clip(pen / 2 + 0.5 - ndimage.distance_transform_edt(mask[t:bt, l:r]), 0, 1)
    return out


def wide(strokes): return np.concatenate(strokes)[:, 0].max()


def finish(grey, noise, rng):
    return (grey + noise * rng.standard_normal(grey.shape, np.float32)).round().clip(0, 255).astype(np.uint8)


def turned(strokes, degrees):
    a = math.radians(degrees); m = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    return unit([s @ m for s in strokes])


def anywhere(strokes, w, h, height, rng, margin=0.05, below=0):
    "A box of that height, inside the margins; narrower digits where they would not fit."
    width = min(wide(strokes) * height, w * (1 - 2 * margin))
    left = rng.uniform(margin * w, max(margin * w, w * (1 - margin) - width))
    top = rng.uniform(margin * h, max(margin * h, h * (1 - margin) - height - below))
    return left, top, width, height


def thin_pen(strokes, rng):
    w, h = 440, 800
    box = rng.uniform(40, 90), rng.uniform(15, 35), 310, 750
    if wide(strokes) < 0.25: box = box[0] + 130, box[1], None, 750
    ink = coverage(strokes, (w, h), box, rng.uniform(8, 11))
    return finish(205 + (rng.uniform(40, 60) - 205) * ink, 2, rng)


def edge_line(strokes, rng):
    w, h = 900, 1600
    ink = coverage(strokes, (w, h), anywhere(strokes, w, h, 800, rng, 0.1), 16)
    page = 190 + (45 - 190) * ink
    n = int(rng.integers(6, 13)); side = rng.integers(4)
    page = np.rot90(page, side).copy(); page[:, -n:] = 95
    return finish(np.rot90(page, -side), 3, rng)


def ruled(strokes, rng):
    w, h = 800, 950
    height = 560
    box = anywhere(strokes, w, h, height, rng, 0.05, below=190)
    page = 205 + (45 - 205) * coverage(strokes, (w, h), box, rng.uniform(28, 40))
    y = int(box[1] + height + rng.uniform(100, 170)); y = min(y, h - 18)
    page[y:y + 16] = 95
    return finish(page, 2, rng)


def fold(strokes, rng):
    w, h = 1376, 1834
    box = anywhere(strokes, w, h, 440, rng, 0.15, below=640)
    ink = coverage(strokes, (w, h), box, 12)
    band = np.zeros((h, w), np.float32)
    y = int(box[1] + 440 + 600); y = min(y, h - 40); x = int(rng.uniform(0, w - 700))
    band[y:y + 22, x:x + 700] = 1
    band = ndimage.gaussian_filter(band, 8)
    return finish(165 * (1 - 0.14 * band) - 60 * ink, 1, rng)


def hard_shadow(strokes, rng, depth=None):
    w, h = 800, 1000
    ink = coverage(strokes, (w, h), anywhere(strokes, w, h, 500, rng, 0.1), 30)
    light = np.ones((h, w), np.float32)
    light[:, : int(rng.uniform(0.3, 0.44) * w)] = 1 - (depth or rng.uniform(0.35, 0.5))
    light = ndimage.gaussian_filter(light, (0, 1.5))
    light = np.rot90(light, 2) if rng.random() < 0.5 else light
    return finish((215 + (50 - 215) * ink) * light, 2, rng)


def sheet(strokes, rng):
    w, h = 800, 1000
    big = np.full((h, w), 75, np.float32)
    paper = np.full((640, 500), 222, np.float32)
    paper += (50 - 222) * coverage(strokes, (500, 640), anywhere(strokes, 500, 640, 330, rng, 0.12), 18)
    angle = rng.uniform(2, 5) * rng.choice([-1, 1])
    im = Image.fromarray(paper).rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=-1)
    a = np.asarray(im); m = np.asarray(Image.fromarray(np.full(paper.shape, 255, np.uint8)).rotate(angle, Image.Resampling.BICUBIC, expand=True), np.float32) / 255
    y, x = int(rng.integers(20, h - a.shape[0] - 20)), int(rng.integers(20, w - a.shape[1] - 20))
    big[y:y + a.shape[0], x:x + a.shape[1]] = np.where(m > 0.99, a, m * 222 + (1 - m) * 75)
    return finish(big, 6, rng)


def corner_shadow(strokes, rng):
    s = 518
    ink = coverage(strokes, (s, s), anywhere(strokes, s, s, 290, rng, 0.1), 4)
    y, x = np.mgrid[:s, :s]
    cy, cx = rng.choice([0, s]), rng.choice([0, s])
    r = np.hypot(y - cy, x - cx)
    light = 1 - rng.uniform(0.2, 0.3) * np.clip(1.5 - r / 260 * 1.0, 0, 1) ** 1.0 * (r < 400)
    light = ndimage.gaussian_filter(light.astype(np.float32), 12)
    colour = np.array([60, 70, 160], np.float32)
    rgb = (200 + (colour - 200) * ink[..., None]) * light[..., None]
    return finish(rgb, 2, rng)


def pencil(strokes, rng):
    w, h = 900, 1000
    ink = coverage(strokes, (w, h), anywhere(strokes, w, h, 500, rng, 0.1), 14)
    return finish(210 - rng.uniform(6, 9) * ink, 2, rng)


KINDS = {f.__name__: f for f in (thin_pen, edge_line, ruled, fold, hard_shadow, sheet, corner_shadow, pencil)}


def filled(rng):
    "A filled shape on an even ground: a bag, a shirt, a fruit, a cat's outline."
    s = int(rng.integers(200, 600))
    from PIL import ImageDraw
    im = Image.new("L", (s, s), int(rng.integers(180, 255))); d = ImageDraw.Draw(im)
    tone = int(rng.integers(0, 120)); u = lambda *p: [tuple(np.array(q) * s) for q in p]
    kind = int(rng.integers(6)); j = lambda v: v + rng.uniform(-0.04, 0.04)
    if kind == 0:  # bag with handles
        d.polygon(u((j(.25), j(.4)), (j(.75), j(.4)), (j(.82), j(.85)), (j(.18), j(.85))), tone)
        d.arc([j(.36) * s, .18 * s, j(.64) * s, .62 * s], 180, 360, tone, max(3, s // 40))
    elif kind == 1:  # shirt
        d.polygon(u((.35, .2), (.65, .2), (.9, j(.4)), (.8, .5), (.68, .42), (.68, j(.85)), (.32, j(.85)), (.32, .42), (.2, .5), (.1, j(.4))), tone)
    elif kind == 2:  # fruit with a stalk
        d.ellipse([j(.25) * s, j(.3) * s, j(.75) * s, j(.82) * s], tone); d.line(u((.5, .32), (j(.56), j(.16))), tone, max(3, s // 40))
    elif kind == 3:  # cat: body, head, ears, tail
        d.ellipse([.3 * s, .45 * s, .7 * s, .9 * s], tone); d.ellipse([.36 * s, .22 * s, .64 * s, .5 * s], tone)
        d.polygon(u((.37, .32), (.38, j(.14)), (.48, .25)), tone); d.polygon(u((.63, .32), (.62, j(.14)), (.52, .25)), tone)
        d.arc([.55 * s, .5 * s, .9 * s, .9 * s], -60, 90, tone, max(4, s // 25))
    elif kind == 4:  # trousers
        d.polygon(u((.32, .15), (.68, .15), (j(.74), .88), (.56, .88), (.5, j(.4)), (.44, .88), (j(.26), .88)), tone)
    else:  # boot
        d.polygon(u((.3, .15), (.5, .15), (.52, j(.55)), (j(.82), .68), (.84, .82), (.28, .82)), tone)
    return finish(np.asarray(im.rotate(rng.uniform(-15, 15), Image.Resampling.BICUBIC, fillcolor=im.getpixel((1, 1))), np.float32), rng.uniform(0, 4), rng)
