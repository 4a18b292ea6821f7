"""Properties that hold for any input, tried on many (hypothesis)."""

import math

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_nb.augment import affine, random_affine
from mnist_nb.data import LabelledImages, batches, center_digit, read_idx
from mnist_nb.metrics import Evaluation, calibration_error, confusion_matrix, reliability
from mnist_nb.support import InputError

settings.register_profile("calm", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("calm")
seeds = st.integers(0, 2**31 - 1)


def noise(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def blob(seed, n=4):
    "Smooth spots of ink in the middle, as digits are."
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    middle = 14 + 4 * (noise(seed, n, 2, 1, 1) - 0.5)
    return (-((x - middle[:, :1]) ** 2 + (y - middle[:, 1:]) ** 2) / 18).exp()


@given(seeds, st.integers(1, 6), st.sampled_from([8, 28, 33]))
def test_no_strength_is_the_identity(seed, n, side):
    images = noise(seed, n, 1, side, side)
    same = random_affine(images, 0.0, 0.0, 0.0, 0.0, torch.Generator().manual_seed(seed))
    assert torch.allclose(same, images, atol=1e-4)


@given(seeds, st.floats(0, 180), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 45))
def test_augmented_images_are_finite_and_keep_shape_and_range(seed, rotation, translation, scale, shear):
    images = noise(seed, 3, 1, 28, 28)
    out = random_affine(images, rotation, translation, scale, shear, torch.Generator().manual_seed(seed))
    assert out.shape == images.shape and out.dtype == images.dtype and out.isfinite().all()
    assert out.min() >= 0 and out.max() <= images.max() + 1e-5  # bilinear means lie between their neighbours


@given(seeds, st.floats(0, 15), st.floats(0, 0.07), st.floats(0, 0.1))
def test_mass_is_roughly_kept_and_scales_with_area(seed, rotation, translation, scale):
    images = blob(seed)
    turned = random_affine(images, rotation, translation, 0.0, 0.0, torch.Generator().manual_seed(seed))
    assert torch.allclose(turned.sum((1, 2, 3)), images.sum((1, 2, 3)), rtol=0.05)
    n, zero = len(images), torch.zeros(len(images))
    larger = affine(images, zero, torch.zeros(n, 2), torch.full((n,), 1 + scale), zero)
    assert torch.allclose(larger.sum((1, 2, 3)), images.sum((1, 2, 3)) * (1 + scale) ** 2, rtol=0.05)


@given(seeds, st.integers(1, 300), st.integers(1, 64))
def test_batches_show_every_image_once(seed, n, size):
    images = (
        torch.arange(n, dtype=torch.int32).remainder(256).to(torch.uint8)[:, None, None].expand(n, 28, 28)
    )
    seen = list(
        batches(LabelledImages(images, torch.arange(n), "digits"), size, torch.Generator().manual_seed(seed))
    )
    labels = torch.cat([y for _, y in seen])
    assert labels.sort().values.tolist() == list(range(n)) and all(len(y) <= size for _, y in seen)
    assert all(torch.equal((x[:, 0, 0, 0] * 255).round().long(), y % 256) for x, y in seen)


@given(seeds, st.integers(1, 60), st.integers(1, 60), st.integers(1, 20))
def test_center_digit_keeps_size_range_and_place(seed, height, width, margin):
    image = torch.zeros(height + 2 * margin, width + 2 * margin)
    image[margin : margin + height, margin : margin + width] = noise(seed, height, width) + 0.01
    out = center_digit(image)
    assert (
        out.shape == (28, 28) and out.isfinite().all() and out.min() >= 0 and out.max() <= image.max() + 1e-5
    )
    sides = [(out > 0).any(axis).nonzero() for axis in (0, 1)]
    assert max((s.max() - s.min() + 1).item() for s in sides) == 20
    moved = torch.nn.functional.pad(image, (3, 0, 0, 5))
    assert torch.equal(center_digit(moved), out)  # where the digit lay does not matter


def answers(right, total):
    "What a network would say that reads so many of all images rightly."
    labels = torch.arange(total) % 10
    return Evaluation(labels, torch.eye(10)[(labels + (torch.arange(total) >= right)) % 10])


def wilson_by_hand(right, total):
    "Percent: all true shares p for which the observed one is at most 1.96 of their standard deviations away."
    z, share = 1.959963984540054, right / total
    middle, half = (
        share + z**2 / (2 * total),
        z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)),
    )
    return [100 * (middle + sign * half) / (1 + z**2 / total) for sign in (-1, 1)]


@given(st.integers(1, 3000), st.data())
def test_the_interval_is_wilsons_contains_the_share_and_stays_in_range(total, data):
    right = data.draw(st.integers(0, total))
    evaluation = answers(right, total)
    assert evaluation.right == right and math.isclose(evaluation.accuracy, 100 * right / total)
    low, high = evaluation.interval
    assert [low, high] == pytest.approx(wilson_by_hand(right, total), abs=1e-6)
    assert -1e-9 <= low <= 100 * right / total + 1e-9 and 100 * right / total - 1e-9 <= high <= 100 + 1e-9
    mirrored = answers(total - right, total).interval
    assert math.isclose(low, 100 - mirrored[1], abs_tol=1e-9)


@given(seeds, st.integers(1, 200))
def test_metrics_agree_with_scikit_learn(seed, n):
    logits = torch.randn(n, 10, generator=torch.Generator().manual_seed(seed)) * 3
    labels = torch.randint(0, 10, (n,), generator=torch.Generator().manual_seed(seed + 1))
    evaluation = Evaluation(labels, logits.softmax(1))
    assert evaluation.right == sklearn.metrics.accuracy_score(labels, evaluation.predictions, normalize=False)
    theirs = sklearn.metrics.confusion_matrix(labels, evaluation.predictions, labels=range(10))
    assert np.array_equal(confusion_matrix(evaluation), theirs)
    assert sum(row.images for row in reliability(evaluation)) == n
    assert 0 <= calibration_error(evaluation) <= 100


@given(seeds, st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_idx_round_trip_and_every_cut_is_refused(seed, shape, data):
    values = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    header = bytes([0, 0, 8, len(shape)]) + b"".join(s.to_bytes(4, "big") for s in shape)
    content = header + values.numpy().tobytes()
    assert torch.equal(read_idx(content), values)
    with pytest.raises(InputError):
        read_idx(content[: data.draw(st.integers(0, len(content) - 1))])


NAN = float("nan")
ONE = (torch.zeros(1), torch.zeros(1, 2), torch.ones(1), torch.zeros(1))


@pytest.mark.parametrize(
    "call",
    [
        lambda: center_digit(torch.zeros(5, 5)),
        lambda: center_digit(torch.zeros(0, 5)),
        lambda: center_digit(torch.ones(2, 5, 5)),
        lambda: center_digit(torch.full((5, 5), NAN)),
        lambda: affine(torch.zeros(1, 1, 28, 27), *ONE),
        lambda: affine(torch.zeros(0, 1, 28, 28), *ONE),
        lambda: affine(torch.full((1, 1, 28, 28), NAN), *ONE),
        lambda: affine(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), *ONE),
        lambda: affine(torch.zeros(2, 1, 28, 28), *ONE),
        lambda: affine(torch.zeros(1, 1, 28, 28), ONE[0], ONE[1], torch.zeros(1), ONE[3]),
        lambda: affine(torch.zeros(1, 1, 28, 28), torch.tensor([NAN]), *ONE[1:]),
        lambda: reliability(Evaluation(torch.zeros(1), torch.full((1, 10), NAN))),
        lambda: Evaluation(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 10)).interval,
        lambda: read_idx(b""),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert len(str(error.value)) > 20 and "\n" not in str(error.value)
