"""Properties that hold for any input, tried on many (hypothesis)."""

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.calibration
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as torchvision

from mnist_nb import augment
from mnist_nb.augment import affine, random_affine
from mnist_nb.data import LabelledImages, batches, center_digit, read_idx
from mnist_nb.metrics import (
    Evaluation,
    calibration_error,
    confusion_matrix,
    plot_confusion,
    reliability,
    worst_mistakes,
)
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


@settings(max_examples=20)
@given(seeds, st.sampled_from([8, 28, 33]))
def test_affine_agrees_with_torchvision(seed, side):
    angle, right, down, scale, shear = (2 * noise(seed, 5) - 1) * torch.tensor([180, 9.0, 9.0, 0.5, 40])
    image, shift = noise(seed, 1, 1, side, side), torch.stack([right, down])
    ours = affine(image, angle[None], shift[None], 1 + scale[None], shear[None])
    numbers = angle.item(), shift.tolist(), 1 + scale.item(), [shear.item(), 0.0]
    theirs = torchvision.affine(image, *numbers, interpolation=InterpolationMode.BILINEAR)
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_draws_are_uniform_between_their_extremes_and_independent(monkeypatch):
    drawn, backward = [], augment.backward_matrices
    monkeypatch.setattr(
        augment, "backward_matrices", lambda *given: drawn.extend(given[:4]) or backward(*given)
    )
    images = torch.zeros(1, 1, 8, 8).expand(4000, -1, -1, -1)
    random_affine(images, 20.0, 0.25, 0.1, 5.0, torch.Generator().manual_seed(0))
    angle, shift, scale, shear = drawn
    units = torch.stack([angle / 20, *(shift / (0.25 * 8)).T, (scale - 1) / 0.1, shear / 5]).double()
    assert all(scipy.stats.kstest(unit, "uniform", (-1, 2)).pvalue > 1e-3 for unit in units)
    assert (units.corrcoef() - torch.eye(5)).abs().max() < 4 / math.sqrt(4000)


def test_draws_follow_from_the_generator_alone_and_nothing_is_learned_through_them():
    images = noise(0, 3, 1, 28, 28).requires_grad_()
    first, again, other = (
        random_affine(images, 9.0, 0.1, 0.1, 9.0, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other) and not first.requires_grad


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


@given(seeds, st.integers(1, 200), st.integers(2, 20))
def test_reliability_is_scikit_learns_curve_and_calibration_error_the_mean_gap_over_all_images(seed, n, bins):
    probabilities = (noise(seed, n, 10) * 6).softmax(1)
    evaluation = Evaluation((noise(seed + 1, n) * 10).long(), probabilities)
    confidence, answers = (part.numpy() for part in probabilities.double().max(1))
    right = answers == evaluation.labels.numpy()
    rows = reliability(evaluation, bins)
    theirs = sklearn.calibration.calibration_curve(right, confidence, n_bins=bins)
    assert [row.accuracy for row in rows] == pytest.approx(theirs[0])
    assert [row.confidence for row in rows] == pytest.approx(theirs[1])
    number = np.digitize(confidence, np.linspace(0, 1, bins + 1), right=True)
    assert [row.images for row in rows] == [c for c in np.bincount(number) if c]
    gaps = [abs((confidence - right)[number == b].sum()) for b in set(number)]
    assert calibration_error(evaluation, bins) == pytest.approx(100 * sum(gaps) / n)


def test_a_confidence_on_the_edge_belongs_to_the_bin_below():
    sure = torch.tensor([0.25, 0.375, 0.5, 0.75, 1.0])[:, None]
    evaluation = Evaluation(
        torch.zeros(5, dtype=torch.int64), torch.cat([sure, (1 - sure).expand(-1, 9) / 9], 1)
    )
    assert [row.images for row in reliability(evaluation, 4)] == [1, 2, 1, 1]


@given(seeds, st.integers(1, 60), st.integers(1, 30))
def test_the_worst_mistakes_are_those_whose_label_has_the_least_probability(seed, n, count):
    evaluation = Evaluation((noise(seed + 1, n) * 10).long(), (noise(seed, n, 10) * 6).softmax(1))
    given = {
        i: p[label].item() for i, (p, label) in enumerate(zip(evaluation.probabilities, evaluation.labels))
    }
    wrong = [i for i, p in given.items() if p < evaluation.probabilities[i].max().item()]
    assert worst_mistakes(evaluation, count).tolist() == sorted(wrong, key=given.get)[:count]


def test_a_confusion_is_drawn_where_its_label_and_its_answer_cross():
    matrix = torch.arange(100).view(10, 10)
    figure = plot_confusion(matrix, "digits")
    axes, ground = figure.axes[0], figure.axes[0].images[0].get_array()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "label")
    texts = {(text.get_position()[1], text.get_position()[0]): text for text in axes.texts}
    assert {place: text.get_text() for place, text in texts.items()} == {
        (row, column): str(10 * row + column) for row in range(10) for column in range(10)
    }
    assert [place for place in texts if ground.mask[place]] == [(i, i) for i in range(10)]  # left white
    assert all(ground[place] == int(text.get_text()) for place, text in texts.items() if place[0] != place[1])
    for place, text in texts.items():  # legible, whatever it stands on
        red, green, blue, _ = axes.images[0].to_rgba(ground)[place] if not ground.mask[place] else [1] * 4
        lightness = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert lightness < 0.55 if text.get_color() == "white" else lightness > 0.45, place


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
        lambda: affine(
            torch.zeros(2, 1, 8, 8), torch.zeros(2), torch.zeros(2, 2), torch.arange(2.0), torch.zeros(2)
        ),
        lambda: reliability(Evaluation(torch.zeros(1), torch.full((1, 10), NAN))),
        lambda: Evaluation(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 10)).interval,
        lambda: read_idx(b""),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert len(str(error.value)) > 20 and "\n" not in str(error.value)
