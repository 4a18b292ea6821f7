"""Training: the same bits each time, resume from every epoch, and a recount by hand that agrees."""

import functools
import importlib
import inspect
import json
import math
from contextlib import contextmanager
from dataclasses import fields, replace

import pytest
import torch
import torch.nn.functional as F
from conftest import bits
from sklearn.linear_model import LogisticRegression
from torch import nn

from mnist_nb import PRESETS, DigitNet, Recipe, evaluate, fit
from mnist_nb.augment import random_affine
from mnist_nb.data import FACTS, DigitData, LabelledImages, batches, embedded_digits, hold_out, to_input
from mnist_nb.experiments import study
from mnist_nb.experiments.many import (
    GroupedDropout,
    fit_many,
    joint_batches,
    joint_run,
    joint_step,
    ungroup,
)
from mnist_nb.experiments.variants import (
    Averaged,
    FreeNet,
    LinearNet,
    Variant,
    VariantParts,
    linear,
    muon,
    separable,
    sgd,
    varied,
)
from mnist_nb.model import load_weights, predict_logits, save_weights
from mnist_nb.runs import measure, read_state
from mnist_nb.support import InputError
from mnist_nb.train import (
    PLAIN_RECIPE,
    RANGES,
    as_recipe,
    augmented_batches,
    changed,
    epoch_seeds,
    epochs,
    learning_rates,
    plot_history,
    read_recipe,
    start_run,
    train_epoch,
    train_step,
)

DEFAULT, CLASSIC = PRESETS["default"], PRESETS["classic"]
ONE = changed(DEFAULT, ["epochs=1"])

# The same bits

RECIPES = [
    *PRESETS.values(),
    varied(DEFAULT, ["ema_decay=0.9"]),
    varied(CLASSIC, ["dropout_at=blocks", "plain_epochs=2"]),
    varied(DEFAULT, ["optimizer=sgd"]),
    varied(DEFAULT, ["optimizer=muon"]),
    varied(DEFAULT, ["optimizer=muon", "norm=none", "activation=silu", "ema_decay=0.9", "ema_every=3"]),
    Variant(
        name="small",
        conv=separable,
        shared=True,
        widths=(4, 8, 8, 8),
        pool_after=3,
        first_pool=2,
        ema_decay=0.9,
    ),
    Variant(name="linear", network=linear),
]


def interrupted(monkeypatch, after, *arguments):
    "A measurement that is stopped when its checkpoint holds so many epochs."
    import mnist_nb.runs as module

    save = module.save_checkpoint

    def save_and_stop(run, path):
        save(run, path)
        if len(run.history) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "save_checkpoint", save_and_stop)
        measure(*arguments)


def without_time(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_resume_from_any_epoch_gives_the_same_bits(little, tmp_path, monkeypatch, recipe):
    recipe, (train, held) = changed(recipe, ["epochs=4"]), hold_out(little.train, 2)
    whole = measure(recipe, train, held, True, 2)
    assert len(whole.history) == 4
    for stop in range(1, 5):
        arguments = (recipe, train, held, True, 2, tmp_path / f"{stop}.pt")
        interrupted(monkeypatch, stop, *arguments)
        resumed = measure(*arguments, resume=True)
        assert torch.equal(bits(whole.model), bits(resumed.model))
        assert without_time(resumed.history) == without_time(whole.history)
        assert without_time([resumed.row]) == without_time([whole.row])
        assert torch.equal(resumed.answers.probabilities, whole.answers.probabilities)


def test_fit_and_a_measurement_with_checkpoints_are_the_same_run(little, tmp_path):
    recipe, (train, held) = changed(DEFAULT, ["epochs=2"]), hold_out(little.train, 2)
    model, history = fit(recipe, train, held, seed=2)
    measured = measure(recipe, train, held, True, 2, tmp_path / "checkpoint.pt")
    assert torch.equal(bits(model), bits(measured.model)) and without_time(history) == without_time(
        measured.history
    )
    assert measured.row["accuracy"] == round(history[-1]["valid_accuracy"], 4)
    assert torch.equal(
        bits(model), bits(fit(recipe, train, seed=2)[0])
    )  # looking at held-out images changes nothing
    assert all("valid_accuracy" in row for row in history) and len(history) == 2
    assert not any(layer.training for layer in model.modules())


def test_the_same_seed_twice_and_another_seed(little):
    first, again, other = (bits(fit(ONE, little.train, seed=seed)[0]) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_variant_of_which_nothing_is_replaced_gives_the_same_bits(little, preset):
    recipe = changed(PRESETS[preset], ["epochs=1"])
    variant = Variant(**vars(recipe))
    (plain, rows), (free, others) = (fit(each, little.train, seed=3) for each in (recipe, variant))
    assert type(plain) is DigitNet and type(free) is FreeNet
    assert torch.equal(bits(plain), bits(free)) and without_time(rows) == without_time(others)


def test_initial_weights_follow_from_the_seed_and_from_nothing_that_was_drawn_before(little):
    starts = []
    for before, seed in ((1, 3), (2, 3), (2, 4)):
        torch.manual_seed(before)
        starts.append(bits(start_run(ONE, little.train, seed).model))
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[1], starts[2])


def test_no_two_epochs_of_any_runs_share_their_randomness():
    "Neither the next epoch of the same run, nor the run with the next seed."
    seeds = [number for seed in range(20) for epoch in range(20) for number in epoch_seeds(seed, epoch)]
    assert len(set(seeds)) == len(seeds) == 3 * 20 * 20 and epoch_seeds(7, 2) == epoch_seeds(7, 2)


def test_fit_leaves_the_callers_randomness_alone(little):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    fit(ONE, little.train)
    assert torch.equal(torch.rand(3), expected)


def test_networks_trained_at_once_are_those_that_each_would_be_alone(little):
    recipe = changed(DEFAULT, ["epochs=2", "batch_size=100"])
    for seed, together in zip((3, 5), fit_many(recipe, little.train, [3, 5])):
        alone, _ = fit(recipe, little.train, seed=seed)
        other, _ = fit(recipe, little.train, seed=seed + 1)
        close, far = ((bits(together) - bits(model)).norm() for model in (alone, other))
        assert close < 0.05 * far


@pytest.mark.parametrize("seeds", [[4], [3, 5, 3]], ids=str)
def test_networks_trained_at_once_take_the_steps_that_each_would_alone(little, seeds):
    "In float64, where the order of the sums hardly counts, to the last and smaller batch of two epochs."
    recipe, few = changed(DEFAULT, ["epochs=2", "batch_size=32"]), little.train.part(slice(80))

    def doubled(seed):
        run = start_run(recipe, few, seed)
        run.model.double()
        return run

    runs, alone = ([doubled(seed) for seed in seeds] for _ in range(2))
    joint = joint_run(runs)
    for epoch in range(2):
        for images, labels in joint_batches(runs, joint, epoch):
            joint_step(joint, images.double(), labels)
            joint.schedule.step()
    ungroup(joint.model, [run.model for run in runs])
    for run in alone:
        for epoch in range(2):
            with seeded_batches(run, epoch) as stream:
                for images, labels in stream:
                    train_step(run, images.double(), labels)
                    run.schedule.step()
    differences = [(bits(a.model) - bits(b.model)).abs().max() for a, b in zip(runs, alone)]
    assert max(differences) < 1e-7
    assert all((bits(a.model) - bits(b.model)).abs().max() > 0.01 for a, b in zip(runs, runs[1:]))


def test_networks_trained_at_once_are_given_back_in_eval_mode_and_in_the_order_of_their_seeds(little):
    models = fit_many(ONE, little.train, [3, 5, 3])
    assert not any(layer.training for model in models for layer in model.modules())
    first, other, again = map(bits, models)
    assert (first - again).norm() < 0.05 * (first - other).norm()


def test_training_at_once_refuses_what_it_cannot_do_in_one_sentence(little):
    for recipe, train, seeds, words in (
        (ONE, little.train, [], "seeds: expected at least one"),
        (varied(ONE, ["optimizer=sgd"]), little.train, [3, 5], "plain Recipe only, not by a Variant"),
        (ONE, little.train.part(slice(20)), [3, 5], "larger than the 20 training images"),
        (
            ONE,
            little.train._replace(labels=little.train.labels[:5]),
            [3, 5],
            "expected a label for each image",
        ),
        (ONE, little.train._replace(name="letters"), [3], "data set 'letters'"),
    ):
        with pytest.raises(InputError, match=words) as error:
            fit_many(recipe, train, seeds)
        assert "\n" not in str(error.value)


def test_networks_trained_together_are_seeded_by_the_call_and_not_by_the_first_batch(little):
    runs = [start_run(ONE, little.train, seed) for seed in (3, 5)]
    joint = joint_run(runs)
    joint_batches(runs, joint, epoch=0)  # no batch is taken
    (dropout,) = [layer for layer in joint.model.modules() if isinstance(layer, GroupedDropout)]
    assert [g.initial_seed() for g in dropout.generators] == [epoch_seeds(seed, 0)[2] for seed in (3, 5)]


# The test images are not read

POISON = LabelledImages(None, None, "digits")


def test_fit_is_not_given_the_test_images():
    parameters = inspect.signature(fit).parameters
    assert list(parameters) == ["recipe", "train", "held", "seed", "progress"]
    assert not [name for name, p in parameters.items() if "DigitData" in str(p.annotation) or "test" in name]


def test_a_run_with_a_held_out_fold_never_reads_the_test_images(little, monkeypatch):
    poisoned = DigitData(little.train, POISON)
    monkeypatch.setattr(study, "load_mnist", lambda source: poisoned)
    monkeypatch.setattr(study.torch, "set_num_threads", lambda threads: None)
    row, histories = study.one_run(ONE, 5, True, "digits")
    train, held = hold_out(little.train, 5)
    measured = measure(ONE, train, held, True, 5)
    assert row["accuracy"] == measured.row["accuracy"] == round(evaluate(measured.model, held).accuracy, 4)
    assert row["scored_on"] == "valid" and row["images"] == 275 and len(histories) == 1
    with pytest.raises(TypeError, match="images"):  # the poison works
        study.one_run(ONE, 5, False, "digits")


def test_a_run_for_the_test_images_reads_them_only_after_its_last_epoch(little, tmp_path):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(TypeError, match="images"):
        measure(changed(DEFAULT, ["epochs=2"]), little.train, POISON, False, 0, path)
    history = read_state(path, torch.device("cpu"))["history"]
    assert [row["epoch"] for row in history] == [1, 2] and "valid_accuracy" not in history[0]


def test_the_test_images_are_scored_once(little, monkeypatch):
    import mnist_nb.runs as module

    asked = []
    monkeypatch.setattr(module, "evaluate", lambda model, data: asked.append(data) or evaluate(model, data))
    measured = measure(changed(DEFAULT, ["epochs=2"]), little.train, little.test, False)
    assert [data is little.test for data in asked].count(True) == 1
    assert measured.row["scored_on"] == "test" and measured.row["accuracy"] == round(
        measured.answers.accuracy, 4
    )
    assert torch.equal(measured.answers.labels, little.test.labels)


# One step, one epoch


@contextmanager
def seeded_batches(run, epoch):
    "What a run learns from in an epoch, and PyTorch's own randomness as the run has it meanwhile."
    order, draws, dropout = epoch_seeds(run.seed, epoch)
    generators = torch.Generator().manual_seed(order), torch.Generator().manual_seed(draws)
    run.model.train()
    with torch.random.fork_rng():
        torch.manual_seed(dropout)
        yield augmented_batches(run.recipe, run.train, epoch, *generators)


def test_a_step_in_float32_agrees_with_float64(little):
    errors = []
    for seed in range(7):
        with torch.random.fork_rng():
            run = start_run(changed(DEFAULT, ["dropout=0"]), little.train, seed)
        # noise, since flat paper makes ties in max pooling, which rounding then breaks one way or the other
        images, labels = (
            torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(seed)),
            little.train.labels[:16],
        )
        exact = DigitNet(dropout=0.0, mean=FACTS["digits"].mean, std=FACTS["digits"].std)
        exact.load_state_dict(run.model.state_dict())
        exact.double()
        loss = F.cross_entropy(exact(images.double()), labels, label_smoothing=0.05)
        loss.backward()
        ours = train_step(run, images, labels)[0] / 16
        assert math.isclose(ours.item(), loss.item(), rel_tol=1e-5)
        both = [
            torch.cat([p.grad.double().flatten() for p in model.parameters()]) for model in (run.model, exact)
        ]
        errors.append(((both[0] - both[1]).norm() / both[1].norm()).item())
    assert sorted(errors)[3] <= 1e-5, (
        errors
    )  # the median: where two values nearly tie for a maximum, rounding moves its gradient


def loss_by_hand(logits, labels, smoothing):
    "The cross-entropy of each image in nats, `smoothing` of it spread evenly over the ten classes."
    log_p = logits.double() - logits.double().logsumexp(1, keepdim=True)
    return -(1 - smoothing) * log_p[torch.arange(len(labels)), labels] - smoothing * log_p.mean(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.05])
def test_history_agrees_with_a_recount(little, smoothing):
    "At a learning rate so small that no weight moves the same batches, of 64 or less, give the same answers."
    settings = [
        "epochs=1",
        "max_lr=1e-8",
        "div_factor=1000",
        "weight_decay=0",
        "dropout=0",
        "rotation=0",
        "translation=0",
        "scale=0",
    ]
    recipe, (train, held) = (
        changed(DEFAULT, [*settings, f"label_smoothing={smoothing}"]),
        hold_out(little.train, 0),
    )
    run = start_run(recipe, train, seed=4)
    before = [p.detach().clone() for p in run.model.parameters()]
    (row,) = epochs(run, held)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(before, run.model.parameters()))
    order = torch.randperm(275, generator=torch.Generator().manual_seed(epoch_seeds(4, 0)[0]))
    parts, loss, right = order.split(64), 0.0, 0
    assert len(held.labels) == 25 and [len(part) for part in parts] == [64, 64, 64, 64, 19]
    with torch.no_grad():
        twin = start_run(recipe, train, seed=4).model.train()
        for part in parts:
            logits, labels = twin(to_input(train.images[part])), train.labels[part]
            loss += loss_by_hand(logits, labels, smoothing).sum().item()
            right += (logits.argmax(1) == labels).sum().item()
        logits = run.model.eval()(to_input(held.images))
    assert row["train_loss"] == pytest.approx(loss / 275, rel=1e-5)
    assert row["train_accuracy"] == pytest.approx(100 * right / 275) and 0 < right < 275
    assert row["valid_loss"] == pytest.approx(loss_by_hand(logits, held.labels, 0.0).mean().item(), rel=1e-5)
    assert row["valid_accuracy"] == pytest.approx(4 * (logits.argmax(1) == held.labels).sum().item())
    assert row["epoch"] == 1 and row["seconds"] > 0 and run.history == [row]


def test_an_epoch_is_its_steps_one_after_the_other_and_its_row_their_recount(little):
    "With everything random: augmentation, order and dropout follow from the seed and the epoch alone."
    run, twin = (start_run(changed(DEFAULT, ["epochs=3"]), little.train, seed=5) for _ in range(2))
    for epoch in range(2):
        run.model.eval()  # as whoever looked at it may have left it
        run.history.append(train_epoch(run))
        losses, right = [], 0
        with seeded_batches(twin, epoch) as stream:
            for images, labels in stream:
                logits = twin.model(images)
                losses.append(loss_by_hand(logits.detach(), labels, 0.05))
                right += (logits.argmax(1) == labels).sum().item()
                twin.optimizer.zero_grad()
                F.cross_entropy(logits, labels, label_smoothing=0.05).backward()
                twin.optimizer.step()
                twin.schedule.step()
        row = run.history[-1]
        assert row["epoch"] == epoch + 1 and len(losses) == 5 and len(losses[-1]) == 300 - 4 * 64
        assert row["train_loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
        assert row["train_accuracy"] == pytest.approx(right / 3)
    assert torch.equal(bits(run.model), bits(twin.model))


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nearly_nothing(little):
    for recipe in (*PRESETS.values(), changed(DEFAULT, ["warmup=0.1", "div_factor=10"])):
        run = start_run(recipe, little.train)
        steps, rates = recipe.epochs * math.ceil(300 / recipe.batch_size), [run.schedule.get_last_lr()[0]]
        assert run.schedule.total_steps == steps
        for _ in range(steps - 1):
            run.optimizer.step()
            run.schedule.step()
            rates.append(run.schedule.get_last_lr()[0])
        assert learning_rates(recipe, steps) == rates  # as they are drawn
        top = rates.index(max(rates))
        assert rates[0] == pytest.approx(recipe.max_lr / recipe.div_factor) and max(rates) == pytest.approx(
            recipe.max_lr, rel=0.05
        )
        assert abs(top - recipe.warmup * steps) <= 1 and rates[-1] < 1e-4 * rates[0] * 1.001
        assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(
            rates[top:], reverse=True
        )


def test_the_first_step_is_adams_and_weights_decay_apart_from_it():
    "By hand: Adam's first step has the size of the rate, whatever the gradient's; the decay is beside it."
    recipe = changed(DEFAULT, ["weight_decay=0.5", "max_lr=0.1"])
    layer = nn.Linear(3, 2, bias=False)
    before, layer.weight.grad = layer.weight.detach().clone(), torch.tensor([[1e3, -1e-5, 1e-7], [-1, 0, 1]])
    recipe.make_optimizer(layer).step()
    moved = layer.weight.grad / (layer.weight.grad.abs() + 1e-8)
    assert torch.allclose(layer.weight, before * (1 - 0.1 * 0.5) - 0.1 * moved, rtol=1e-5, atol=1e-6)


def test_a_batch_may_hold_all_images(little):
    run = start_run(changed(DEFAULT, ["batch_size=300", "epochs=2"]), little.train)
    assert run.schedule.total_steps == 2 and train_epoch(run)["epoch"] == 1


@pytest.mark.parametrize("size", [64, 100, 512, 700])
def test_all_batches_but_the_last_have_the_size_of_the_recipe(digits, size):
    "More images than are augmented at once."
    recipe, generators = changed(DEFAULT, [f"batch_size={size}"]), [torch.Generator() for _ in range(2)]
    sizes = [len(labels) for _, labels in augmented_batches(recipe, digits.train, 0, *generators)]
    assert sizes == [size] * (1500 // size) + [1500 % size] * (1500 % size > 0)


def test_the_range_test_takes_steps_of_growing_rates_and_tells_the_mean_loss(little, monkeypatch):
    import mnist_nb.train as module

    rates = []
    plain, said = module.train_step, []

    def step(run, images, labels):
        rates.append(run.optimizer.param_groups[0]["lr"])
        said.append(plain(run, images, labels)[0].item() / len(labels))
        return torch.tensor([said[-1] * len(labels), 0])

    monkeypatch.setattr(module, "train_step", step)
    points = module.lr_range_test(DEFAULT, little.train, 1e-4, 1.0, 9)  # more than an epoch of 5 steps
    assert [rate for rate, _ in points] == rates == pytest.approx([10 ** (-4 + i / 2) for i in range(9)])
    assert [loss for _, loss in points] == pytest.approx(said)


def test_the_history_is_drawn_over_its_epochs(little):
    recipe, (train, held) = changed(DEFAULT, ["epochs=2"]), hold_out(little.train, 2)
    _, history = fit(recipe, train, held)
    loss, accuracy, rate = plot_history(history, recipe, "digits").axes
    for axes, kind in ((loss, "loss"), (accuracy, "accuracy")):
        drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
        assert drawn == {
            label: ([1, 2], [row[f"{part}_{kind}"] for row in history])
            for part, label in (("train", "training, augmented"), ("valid", "held-out fold"))
        }
    (line,) = rate.lines
    x, y = line.get_xdata(), list(line.get_ydata())
    assert min(x) == 0 and 1.9 < max(x) < 2 and x[y.index(max(y))] == pytest.approx(0.3 * 2, abs=0.02)


# Recipes


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"epochs": 1.5}, {"epochs": True}, {"batch_size": 0}, {"max_lr": math.nan},
     {"max_lr": math.inf}, {"dropout": 1.0}, {"rotation": "15"}, {"warmup": 0.0}, {"pool_after": 6},
     {"pool_after": 4.0}, {"name": 5}, {"name": None}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("kind", [Recipe, Variant])
def test_a_senseless_recipe_is_one_sentence(kind, wrong):
    ((field, value),) = wrong.items()
    with pytest.raises(InputError, match=field) as error:
        kind(**{field: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", RANGES)
def test_a_number_may_be_the_least_or_the_largest_and_nothing_beyond(field):
    lowest, highest = RANGES[field]
    little = 1 if isinstance(getattr(DEFAULT, field), int) else 1e-9
    for value in (lowest, highest):
        assert getattr(replace(DEFAULT, **{field: value}), field) == value  # whole numbers serve as floats
    for value in (lowest - little, highest + little):
        with pytest.raises(InputError, match=f"{field} must be from"):
            replace(DEFAULT, **{field: value})


@pytest.mark.parametrize(
    "wrong",
    [{"widths": 7}, {"widths": None}, {"widths": [8, 16, 16]}, {"widths": (8, 16)}, {"widths": (8, -1, 8)},
     {"widths": (8, "x", 8)}, {"widths": (8, 16.0, 8)},
     {"widths": (8,) * 21}, {"first_pool": 5}, {"first_pool": 0}, {"pool_after": 6}, {"pool_after": 1},
     {"muon_lr": 0.0}, {"muon_lr": "fast"}, {"ema_decay": 1.0},
     {"ema_every": 0}, {"ema_every": 1.5}, {"shear": 81.0}, {"plain_epochs": -1}, {"final_div_factor": 0.5}],
    ids=str,
)  # fmt: skip
def test_a_senseless_variant_is_one_sentence(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))) as error:
        Variant(**wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["network", "conv", "activation", "norm", "pooling", "optimizer"])
def test_a_part_is_something_that_a_module_defines(field):
    "A word is no part, and what has no name cannot be stored, nor sent to a worker process."
    for value in ("thin", 3, lambda *_: None, functools.partial(torch.nn.ReLU, inplace=True)):
        with pytest.raises(InputError, match=field) as error:
            Variant(**{field: value})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", ["shared", "skips", "block_dropout"])
def test_yes_or_no_is_true_or_false(field):
    for value in ("none", 1, None):
        with pytest.raises(InputError, match=field):
            Variant(**{field: value})


@pytest.mark.parametrize(
    "setting",
    ["dropout_at=everywhere", "pooling=median", "widths=8,16", "filters=thin", "optimizer=lion", "norm=layer",
     "skips=some", "activation=tanh", "speed=9", "epochs=ten", "max_lr=", "name=mine"],
)  # fmt: skip
def test_a_setting_that_means_nothing_is_refused_by_its_name(setting):
    for change in (changed, varied):
        with pytest.raises(InputError, match=setting.split("=")[0]):
            change(DEFAULT, [setting])


def test_a_recipe_has_the_fields_that_presets_or_learners_turn():
    assert len(fields(Recipe)) <= 15
    numbers = {field.name for field in fields(Recipe)} - {"name"}
    assert {field.name: field.type for field in fields(Recipe)}["name"] is str
    assert all({f.name: f.type for f in fields(Recipe)}[name] in (int, float) for name in numbers)
    assert not PLAIN_RECIPE.keys() & numbers


def test_changed_and_varied_name_what_they_changed():
    recipe = varied(DEFAULT, ["max_lr=0.02", "epochs=3"])
    assert recipe == changed(DEFAULT, ["max_lr=0.02", "epochs=3"]) and type(recipe) is Recipe
    assert recipe == replace(DEFAULT, name="default max_lr=0.02 epochs=3", max_lr=0.02, epochs=3)
    variant = varied(recipe, ["optimizer=sgd", "max_lr=0.8"])
    assert type(variant) is Variant and variant.optimizer is sgd and variant.epochs == 3
    assert variant.name == "default max_lr=0.02 epochs=3 optimizer=sgd max_lr=0.8" and variant.max_lr == 0.8
    assert changed(variant, ["epochs=2"]).optimizer is sgd


def test_classic_is_the_published_recipe():
    classic = PRESETS["classic"]
    assert (classic.batch_size, classic.epochs, classic.rotation, classic.dropout) == (28, 10, 15.0, 0.1)
    assert classic.max_lr / classic.div_factor == pytest.approx(0.0001)
    assert (
        classic.weight_decay == classic.label_smoothing == 0 and type(classic) is Recipe
    )  # Adam, and nothing added
    optimizer = classic.make_optimizer(classic.make_network())
    assert type(optimizer) is torch.optim.AdamW and optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    assert optimizer.param_groups[0]["weight_decay"] == 0
    assert (FACTS["mnist"].mean, FACTS["mnist"].std) == (0.1307, 0.3081)
    network = classic.make_network()
    assert (network.mean.item(), network.std.item()) == pytest.approx((0.1307, 0.3081))


@pytest.mark.parametrize("name", FACTS)
def test_a_run_normalises_by_the_facts_of_its_data_set(little, name):
    run = start_run(DEFAULT, little.train._replace(name=name))
    assert (run.model.mean.item(), run.model.std.item()) == pytest.approx((FACTS[name].mean, FACTS[name].std))
    with pytest.raises(InputError, match="data set 'letters'"):
        start_run(DEFAULT, little.train._replace(name="letters"))


# Stored recipes

OLD = PLAIN_RECIPE | DEFAULT.record()  # as an earlier version wrote it
OTHER = {  # what a stored recipe may say, field by field, that is not plain
    "network": "linear", "dropout_at": "blocks", "pooling": "average", "norm": "none", "skips": "none",
    "activation": "silu", "widths": "8,16,16,16,16,16", "filters": "shared", "first_pool": 2,
    "final_div_factor": 1.0, "optimizer": "sgd", "muon_lr": 0.08,
    "ema_decay": 0.99, "ema_every": 1, "shear": 5.0, "plain_epochs": 1,
}  # fmt: skip


def stored(path, values):
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_a_stored_recipe_comes_back_from_this_version_and_from_an_earlier_one(tmp_path, preset):
    recipe = PRESETS[preset]
    for values in (recipe.record(), PLAIN_RECIPE | recipe.record()):
        again = read_recipe(stored(tmp_path / "recipe.json", values))
        assert again == recipe and type(again) is Recipe
    assert recipe.record().keys() == {field.name for field in fields(Recipe)}


@pytest.mark.parametrize("field", OTHER)
def test_a_stored_recipe_that_is_not_plain_is_refused_by_the_name_of_its_field(tmp_path, field):
    assert PLAIN_RECIPE.keys() == OTHER.keys()
    assert as_recipe(DEFAULT.record() | {field: PLAIN_RECIPE[field]}, "it") == DEFAULT
    for others in (OLD, DEFAULT.record()):
        with pytest.raises(InputError) as error:
            read_recipe(stored(tmp_path / "recipe.json", others | {field: OTHER[field]}))
        said = str(error.value)
        assert (
            f"{field} {OTHER[field]!r}" in said
            and "recipe.json" in said
            and "variant" in said
            and "\n" not in said
        )


VARIANTS = [recipe for recipe in RECIPES if type(recipe) is Variant]


@pytest.mark.parametrize("recipe", VARIANTS, ids=lambda recipe: recipe.name)
def test_a_variant_is_stored_by_names_and_never_read_as_a_plain_recipe(tmp_path, recipe):
    record = json.loads(json.dumps(recipe.record()))
    others = {field: record[field] for field in record if field not in DEFAULT.record()}
    parts = {field.name for field in fields(VariantParts) if getattr(recipe, field.name) != field.default}
    assert others.keys() == parts and parts
    for field, value in others.items():
        part = getattr(recipe, field)
        if callable(part):
            module, _, name = value.rpartition(".")
            assert getattr(importlib.import_module(module), name) is part
        else:
            assert value == (list(part) if isinstance(part, tuple) else part)
        alone = DEFAULT.record() | {field: value}  # each is enough to be refused, by its own name
        with pytest.raises(InputError, match=rf"recipe.json.*\b{field}\b"):
            read_recipe(stored(tmp_path / "recipe.json", alone))
    with pytest.raises(InputError) as error:
        read_recipe(stored(tmp_path / "recipe.json", record))
    assert all(field in str(error.value) for field in parts & PLAIN_RECIPE.keys())


def relu():
    "Another function of that name."
    return nn.ReLU6()


def test_parts_of_one_name_are_told_apart_where_they_are_stored(little, tmp_path):
    recipe, other = Variant(epochs=1), Variant(epochs=1, activation=relu)
    assert recipe.activation.__name__ == relu.__name__ and recipe.record() != other.record()
    measure(recipe, little.train, little.test, False, 0, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="belongs to another run"):
        measure(other, little.train, little.test, False, 0, tmp_path / "checkpoint.pt", resume=True)


def test_a_variant_that_changes_nothing_is_stored_as_the_recipe_whose_bits_it_has():
    assert as_recipe(Variant(epochs=1).record(), "it") == replace(DEFAULT, epochs=1)


# Checkpoints


def test_a_truncated_checkpoint_is_refused(little, tmp_path):
    path = tmp_path / "checkpoint.pt"
    measure(ONE, little.train, little.test, False, 0, path)
    whole = path.read_bytes()
    flips = [whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in range(0, len(whole), 997)]
    for broken in (whole[:-1000], b"", b"G" * 40, *flips):
        path.write_bytes(broken)
        assert read_state(path, torch.device("cpu")) is None
    with pytest.raises(InputError, match="damaged"):
        measure(ONE, little.train, little.test, False, 0, path, resume=True)
    path.write_bytes(whole)
    assert read_state(path, torch.device("cpu"))["history"]


# Augmentation


def rotated(recipe, epoch):
    "All images of an epoch, as a run with seed 3 sees them."
    order, draws, _ = epoch_seeds(3, epoch)
    generators = torch.Generator().manual_seed(order), torch.Generator().manual_seed(draws)
    return torch.cat(
        [images for images, _ in augmented_batches(recipe, embedded_digits().train, epoch, *generators)]
    )


def as_they_are(recipe, epoch):
    "The same images in the same order, untouched."
    order = torch.Generator().manual_seed(epoch_seeds(3, epoch)[0])
    return torch.cat([images for images, _ in batches(embedded_digits().train, recipe.batch_size, order)])


def test_plain_epochs_come_last_and_have_the_images_as_they_are():
    recipe, without = (varied(DEFAULT, ["epochs=3", f"plain_epochs={n}"]) for n in (1, 0))
    plain = as_they_are(recipe, 2)
    assert torch.equal(rotated(recipe, 2), plain)
    assert torch.equal(rotated(recipe, 1), rotated(without, 1)) and torch.equal(
        rotated(without, 1), rotated(DEFAULT, 1)
    )
    assert not torch.equal(rotated(without, 2), plain)


@pytest.mark.parametrize("strengths", [(20.0, 0.2, 0.1), (20.0, 0.0, 0.0), (0.0, 0.2, 0.0), (0.0, 0.0, 0.1)])
def test_each_strength_of_a_recipe_does_what_it_is_named_after(strengths):
    recipe = replace(DEFAULT, **dict(zip(("rotation", "translation", "scale"), strengths)))
    images = torch.rand(5, 1, 28, 28)
    ours = recipe.augment(images, 0, torch.Generator().manual_seed(1))
    theirs = random_affine(images, *strengths, 0.0, torch.Generator().manual_seed(1))
    assert torch.equal(ours, theirs) and not torch.equal(ours, images)


def test_a_recipe_without_strengths_leaves_the_images_as_they_are():
    still = changed(DEFAULT, ["rotation=0", "translation=0", "scale=0"])
    assert torch.equal(rotated(still, 0), as_they_are(still, 0))
    assert torch.equal(rotated(still, 0), rotated(varied(still, ["plain_epochs=10"]), 0))
    assert not torch.equal(rotated(varied(still, ["shear=10"]), 0), rotated(still, 0))


# Variants


def test_a_constant_rate_has_a_constant_momentum():
    run = start_run(varied(DEFAULT, ["div_factor=1", "final_div_factor=1"]), embedded_digits().train)
    seen = set()
    for _ in range(run.schedule.total_steps - 1):
        seen.add((run.schedule.get_last_lr()[0], run.optimizer.param_groups[0]["betas"]))
        run.optimizer.step()
        run.schedule.step()
    assert seen == {(0.01, (0.9, 0.99))}


def test_the_network_is_the_one_that_the_recipe_names():
    def network(*settings):
        return varied(DEFAULT, list(settings)).make_network()

    assert not network("skips=none").blocks.conv3.skip and network().blocks.conv3.skip
    assert isinstance(network("activation=silu").blocks.conv1.activation, torch.nn.SiLU)
    assert not [m for m in network("norm=none").modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert isinstance(Variant(network=linear).make_network(), LinearNet)
    assert isinstance(network("ema_decay=0.9"), Averaged) and type(network()) is DigitNet
    blocks = network("dropout_at=blocks", "dropout=0.2").blocks
    assert [block.dropout.p for name, block in blocks.named_children() if name != "pool"] == [0.2] * 6
    assert [name for name, _ in network("first_pool=2", "pool_after=5").blocks.named_children()][5] == "pool"
    assert isinstance(network("first_pool=2").blocks.conv2.pool, torch.nn.MaxPool2d)
    x = torch.rand(4, 1, 28, 28)
    for pooling, pool in (("maximum", torch.amax), ("average", torch.mean)):
        model = network(f"pooling={pooling}").eval()
        features = pool(model.blocks((x - model.mean) / model.std), (2, 3))
        assert torch.allclose(model(x), features @ model.conv7.weight.flatten(1).T, atol=1e-5)


def test_averaged_weights_follow_the_network_and_answer_for_it(little):
    decay, steps = 0.9, []
    run = start_run(varied(ONE, [f"ema_decay={decay}", "ema_every=2"]), little.train, seed=1)
    run.optimizer.register_step_post_hook(
        lambda *_: steps.append([p.detach().clone() for p in run.model.net.parameters()])
    )
    train_epoch(run)
    assert len(steps) == 5
    expected = steps[1]  # the first update takes the weights as they are
    expected = [decay * old + (1 - decay) * new for old, new in zip(expected, steps[3])]
    average = list(run.model.average.module.parameters())
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(average, expected))
    images = little.test.images[:50]
    assert torch.equal(predict_logits(run.model, images), predict_logits(run.model.average.module, images))
    assert not torch.equal(predict_logits(run.model, images), predict_logits(run.model.net, images))


def pytorch_sgd(model):
    return [torch.optim.SGD(model.parameters(), 0.02, 0.9, weight_decay=0.1, nesterov=True)], []


def pytorch_muon(model):
    "PyTorch's own on flat copies of the inner filters; each filter with its copy."
    inner = [
        block.conv.weight for name, block in model.blocks.named_children() if name not in ("conv1", "pool")
    ]
    pairs = [(weight, torch.nn.Parameter(weight.detach().flatten(1).clone())) for weight in inner]
    flat = torch.optim.Muon([copy for _, copy in pairs], 0.08, 0.25, 0.9, adjust_lr_fn="match_rms_adamw")
    others = [p for p in model.parameters() if not any(p is weight for weight in inner)]
    return [flat, torch.optim.AdamW(others, 0.02, (0.9, 0.99), weight_decay=1)], pairs


def three_random_steps(model, optimizers, pairs):
    draws = torch.Generator().manual_seed(5)
    for _ in range(3):
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=draws).clone(memory_format=torch.preserve_format)
        for weight, copy in pairs:
            copy.grad = weight.grad.flatten(1)
        for optimizer in optimizers:
            optimizer.step()
    for weight, copy in pairs:
        weight.data.copy_(copy.view_as(weight))
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    ("kind", "peer", "tolerance"), [("sgd", pytorch_sgd, 1e-6), ("muon", pytorch_muon, 0.02)]
)
def test_other_optimisers_step_as_those_of_pytorch(kind, peer, tolerance):
    "Muon to two digits, since PyTorch's computes in bfloat16."
    torch.manual_seed(0)
    model, twin = DigitNet(), DigitNet()
    twin.load_state_dict(model.state_dict())
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    recipe = varied(DEFAULT, [f"optimizer={kind}", "max_lr=0.02", "muon_lr=0.08", "weight_decay=1"])
    assert recipe.optimizer is {"sgd": sgd, "muon": muon}[kind]
    ours, theirs = (
        three_random_steps(model, [recipe.make_optimizer(model)], []),
        three_random_steps(twin, *peer(twin)),
    )
    assert (ours - theirs).norm() < tolerance * (theirs - before).norm()


@pytest.mark.parametrize("kind", ["sgd", "muon"])
def test_each_group_of_an_optimiser_climbs_to_its_own_peak(kind):
    run = start_run(varied(DEFAULT, [f"optimizer={kind}", "muon_lr=0.05"]), embedded_digits().train)
    rates = [run.schedule.get_last_lr()]
    for _ in range(run.schedule.total_steps - 1):
        run.optimizer.step()
        run.schedule.step()
        rates.append(run.schedule.get_last_lr())
    peaks = [max(group) for group in zip(*rates)]
    assert peaks == pytest.approx([0.01] if kind == "sgd" else [0.05, 0.01])
    assert rates[0] == pytest.approx([peak / 25 for peak in peaks]) and max(rates[-1]) < 1e-6


def test_a_linear_network_learns_and_its_weights_are_no_digitnet(tmp_path):
    digits = embedded_digits()
    model, _ = fit(Variant(name="linear", network=linear, epochs=3), digits.train)
    logistic = LogisticRegression(max_iter=200).fit(digits.train.images.flatten(1) / 255, digits.train.labels)
    right = 100 * logistic.score(digits.test.images.flatten(1) / 255, digits.test.labels)
    assert abs(evaluate(model, digits.test).accuracy - right) < 6
    save_weights(model, tmp_path / "linear.safetensors", {})
    with pytest.raises(InputError, match=r"network '[\w.]+\.LinearNet', not 'DigitNet': that is a variant"):
        load_weights(tmp_path / "linear.safetensors")
