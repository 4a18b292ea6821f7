"""Networks of few bytes: what a file answers, training through rounding, and a study that goes on."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mnist_nb import PRESETS, load_pretrained
from mnist_nb.data import LabelledImages, embedded_digits
from mnist_nb.experiments.bytes import (
    BITS,
    CHOICE_SEEDS,
    LIMITS,
    NETWORKS,
    TEST_SEEDS,
    TUNING,
    Kind,
    Rounded,
    as_bytes,
    bytes_needed,
    chosen,
    from_bytes,
    layers,
    network_rows,
    pack_few,
    round_filters,
    tuned,
    unpack_few,
)
from mnist_nb.experiments.variants import FreeNet
from mnist_nb.export import fold, pack, rounded, unfold
from mnist_nb.model import count_parameters, predict_logits
from mnist_nb.support import InputError, read_rows, results_path


def awkward(recipe):
    "A network of the recipe whose batch norms have every sign, and statistics of their own."
    torch.manual_seed(0)
    model = recipe.make_network().eval()
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        for values in (norm.weight.data, norm.bias.data, norm.running_mean):
            values.normal_()
        norm.running_var.uniform_(0.5, 2)
    return model


@given(st.integers(2, 255).flatmap(lambda base: st.tuples(st.just(base), st.lists(st.integers(0, base - 1)))))
def test_digits_come_back_from_their_number(drawn):
    base, digits = drawn
    raw = as_bytes(digits, base)
    assert from_bytes(raw, len(digits), base) == digits and len(raw) == bytes_needed(len(digits), base)
    assert int.from_bytes(raw, "little") == sum(d * base**i for i, d in enumerate(reversed(digits)))


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_number_takes_no_more_bytes_than_information_theory_asks(bits):
    asked = 13_064 * np.log2(2**bits - 1) / 8
    assert asked <= bytes_needed(13_064, 2**bits - 1) < asked + 1


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_rounded_filters_are_pytorch_s_fake_quantisation_and_so_are_their_gradients(bits):
    torch.manual_seed(bits)
    filters, top = torch.randn(6, 4, 3, 3, requires_grad=True), 2 ** (bits - 1) - 1
    layer, zero = Rounded(filters, bits), torch.zeros(6, dtype=torch.int32)
    used = layer(filters)
    theirs = torch.fake_quantize_per_channel_affine(filters, layer.steps.flatten(), zero, 0, -top, top)
    assert torch.allclose(used, theirs, atol=1e-6)
    upstream = torch.randn_like(used)
    ours, other = (torch.autograd.grad(out, filters, upstream)[0] for out in (used, theirs))
    assert torch.equal(ours, upstream)  # all of it passes
    inside = (filters / layer.steps).round().abs() <= top
    assert torch.equal(other[inside], ours[inside]) and (bits == 8 or not inside.all())


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_answers_as_the_network_from_which_it_was_made(name, bits):
    model = round_filters(awkward(NETWORKS[name]), bits)
    read, images = unpack_few(pack_few(model)), embedded_digits().test.images[:200]
    ours, theirs = predict_logits(model, images), predict_logits(read, images)
    assert torch.allclose(ours, theirs, atol=2e-3 * ours.abs().max().item())  # 16 bits hold three digits
    assert type(read) is FreeNet and not read.training
    assert count_parameters(read) == count_parameters(NETWORKS[name].make_network())
    for conv, norm in layers(read):  # whole numbers, but where the step has nowhere else to go
        whole = conv.weight / (1 if norm is not None else conv.weight.abs().amax((1, 2, 3), keepdim=True))
        assert norm is None or torch.equal(whole, whole.round())
        assert norm is not None or all(len(channel.unique()) <= 2**bits - 1 for channel in conv.weight)


@pytest.mark.parametrize("bits", [3, 8])
def test_both_kinds_of_file_say_the_same_of_a_digitnet(bits):
    model, images = load_pretrained(), embedded_digits().test.images
    ours = predict_logits(unpack_few(pack_few(round_filters(copy.deepcopy(model), bits))), images)
    theirs = predict_logits(unfold(rounded(fold(model), bits)), images)
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_a_damaged_file_is_refused():
    raw = pack_few(round_filters(load_pretrained(), 2))
    other = pack(rounded(fold(load_pretrained()), 2))
    flipped = [raw[:i] + bytes([raw[i] ^ 1 << i % 8]) + raw[i + 1 :] for i in range(0, len(raw), 97)]
    for broken in (*flipped, raw[:-1], raw + b"\0", raw[:10], b"", other):
        with pytest.raises(InputError, match="no network of few bytes"):
            unpack_few(broken)


def test_training_goes_on_from_the_network_leaves_it_and_repeats_itself():
    train, recipe = embedded_digits().train, PRESETS["default"]
    some = LabelledImages(train.images[:512], train.labels[:512], train.name)
    model = load_pretrained()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    past = [{"epoch": 1, "seconds": 1.0}]
    (first, history), (second, _) = (tuned(model, recipe, past, some, 3, 2) for _ in range(2))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert history[0] is past[0] and [row["epoch"] for row in history] == [1, 2, 3, 4] and len(past) == 1
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    hidden = first.blocks.conv2.conv.parametrizations.weight.original
    assert not torch.equal(hidden, before["blocks.conv2.conv.weight"]) and not first.training
    assert all(len(channel.unique()) <= 3 for channel in first.blocks.conv2.conv.weight)


def test_steps_are_found_before_each_epoch_and_kept_after_the_last(monkeypatch):
    train, found = embedded_digits().train, []
    plain = Rounded.find_steps

    def counted(self, filters):
        plain(self, filters)
        found.append(self.steps.clone())

    monkeypatch.setattr(Rounded, "find_steps", counted)
    some = LabelledImages(train.images[:128], train.labels[:128], train.name)
    network, _ = tuned(load_pretrained(), PRESETS["default"], [], some, 0, 2)
    assert len(found) == 7 * TUNING["epochs"]
    kept = [part.steps for part in network.modules() if isinstance(part, Rounded)]
    assert all(any(torch.equal(steps, other) for other in found[-7:]) for steps in kept)


def test_the_rule_takes_the_highest_mean_within_the_limit():
    def row(network, way, bits, size, accuracy):
        names = ("network", "way", "bits", "bytes", "accuracy")
        return dict(zip(names, (network, way, str(bits), str(size), str(accuracy))))

    rows = [row("a", "not rounded", 32, 800, 99.9), row("b", "rounded", 8, 7001, 99.8)]
    rows += [row("a", "trained", 4, 1100, score) for score in (98.0, 98.2)]
    rows += [row("a", "rounded", 5, 1200, score) for score in (98.3, 97.7)]
    rows += [row("b", "trained", 3, 3000, 99.0), row("b", "counted anew", 3, 1000, 99.9)]
    small, large = Kind("a", "trained", 4), Kind("b", "trained", 3)
    assert chosen(rows) == {7000: large, 4000: large, 2500: small, 1200: small}
    tied = [
        row("b", "trained", 4, 3000, 99.0),
        row("c", "trained", 3, 2900, 99.0),
        row("c", "rounded", 3, 2900, 99.0),
    ]
    assert chosen(tied + rows)[4000] == Kind("c", "rounded", 3)


@pytest.fixture(scope="module")
def rows():
    "All files of the smallest network, from the embedded digits."
    return network_rows("1,000", 4, True, (3,), "digits")


def test_the_rows_of_a_network(rows):
    assert Counter(row["way"] for row in rows) == {
        "not rounded": 1,
        "rounded": 7,
        "counted anew": 7,
        "trained": 1,
    }
    assert {(row["seed"], row["data"], row["parameters"], row["scored_on"]) for row in rows} == {
        (4, "digits", 992, "valid")
    }
    assert rows[-1]["epochs"] == rows[0]["epochs"] + 3 and rows[-1]["seconds"] > rows[0]["seconds"]
    model = NETWORKS["1,000"].make_network().eval()
    for row in rows[1:]:
        assert row["bytes"] == len(pack_few(round_filters(copy.deepcopy(model), row["bits"])))
    assert abs(rows[1]["accuracy"] - rows[0]["accuracy"]) < 5  # 8 bits change little


@pytest.mark.parametrize("file, seeds", [("bytes_choices", CHOICE_SEEDS), ("bytes", TEST_SEEDS)])
def test_the_results_are_complete_and_their_files_as_large_as_they_say(file, seeds):
    rows, valid = read_rows(results_path(file)), file == "bytes_choices"
    assert {(row["network"], int(row["seed"])) for row in rows} == {(n, s) for n in NETWORKS for s in seeds}
    assert {row["scored_on"] for row in rows} == {"valid" if valid else "test"}
    assert {(row["data"], row["images"]) for row in rows} == {("mnist", "55000" if valid else "60000")}
    assert all(row["hardware"] and row["versions"] and "dirty" not in row["commit"] for row in rows)
    within = chosen(read_rows(results_path("bytes_choices")))
    taken = set(within.values())
    for name in NETWORKS:
        told = [b for b in BITS if valid or b == 3 or Kind(name, "trained", b) in taken]
        ways = ("rounded",) if valid else ("rounded", "counted anew")
        wanted = Counter([(w, b) for w in ways for b in range(2, 9)] + [("trained", b) for b in told])
        model = NETWORKS[name].make_network().eval()
        sizes = {bits: len(pack_few(round_filters(copy.deepcopy(model), bits))) for bits in range(2, 9)}
        for seed in seeds:
            some = [row for row in rows if (row["network"], int(row["seed"])) == (name, seed)]
            left_out = ("not rounded", "counted anew") if valid else ("not rounded",)  # no choice uses them
            few = [row for row in some if row["way"] not in left_out]
            assert Counter((row["way"], int(row["bits"])) for row in few) == wanted
            assert sum(row["way"] == "not rounded" for row in some) == 1
            assert all(int(row["bytes"]) == sizes[int(row["bits"])] for row in few)
    assert list(within) == list(LIMITS)
    assert all(size_of(rows, kind) <= limit for limit, kind in within.items())


def size_of(rows, kind):
    return next(int(r["bytes"]) for r in rows if (r["network"], r["way"], int(r["bits"])) == kind)
