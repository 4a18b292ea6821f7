"The pipeline, clean: to become cells of 07_handwriting"
import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from mnist_nb.data import center_digit

PAGE = 256  # pixels, the longer side at which a page is searched for its digit
BRUSHES = (7, 11, 15, 27, 43, 67, 91, 127)  # pixels of a page


def brushed(
    page: np.ndarray,  # float [h, w], grey levels
    brush: int,  # pixels, odd; the side of a square
) -> np.ndarray:  # float [h, w]
    "The page, with all that is darker than around it and narrower than the brush painted over."
    page = np.pad(page, 1, mode="edge")
    for side in (page[0], page[-1], page[:, 0], page[:, -1]):  # ink may run into the rim, or along it
        side[:] = ndimage.grey_closing(side, min(3 * brush // 2, len(side)))
    page = np.pad(page, brush, mode="edge")  # beyond the rim all goes on as it is there
    return ndimage.grey_closing(page, (brush, brush))[brush + 1 : -brush - 1, brush + 1 : -brush - 1]


def covered(
    page: np.ndarray,  # float [h, w]
) -> np.ndarray:  # float [8]
    "How much darkness each brush paints over: grey levels, the mean over the page."
    small = page[::2, ::2]
    return np.array([(brushed(small, brush // 2) - small).mean() for brush in BRUSHES])


def dark_on_light(
    page: np.ndarray,  # float [h, w], 0 to 255
) -> tuple[np.ndarray, int]:  # the page with ink darker than paper, and the brush that paints it over
    "Strokes are thinner than what lies between them, so what thin brushes cover is the ink."
    pages = page, 255 - page
    covers = [covered(page) for page in pages]
    thin = [(np.diff(cover, prepend=0) / np.square(BRUSHES)).sum() for cover in covers]
    way = int(thin[1] > thin[0])
    enough = int(np.argmax(covers[way] >= 0.8 * covers[way][-1])) + 1
    return pages[way], BRUSHES[min(enough, len(BRUSHES) - 1)]


class Ink:
    pass


def ink_depth(
    page: np.ndarray,  # float [h, w], 0 to 255
) -> tuple[np.ndarray, float]:  # float [h, w], the share of the light that the ink takes; and the noise in it
    "Compare the page with its paper."
    page, brush = dark_on_light(ndimage.gaussian_filter(page, 0.7))
    paper = np.maximum(brushed(page, brush), 20)
    depth = 1 - page / paper
    noise = 3 * np.median(np.abs(page - ndimage.uniform_filter(page, 3))) / np.median(paper)
    return depth - np.quantile(depth, 0.25), noise


def is_stray(
    piece: tuple[np.ndarray, np.ndarray],  # rows and columns of its pixels
    shape: tuple[int, int],  # of the page
) -> bool:
    "Whether a piece touches the rim, and is a straight line or runs along it."
    sides = [np.minimum(at, length - 1 - at) for at, length in zip(piece, shape)]  # to the nearer side
    if min(side.min() for side in sides) > 1:
        return False
    short, long = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(piece)), 0)) if len(piece[0]) > 1 else (0, 0)
    line = short < 0.03 * max(shape) and long > 6 * short
    return bool(line or min(np.median(side) for side in sides) < 0.05 * max(shape))


def digit_pieces(
    depth: np.ndarray,  # float [h, w]
    mask: np.ndarray,  # bool [h, w], what may be ink
) -> np.ndarray:  # bool [h, w]
    "The piece with most ink that is no stray line, and what is near it and as dark."
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    mass = ndimage.sum_labels(depth, labels, numbers)
    numbers = numbers[mass > mass.max() / 50]
    good = [n for n in numbers if not is_stray(np.nonzero(labels == n), mask.shape)] or list(numbers)
    main = max(good, key=lambda n: mass[n - 1])
    kept = labels == main
    far, size = ndimage.distance_transform_edt(~kept), extent(kept)
    tone = np.quantile(depth[kept], 0.75)
    for n in good:
        here = labels == n
        if far[here].min() < 0.2 * size and np.quantile(depth[here], 0.9) > 0.4 * tone:
            kept = kept | here
    return kept


def extent(
    mask: np.ndarray,  # bool [h, w], not empty
) -> int:  # pixels
    "The longer side of what is in it."
    return 1 + max(int(np.ptp(at)) for at in np.nonzero(mask))


def pen_width(
    mask: np.ndarray,  # bool [h, w], strokes
) -> float:  # pixels
    "In a stripe of width w the distance to the edge is (w + 2) / 4 on average."
    return 4 * ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask].mean() - 2


THIN, THICK = 0.086, 0.262  # widths of MNIST's pens as shares of the digit: one digit in 100 is thinner, one thicker


def usual_pen(
    ink: np.ndarray,  # float [h, w], 0 to 1
) -> np.ndarray:  # float, larger by a margin where strokes grow
    "The same digit, written with a pen as MNIST's writers had them."
    strokes = ink > 0.5
    width, size = pen_width(strokes), extent(strokes)
    more = (np.clip(width, THIN * size, THICK * size) - width) / 2
    if more == 0:
        return ink
    strokes = np.pad(strokes, max(2, int(more) + 2))
    inside, outside = (ndimage.distance_transform_edt(part) for part in (strokes, ~strokes))
    return np.clip(np.where(strokes, inside, 1 - outside) + more, 0, 1)


def looks_drawn(kept, depth, mask):
    "Whether pieces can be strokes of a pen: thin, not too much outline, and most of what is dark."
    size = extent(kept)
    outline = kept.sum() - ndimage.binary_erosion(kept).sum()
    disc = 2 * ndimage.distance_transform_edt(np.pad(kept, 1)).max()
    share = depth[kept].sum() / depth[mask].sum()
    return disc < 0.44 * size and pen_width(kept) < 0.27 * size and outline < 6.8 * size and share > 0.4


def find_ink(page, trace=None):
    depth, noise = ink_depth(page)
    top = np.quantile(depth, 0.997)
    mask = depth > max(5 * noise, 0.2 * top)
    if trace is not None: trace.update(depth=depth, mask=mask, noise=noise, top=top)
    if top < 20 * noise or top < 0.01 or not mask.any():
        return None, False
    kept = digit_pieces(depth, mask)
    if trace is not None: trace.update(kept=kept)
    tones = depth[kept]
    full = np.median(tones[tones > 0.5 * np.quantile(tones, 0.95)])
    floor = max(0.2, 3 * noise / full)
    ink = np.clip((depth / full - floor) / (0.8 - floor), 0, 1)
    ink = np.where(ndimage.binary_dilation(kept, iterations=2), ink, 0)
    if not (ink > 0.5).any(): return None, False
    return usual_pen(ink), looks_drawn(kept, depth, mask)


def grey(a):
    im = Image.fromarray(a)
    g = np.asarray(im.convert("L"), np.float32)
    s = PAGE / max(im.size)
    size = [max(1, round(s * k)) for k in im.size]
    return np.asarray(Image.fromarray(g).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))


def prepare(a, trace=None):
    ink, drawn = find_ink(grey(a), trace)
    if trace is not None: trace["drawn"] = drawn
    if ink is None: return torch.zeros(28, 28, dtype=torch.uint8)
    return (255 * center_digit(torch.from_numpy(np.asarray(ink, np.float64)))).round().clamp(0, 255).to(torch.uint8)
