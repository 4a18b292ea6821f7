"""Patience: batch norm's statistics counted anew, the rows of a network, and complete results."""

import copy
from collections import Counter

import pytest
import torch

from mnist_nb import PRESETS, load_pretrained
from mnist_nb.augment import random_affine
from mnist_nb.data import embedded_digits, hold_out, to_input
from mnist_nb.experiments import patience
from mnist_nb.experiments.frontier import winner
from mnist_nb.experiments.patience import (
    CHOICE_SEEDS,
    EPOCHS,
    TEST_SEEDS,
    count_anew,
    patience_rows,
    patient,
)
from mnist_nb.metrics import evaluate
from mnist_nb.model import predict_logits
from mnist_nb.runs import measure
from mnist_nb.support import read_rows, results_path
from mnist_nb.train import changed

STATISTICS = ("running", "augmented", "plain", "plain first")
SHORT = [changed(recipe, ["epochs=1", "batch_size=100"]) for recipe in (PRESETS["default"], winner(1000))]


def test_new_statistics_are_those_of_all_batches_alike():
    model, images = load_pretrained(), embedded_digits().train.images[:1000]
    first, seen = model.blocks.conv1.norm, []
    first.register_forward_hook(lambda _, inputs, out: seen.append(inputs[0]))
    before = [p.clone() for p in model.parameters()]
    count_anew(model, map(to_input, images.split(250)))
    means, variances = zip(*((x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=True)) for x in seen))
    assert len(seen) == 4 and not any(part.training for part in model.modules())
    # 49,000 numbers are added in single precision
    assert torch.allclose(first.running_mean, torch.stack(means).mean(0), rtol=1e-3)
    assert torch.allclose(first.running_var, torch.stack(variances).mean(0), rtol=1e-3)
    assert all(map(torch.equal, before, model.parameters()))  # nothing was learned
    last = model.blocks.conv6.norm  # and further on, with what the first ones now give
    inputs = []
    last.register_forward_hook(lambda _, given, out: inputs.append(given[0]))
    predict_logits(model, images)
    assert torch.cat(inputs).mean((0, 2, 3)).allclose(last.running_mean, atol=0.1)


def test_pytorch_counts_the_same_statistics():
    model, other = load_pretrained(), load_pretrained()
    batches = list(map(to_input, embedded_digits().train.images[:1000].split(250)))
    count_anew(model, batches)
    torch.optim.swa_utils.update_bn(batches, other)
    ours, theirs = model.state_dict(), other.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    kept = load_pretrained().state_dict()
    moved = [key for key in ours if not torch.equal(ours[key], kept[key])]
    assert moved and all(key.rpartition(".")[2] in BUFFERS for key in moved)


BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.mark.parametrize("recipe", SHORT, ids=["DigitNet", "1,000"])
def test_rows_are_one_network_with_four_kinds_of_statistics(recipe, monkeypatch):
    monkeypatch.setattr(patience, "patient", lambda network, epochs: recipe)
    rows = {row["statistics"]: row for row in patience_rows(recipe.name, 1, 17, True, "digits")}
    assert tuple(rows) == STATISTICS
    train, held = hold_out(embedded_digits().train, 5)
    model, _, row, _ = measure(recipe, train, held, True, 17)
    plain = [to_input(batch) for batch in train.images[:6000].split(250)]
    draws = torch.Generator().manual_seed(17)
    moved = [random_affine(batch, 8, 0.05, 0.05, 0, draws) for batch in plain]  # as both recipes say
    first, counted = copy.deepcopy(model), count_anew(copy.deepcopy(model), plain)
    for name in ("running_mean", "running_var"):
        getattr(first.blocks.conv1.norm, name).copy_(getattr(counted.blocks.conv1.norm, name))
    models = {"running": model, "plain": counted, "plain first": first}
    models["augmented"] = count_anew(copy.deepcopy(model), moved)
    for statistics, network in models.items():
        assert rows[statistics]["accuracy"] == round(evaluate(network, held).accuracy, 4)
        assert rows[statistics]["train_accuracy"] == round(evaluate(network, train).accuracy, 4)
    same = row.keys() - {"accuracy", "train_accuracy"}
    assert all(other[key] == row[key] for other in rows.values() for key in same - {"seconds"})


def test_only_the_number_of_epochs_is_changed():
    for network, numbers in EPOCHS.items():
        recipes = [patient(network, n) for n in numbers]
        assert [recipe.epochs for recipe in recipes] == list(numbers)
        bare = [
            {key: value for key, value in vars(r).items() if key not in ("name", "epochs")} for r in recipes
        ]
        assert all(fields == bare[0] for fields in bare)
    assert vars(patient("DigitNet", 10)) == vars(PRESETS["default"]) | {"name": "default epochs=10"}


SHOWN = {"1,000": (10, 20, 40), "DigitNet": (10, 20, 40)}  # of a plan whose later runs take hours


@pytest.mark.parametrize("file, seeds", [("patience_folds", CHOICE_SEEDS), ("patience", TEST_SEEDS)])
def test_the_results_are_of_the_plan_and_what_the_chapter_shows_is_complete(file, seeds):
    def works(numbers):
        return {
            (name, patient(name, n).name, str(n), str(seed))
            for name in numbers for n in ((10,) if valid else numbers[name]) for seed in seeds
        }  # fmt: skip

    rows, valid = read_rows(results_path(file)), file == "patience_folds"
    columns = ("network", "recipe", "epochs", "seed")
    found = Counter((tuple(row[column] for column in columns), row["statistics"]) for row in rows)
    done = {work for work, _ in found}
    assert found == Counter((work, statistics) for work in done for statistics in STATISTICS)
    assert works(SHOWN) <= done <= works(EPOCHS)
    assert {row["scored_on"] for row in rows} == {"valid" if valid else "test"}
    assert {(row["data"], row["images"]) for row in rows} == {("mnist", "55000" if valid else "60000")}
    assert all(row["hardware"] and row["versions"] and "dirty" not in row["commit"] for row in rows)
