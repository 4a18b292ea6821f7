"""Training: the same bits each time, resume from every epoch, and a plain loop that agrees."""

import math

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from mnist_nb import PRESETS, DigitNet, Recipe, evaluate, fit, load_mnist
from mnist_nb.data import FACTS, DigitData, InputError, LabelledImages, batches, embedded_digits
from mnist_nb.model import LinearNet, load_weights, save_weights
from mnist_nb.train import augmented_batches, changed, new_network, new_optimizer, random_generators, start_run, train_epoch, train_step


@pytest.fixture(scope="module")
def little():
    digits = load_mnist("digits")
    return DigitData("digits", LabelledImages(*(t[:300] for t in digits.train)), digits.test)


def bits(model):
    return torch.cat([tensor.double().flatten() for tensor in model.state_dict().values()])


RECIPES = [*PRESETS.values(), changed(PRESETS["default"], ["ema_decay=0.9"]), changed(PRESETS["classic"], ["dropout_at=blocks", "plain_epochs=2"])]
RECIPES += [changed(PRESETS["default"], [f"optimizer={kind}"]) for kind in ("sgd", "muon")]
RECIPES += [changed(PRESETS["default"], ["filters=separable shared", "widths=4,8,8,8", "pool_after=3", "first_pool=2", "ema_decay=0.9"])]


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
     {"rotation": "15"}, {"dropout_at": "everywhere"}, {"pooling": "median"}, {"warmup": 0.0}, {"epochs": True},
     {"widths": "8,16"}, {"widths": "8,x,8"}, {"widths": "8,-1,8"}, {"filters": "thin"}, {"pool_after": 6}, {"first_pool": 5}, {"optimizer": "lion"}],
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


def rotated(recipe, epoch):
    run = start_run(recipe, embedded_digits(), seed=3, valid=False)
    return torch.cat([images for images, _ in augmented_batches(run, epoch)])


def test_plain_epochs_come_last_and_have_the_images_as_they_are():
    recipe = changed(PRESETS["default"], ["epochs=3", "plain_epochs=1"])
    order, _ = random_generators(3, 2, torch.device("cpu"))
    plain = torch.cat([images for images, _ in batches(embedded_digits().train, recipe.batch_size, order)])
    assert torch.equal(rotated(recipe, 2), plain)
    assert torch.equal(rotated(recipe, 1), rotated(changed(recipe, ["plain_epochs=0"]), 1))
    assert not torch.equal(rotated(changed(recipe, ["plain_epochs=0"]), 2), plain)


def test_a_recipe_without_strengths_leaves_the_images_as_they_are():
    still = changed(PRESETS["default"], ["rotation=0", "translation=0", "scale=0"])
    assert torch.equal(rotated(still, 0), rotated(changed(still, ["plain_epochs=10"]), 0))


def test_a_constant_rate_has_a_constant_momentum():
    run = start_run(changed(PRESETS["default"], ["div_factor=1", "final_div_factor=1"]), embedded_digits(), 0, valid=False)
    seen = set()
    for _ in range(run.schedule.total_steps - 1):
        seen.add((run.schedule.get_last_lr()[0], run.optimizer.param_groups[0]["betas"]))
        run.optimizer.step()
        run.schedule.step()
    assert seen == {(0.01, (0.9, 0.99))}


def test_the_network_is_the_one_that_the_recipe_names():
    def network(*settings):
        return new_network(changed(PRESETS["default"], list(settings)), "mnist")

    assert not network("skips=none").blocks.conv3.skip and network().blocks.conv3.skip
    assert isinstance(network("activation=silu").blocks.conv1.activation, torch.nn.SiLU)
    assert not [m for m in network("norm=none").modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert isinstance(network("network=linear"), LinearNet)
    x = torch.rand(4, 1, 28, 28)
    for pooling, pool in (("maximum", torch.amax), ("average", torch.mean)):
        model = network(f"pooling={pooling}").eval()
        features = pool(model.blocks((x - model.mean) / model.std), (2, 3))
        assert torch.allclose(model(x), features @ model.conv7.weight.flatten(1).T, atol=1e-5)


def pytorch_sgd(model):
    return [torch.optim.SGD(model.parameters(), 0.02, 0.9, weight_decay=0.1, nesterov=True)], []


def pytorch_muon(model):
    "PyTorch's own on flat copies of the inner filters; each filter with its copy."
    inner = [block.conv.weight for name, block in model.blocks.named_children() if name not in ("conv1", "pool")]
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


@pytest.mark.parametrize(("kind", "peer", "tolerance"), [("sgd", pytorch_sgd, 1e-6), ("muon", pytorch_muon, 0.02)])
def test_other_optimisers_step_as_those_of_pytorch(kind, peer, tolerance):
    "Muon to two digits, since PyTorch's computes in bfloat16."
    torch.manual_seed(0)
    model, twin = DigitNet(), DigitNet()
    twin.load_state_dict(model.state_dict())
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    recipe = changed(PRESETS["default"], [f"optimizer={kind}", "max_lr=0.02", "muon_lr=0.08", "weight_decay=1"])
    ours, theirs = three_random_steps(model, [new_optimizer(model, recipe)], []), three_random_steps(twin, *peer(twin))
    assert (ours - theirs).norm() < tolerance * (theirs - before).norm()


@pytest.mark.parametrize("kind", ["sgd", "muon"])
def test_each_group_of_an_optimiser_climbs_to_its_own_peak(kind):
    recipe = changed(PRESETS["default"], [f"optimizer={kind}", "muon_lr=0.05"])
    run = start_run(recipe, embedded_digits(), 0, valid=False)
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
    model, _ = fit(changed(PRESETS["default"], ["epochs=3", "network=linear"]), digits)
    logistic = LogisticRegression(max_iter=200).fit(digits.train.images.flatten(1) / 255, digits.train.labels)
    right = 100 * logistic.score(digits.test.images.flatten(1) / 255, digits.test.labels)
    assert abs(evaluate(model, digits.test).accuracy - right) < 6
    save_weights(model, tmp_path / "linear.safetensors", {})
    with pytest.raises(InputError, match="no weights of a DigitNet"):
        load_weights(tmp_path / "linear.safetensors")
