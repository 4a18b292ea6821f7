"""Training: the same bits each time, resume from every epoch, and a plain loop that agrees."""

import math

import pytest
import torch
import torch.nn.functional as F

from mnist_nb import PRESETS, DigitNet, Recipe, fit, load_mnist
from mnist_nb.data import FACTS, DigitData, InputError, LabelledImages
from mnist_nb.train import changed, start_run, train_epoch, train_step


@pytest.fixture(scope="module")
def little():
    digits = load_mnist("digits")
    return DigitData("digits", LabelledImages(*(t[:300] for t in digits.train)), digits.test)


def bits(model):
    return torch.cat([tensor.double().flatten() for tensor in model.state_dict().values()])


RECIPES = [*PRESETS.values(), changed(PRESETS["default"], ["ema_decay=0.9"]), changed(PRESETS["classic"], ["dropout_at=blocks"])]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_resume_from_any_epoch_gives_the_same_bits(little, tmp_path, recipe):
    recipe = changed(recipe, ["epochs=4"])
    whole, history = fit(recipe, little, seed=2)
    for stop in range(1, 4):
        path = tmp_path / f"{stop}.pt"
        with pytest.raises(KeyboardInterrupt):
            interrupted_after(stop, recipe, little, path)
        resumed, rows = fit(recipe, little, seed=2, checkpoint=path, resume=True)
        assert torch.equal(bits(whole), bits(resumed))
        assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in history]


def interrupted_after(epochs, recipe, data, path):
    "A fit that is stopped when its checkpoint holds so many epochs."
    import mnist_nb.train as module

    save = module.save_checkpoint

    def save_and_stop(run, path):
        save(run, path)
        if len(run.history) == epochs:
            raise KeyboardInterrupt

    module.save_checkpoint = save_and_stop
    try:
        fit(recipe, data, seed=2, checkpoint=path)
    finally:
        module.save_checkpoint = save


def test_the_same_seed_twice_and_another_seed(little):
    recipe = changed(PRESETS["default"], ["epochs=1"])
    first, again, other = (bits(fit(recipe, little, seed=seed)[0]) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_fit_leaves_the_callers_randomness_alone(little):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    fit(changed(PRESETS["default"], ["epochs=1"]), little)
    assert torch.equal(torch.rand(3), expected)


def test_fit_never_reads_the_test_images(little):
    poisoned = DigitData("digits", little.train, LabelledImages(None, None))
    fit(changed(PRESETS["default"], ["epochs=1"]), poisoned, valid=True)


def test_a_step_in_float32_agrees_with_float64(little):
    errors = []
    for seed in range(7):
        with torch.random.fork_rng():
            run = start_run(changed(PRESETS["default"], ["dropout=0"]), little, seed, valid=False)
        # noise, since flat paper makes ties in max pooling, which rounding then breaks one way or the other
        images, labels = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(seed)), little.train.labels[:16]
        exact = DigitNet(dropout=0.0, mean=FACTS["digits"].mean, std=FACTS["digits"].std)
        exact.load_state_dict(run.model.state_dict())
        exact.double()
        loss = F.cross_entropy(exact(images.double()), labels, label_smoothing=0.05)
        loss.backward()
        ours = train_step(run, images, labels)[0] / 16
        assert math.isclose(ours.item(), loss.item(), rel_tol=1e-5)
        both = [torch.cat([p.grad.double().flatten() for p in model.parameters()]) for model in (run.model, exact)]
        errors.append(((both[0] - both[1]).norm() / both[1].norm()).item())
    assert sorted(errors)[3] <= 1e-5, errors  # the median: where two values nearly tie for a maximum, rounding moves its gradient


def test_history_agrees_with_a_recount(little):
    with torch.random.fork_rng():
        run = start_run(changed(PRESETS["classic"], ["epochs=1", "max_lr=1e-8", "div_factor=1"]), little, seed=0, valid=True)
        row = train_epoch(run)
    assert row["epoch"] == 1 and len(run.train.labels) == 275 and len(run.held.labels) == 25
    assert 0 <= row["train_accuracy"] <= 100 and row["train_accuracy"] * 275 / 100 == pytest.approx(round(row["train_accuracy"] * 275 / 100))


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"epochs": 1.5}, {"batch_size": -1}, {"max_lr": math.nan}, {"max_lr": math.inf}, {"dropout": 1.0},
     {"rotation": "15"}, {"dropout_at": "everywhere"}, {"pooling": "median"}, {"warmup": 0.0}, {"epochs": True}],
)  # fmt: skip
def test_a_senseless_recipe_is_one_sentence(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_a_truncated_checkpoint_is_refused(little, tmp_path):
    recipe, path = changed(PRESETS["default"], ["epochs=1"]), tmp_path / "checkpoint.pt"
    fit(recipe, little, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match="damaged"):
        fit(recipe, little, checkpoint=path, resume=True)


def test_classic_is_the_published_recipe():
    classic = PRESETS["classic"]
    assert (classic.batch_size, classic.epochs, classic.rotation, classic.dropout) == (28, 10, 15.0, 0.1)
    assert classic.max_lr / classic.div_factor == pytest.approx(0.0001)
    assert classic.weight_decay == classic.label_smoothing == classic.ema_decay == 0  # Adam, and nothing added
    assert (FACTS["mnist"].mean, FACTS["mnist"].std) == (0.1307, 0.3081)
