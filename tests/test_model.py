"""DigitNet: shapes, the parameter budget, stability, and what the shipped weights reach."""

import inspect
import json

import pytest
import torch
import torch.nn.functional as F
from conftest import bits
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mnist_nb import PRESETS, DigitNet, Recipe, evaluate, fit, load_pretrained
from mnist_nb.data import embedded_digits, to_input
from mnist_nb.experiments.frontier import FILTERS, KINDS, small
from mnist_nb.experiments.variants import LinearNet, Variant, average, maximum, mixed, separable
from mnist_nb.interpret import embed, feature_maps, input_gradient, receptive_field
from mnist_nb.metrics import LABEL_ERRORS
from mnist_nb.model import (
    PLAIN,
    Block,
    count_parameters,
    layer_table,
    load_weights,
    predict_logits,
    pretrained_path,
    save_weights,
)
from mnist_nb.support import InputError
from mnist_nb.train import as_recipe


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DigitNet()


@pytest.mark.parametrize("batch", [1, 7, 256])
def test_output_shape(model, batch):
    assert model(torch.rand(batch, 1, 28, 28)).shape == (batch, 10)


def test_parameters_layer_by_layer(model):
    layers = [*model.blocks.named_children(), ("conv7", model.conv7)]
    counted = {name: sum(p.numel() for p in layer.parameters()) for name, layer in layers}
    assert counted == {
        "conv1": 88, "conv2": 1184, "conv3": 2336, "conv4": 2336, "pool": 0,
        "conv5": 2336, "conv6": 4672, "conv7": 320,
    }  # fmt: skip
    assert count_parameters(model) == sum(p.numel() for p in model.parameters()) == 13_272
    model.conv7.requires_grad_(False)
    assert count_parameters(model) == 13_272 - 320  # what does not learn does not count


def test_seven_convolutions_without_bias(model):
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 7 and all(m.bias is None for m in convolutions)
    assert [m.out_channels for m in convolutions] == [8, 16, 16, 16, 16, 32, 10]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 6


@pytest.mark.parametrize("filters", FILTERS)
@pytest.mark.parametrize(
    "widths", [(8, 16, 16, 16, 16, 32), (4, 4, 4, 4, 4, 7), (3, 5, 5, 5), (6, 6, 6, 6, 6, 6, 6, 6)]
)
def test_other_shapes_have_the_parameters_that_arithmetic_gives(widths, filters, tmp_path):
    recipe, pairs = Variant(widths=widths, pool_after=3, **FILTERS[filters]), list(zip([1, *widths], widths))
    model = recipe.make_network()
    counts = [9 * a + a * b if "separable" in filters and a > 1 else 9 * a * b for a, b in pairs]
    if "shared" in filters:
        counts = [count for i, count in enumerate(counts) if i == 0 or pairs[i] != pairs[i - 1]]
    assert count_parameters(model) == sum(counts) + 2 * sum(widths) + 10 * widths[-1]
    assert len({id(block.norm) for block in model.blocks if hasattr(block, "norm")}) == len(widths)
    x = torch.rand(2, 1, 28, 28)
    save_weights(model, tmp_path / "m.safetensors", {})
    again = recipe.make_network().eval()
    assert not torch.equal(again(x), model.eval()(x))  # it has weights of its own
    again.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert torch.equal(again(x), model(x))
    with pytest.raises(InputError, match=r"network '[\w.]+\.FreeNet'"):  # even where every tensor would fit
        load_weights(tmp_path / "m.safetensors")


def test_without_norm_there_are_biases_and_filters_shared_share_them():
    widths = (4, 4, 4, 6)
    model = Variant(widths=widths, pool_after=3, norm=None, shared=True).make_network()
    assert count_parameters(model) == 9 * (4 + 16 + 24) + (4 + 4 + 6) + 10 * 6
    assert model.blocks.conv2.conv is model.blocks.conv3.conv and model.blocks.conv2.conv.bias is not None


def test_blocks_that_share_filters_learn_from_all_their_uses():
    torch.manual_seed(0)
    recipe = Variant(widths=(4, 4, 4, 6), pool_after=3, dropout=0.0)
    shared, x = Variant(**vars(recipe) | FILTERS["shared"]).make_network(), torch.rand(8, 1, 28, 28)
    apart = recipe.make_network()
    apart.load_state_dict(shared.state_dict())
    for model in (shared, apart):
        model(x).logsumexp(1).sum().backward()
    both = apart.blocks.conv2.conv.weight.grad + apart.blocks.conv3.conv.weight.grad
    assert torch.allclose(shared.blocks.conv2.conv.weight.grad, both, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool_after", [2, 3, 4, 5])
def test_shared_filters_cost_as_many_products_as_full_ones(pool_after):
    full, shared = (
        layer_table(Variant(pool_after=pool_after, **FILTERS[name]).make_network())
        for name in ("full", "shared")
    )
    assert full == layer_table(DigitNet(pool_after=pool_after))
    assert [row.multiply_adds for row in full] == [row.multiply_adds for row in shared]
    assert [row.output for row in full] == [row.output for row in shared]


def test_the_layer_table_names_the_last_convolution_after_its_place():
    table = layer_table(Variant(widths=(4, 4, 6), pool_after=2).make_network())
    assert [row.name for row in table] == ["conv1", "conv2", "pool", "conv3", "conv4"]


SMALL = [small(size, filters) for size in KINDS for filters in FILTERS]
NETWORKS = [
    *(Recipe(name=f"pool_after {place}", pool_after=place) for place in (2, 3, 4, 5)),
    *(Variant(name=filters, **FILTERS[filters]) for filters in FILTERS),
    Variant(name="no skips", skips=False),
    Variant(name="no norm", norm=None),
    Variant(name="pools late", first_pool=2, pool_after=5),
    Variant(name="separable, pools late", first_pool=3, pool_after=4, conv=separable),
    Variant(name="short", widths=(4, 4, 6), pool_after=2),
    Variant(name="long", widths=(6,) * 8, pool_after=3),
]


def columns_that_reach(model, side=100):
    "For each layer its middle column, and the columns of the image that it sees: NaN spoils what can see it."
    images, seen = torch.zeros(side, 1, 16, side), {}
    images[range(side), :, :, range(side)] = torch.nan  # in image i column i
    for name, layer in model.blocks.named_children():
        layer.register_forward_hook(lambda *given, name=name: seen.update({name: given[2][:, 0]}))
    with torch.no_grad():
        model(images)
    middles = {name: (x.shape[1] // 2, x.shape[2] // 2) for name, x in seen.items()}
    return {
        name: (column, seen[name][:, row, column].isnan().nonzero()[:, 0].tolist())
        for name, (row, column) in middles.items()
    }


@pytest.mark.parametrize("recipe", NETWORKS + SMALL, ids=lambda recipe: recipe.name)
def test_the_layer_table_and_the_way_back_find_the_field_that_a_value_sees(recipe):
    model = recipe.make_network().eval()
    table, reached = layer_table(model), columns_that_reach(model)
    assert [row.name for row in table[:-1]] == list(reached) and table[-1].field == 28
    for row in table[:-1]:
        place, seen = reached[row.name]
        rows, columns = receptive_field(model, row.name, place, place)
        assert list(rows) == list(columns) == seen and row.field == len(seen), row


def test_the_receptive_field_of_an_unknown_layer_is_refused(model):
    with pytest.raises(InputError, match=r"'conv8' is unknown: use conv1, .*, conv6"):
        receptive_field(model, "conv8", 0, 0)


LOOKS = {
    "feature maps": lambda model: feature_maps(model, torch.zeros(2, 28, 28, dtype=torch.uint8)),
    "features": lambda model: embed(model, torch.zeros(2, 28, 28, dtype=torch.uint8)),
    "gradient": lambda model: input_gradient(model, torch.zeros(2, 1, 28, 28), torch.tensor([1, 2])),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_look_inside_refuses_a_network_in_training_mode(model, look):
    "There an answer would depend on the other images, and on chance."
    look(model.eval())
    with pytest.raises(InputError, match=r"call model\.eval\(\) first"):
        look(model.train())


@pytest.mark.parametrize("recipe", NETWORKS, ids=lambda recipe: recipe.name)
def test_the_layer_table_counts_the_products_that_pytorch_counts_and_leaves_the_network_as_it_was(recipe):
    model = recipe.make_network()
    before, table = bits(model), layer_table(model)
    assert model.training and torch.equal(bits(model), before)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, 28, 28))
    assert 2 * sum(row.multiply_adds for row in table) == counter.get_total_flops()  # a product and a sum


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_keep_the_dropout_of_a_tenth(preset):
    recipe = PRESETS[preset]
    assert recipe.dropout == 0.1 and (recipe.epochs <= 9 if preset == "fast" else recipe.epochs == 10)
    network = recipe.make_network()
    assert type(network) is DigitNet and network.dropout.p == 0.1 and network.pool_after == recipe.pool_after
    assert count_parameters(network) == 13_272


@pytest.mark.parametrize("kind", [Block, DigitNet])
def test_the_network_is_plain(kind):
    options = [name for name in inspect.signature(kind).parameters if not name.startswith("channels")]
    assert len(options) <= 4, options
    assert not hasattr(kind, "settings")


@pytest.mark.parametrize("pool_after", [1, 6, None, "4"])
def test_a_pooling_that_has_no_place_is_refused(pool_after):
    with pytest.raises(InputError, match="pool_after must be from 2 to 5"):
        DigitNet(pool_after=pool_after)


@pytest.mark.parametrize("pool_after", [2, 3, 4, 5])
def test_a_variant_of_which_nothing_is_replaced_is_the_same_network(pool_after):
    networks = []
    for make in (lambda: DigitNet(0.0, pool_after), Variant(dropout=0.0, pool_after=pool_after).make_network):
        torch.manual_seed(3)
        networks.append(make())
    plain, free = networks
    assert list(plain.state_dict()) == list(free.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), free.state_dict().values()))
    x = torch.rand(6, 1, 28, 28)
    assert torch.equal(plain(x), free(x)) and torch.equal(plain.features(x), free.features(x))


@pytest.mark.parametrize("pooling", [average, maximum, mixed])
def test_conv7_decides_from_the_pooled_features(pooling):
    model, x = Variant(pooling=pooling).make_network().eval(), torch.rand(3, 1, 28, 28)
    maps = model.blocks((x - model.mean) / model.std).flatten(2)
    peak, middle = maps.max(2).values, maps.mean(2)
    pooled = {average: middle, maximum: peak, mixed: peak + middle}[pooling]
    assert torch.allclose(model.features(x).flatten(1), pooled, atol=1e-5)
    assert torch.allclose(model(x), pooled @ model.conv7.weight.flatten(1).T, atol=1e-5)


def test_a_linear_network_is_a_matrix_and_a_bias():
    model, x = LinearNet(), torch.rand(3, 1, 28, 28)
    by_hand = ((x.flatten(1) - 0.1307) / 0.3081) @ model.linear.weight.T + model.linear.bias
    assert torch.allclose(model(x), by_hand, atol=1e-5) and count_parameters(model) == 7850


@pytest.mark.parametrize("name", ["zeros", "ones", "large", "noise"])
@pytest.mark.parametrize("training", [True, False])
def test_forward_is_finite(model, name, training):
    images = {
        "zeros": torch.zeros(8, 1, 28, 28),
        "ones": torch.ones(8, 1, 28, 28),
        "large": torch.full((8, 1, 28, 28), 1e6),
        "noise": torch.randn(8, 1, 28, 28) * 100,
    }[name]
    assert model.train(training)(images).isfinite().all()


def test_eval_is_deterministic_and_independent_of_the_batch(data):
    model, images = load_pretrained(), to_input(data.test.images[:64])
    with torch.no_grad():
        together, again = model(images), model(images)
        alone = torch.cat([model(image[None]) for image in images])
    assert torch.equal(together, again)
    assert torch.allclose(together, alone, atol=1e-4)


def test_training_mode_depends_on_the_batch(data):
    "The opposite of the test above must fail, or that test proves nothing."
    model, images = load_pretrained().train(), to_input(data.test.images[:64])
    with torch.no_grad():
        assert not torch.allclose(model(images)[:1], model(images[:1]), atol=1e-2)


def test_every_parameter_gets_a_gradient(model):
    model(torch.rand(16, 1, 28, 28)).logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_skip_adds_the_input(model):
    block, x = model.eval().blocks.conv3, torch.randn(2, 16, 14, 14)
    with torch.no_grad():
        block.norm.weight.zero_()  # f(x) = 0 now
        assert torch.equal(block(x), x)


def test_a_block_that_halves_the_sides_has_no_skip_even_where_the_channels_would_fit():
    block, x = Block(3, 3, pool=True), torch.randn(2, 3, 8, 6)
    assert not block.skip and block(x).shape == (2, 3, 4, 3)


def test_a_block_pools_then_normalises_then_bends():
    "By hand, in training mode, where the statistics say what it was that came to be normalised."
    block, x = Block(3, 5, pool=True), torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    block.norm.weight.data = torch.tensor(
        [1.0, -1, 2, -2, 0.5]
    )  # a maximum of the turned is no turned maximum
    y = F.max_pool2d(F.conv2d(x, block.conv.weight, padding=1), 2)
    z = (y - y.mean((0, 2, 3), True)) / (y.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(block(x), (z * block.norm.weight.view(1, 5, 1, 1)).clamp(min=0), atol=1e-4)
    assert torch.allclose(block.norm.running_mean, 0.1 * y.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(block.norm.running_var, 0.9 + 0.1 * y.var((0, 2, 3)), atol=1e-6)


def test_dropout_erases_features_and_no_logits():
    torch.manual_seed(0)
    model, x, seen = DigitNet(dropout=0.5).eval(), torch.rand(50, 1, 28, 28), []
    model.dropout.train()
    model.conv7.register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    logits, features = model(x).flatten(1), model.features(x)
    assert torch.equal(logits, F.conv2d(seen[0], model.conv7.weight).flatten(1))
    erased = seen[0] == 0
    assert torch.allclose(seen[0], 2 * features.masked_fill(erased, 0))
    assert 0.4 < erased[features > 0].float().mean() < 0.6  # a ReLU's own zeros are nobody's doing


def test_images_of_four_pixels_are_the_smallest(model):
    "Two poolings leave one of four."
    assert model.eval()(torch.rand(1, 1, 4, 4)).shape == (1, 10)
    for size in ((3, 28), (28, 3)):
        with pytest.raises(InputError, match="expected shape"):
            model(torch.rand(1, 1, *size))


def test_the_shipped_weights_reach_their_recorded_accuracy(data):
    model, facts = load_weights(pretrained_path())
    right = evaluate(model, data.test).right
    recorded = round(facts["accuracy"][data.name] * len(data.test.labels) / 100)
    assert abs(right - recorded) <= 2
    assert facts["data"] == "mnist" and facts["images"] == 60_000 and facts["seed"] == 0


def test_the_shipped_weights_were_trained_by_the_preset_and_are_its_network():
    model, facts = load_weights(pretrained_path())
    recipe = as_recipe(facts["recipe"], "the shipped recipe")
    assert recipe == PRESETS["default"]
    assert type(model) is DigitNet and not model.training and model.pool_after == recipe.pool_after
    stored = load_file(pretrained_path())
    assert stored.keys() == model.state_dict().keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in model.state_dict().items())


def test_an_evaluation_has_the_probabilities_that_the_logits_stand_for(digits):
    model, few = load_pretrained(), digits.test.part(slice(20))
    logits = predict_logits(model, few.images)
    expected = logits.exp() / logits.exp().sum(1, keepdim=True)
    evaluation = evaluate(model, few)
    assert torch.allclose(evaluation.probabilities, expected, atol=1e-6)
    assert torch.equal(evaluation.predictions, logits.argmax(1)) and evaluation.labels is few.labels


def test_the_network_doubts_every_label_that_people_dispute(mnist):
    "By the probability of its label each is among the last 300 of 10,000; a wrong number would hardly be."
    found = evaluate(load_pretrained(), mnist.test)
    given = found.probabilities.gather(1, found.labels[:, None])[:, 0]
    assert set(LABEL_ERRORS) <= set(given.argsort()[:300].tolist()) and len(set(LABEL_ERRORS)) == 15


def test_the_shipped_weights_read_mnist(mnist):
    assert evaluate(load_pretrained(), mnist.test).accuracy >= 99.4
    assert evaluate(load_pretrained(), mnist.train).accuracy > 99.4


def test_a_short_training_on_the_embedded_digits():
    "Seeds 0 to 9 gave 97.98 to 100.00% after ten epochs."
    digits = embedded_digits()
    model, history = fit(PRESETS["default"], digits.train, seed=0)
    assert len(history) == 10
    assert evaluate(model, digits.test).accuracy >= 96.5


def test_predict_logits_asks_in_eval_mode_and_keeps_the_mode(model):
    images = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    for training in (True, False):
        logits = predict_logits(model.train(training), images, batch_size=2)
        assert model.training is training and not logits.requires_grad
        assert torch.allclose(logits, model.eval()(to_input(images)), atol=1e-5)  # asked in eval mode


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "random", "other", "nan"])
def test_unusable_weights_are_one_sentence(model, tmp_path, damage):
    path = tmp_path / "model.safetensors"
    save_weights(model, path, {})
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        model.conv7 = nn.Conv2d(32, 11, 1, bias=False)
        save_weights(model, path, {})
    elif damage == "nan":
        model.conv7.weight.data[0] = float("nan")
        save_weights(model, path, {})
    else:
        path.write_bytes({"empty": b"", "truncated": content[:-9], "random": bytes(range(256)) * 20}[damage])
    with pytest.raises(InputError) as error:
        load_weights(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_weights_survive_the_file(model, tmp_path):
    save_weights(model, tmp_path / "m.safetensors", {"note": "hello"})
    again, facts = load_weights(tmp_path / "m.safetensors")
    assert facts["note"] == "hello" and not again.training
    assert all(torch.equal(a, again.state_dict()[name]) for name, a in model.state_dict().items())
    far, _ = load_weights(tmp_path / "m.safetensors", "meta")
    assert {tensor.device.type for tensor in far.state_dict().values()} == {"meta"}


def test_facts_of_one_network_do_not_describe_another(tmp_path):
    "What was loaded with a network may be stored with the next."
    save_weights(DigitNet(pool_after=2), tmp_path / "a.safetensors", {})
    save_weights(
        DigitNet(pool_after=5), tmp_path / "b.safetensors", load_weights(tmp_path / "a.safetensors")[1]
    )
    assert load_weights(tmp_path / "b.safetensors")[0].pool_after == 5


def facts_in(path):
    "All that a weights file says beside its tensors."
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["facts"])


def rewritten(path, facts):
    "The same tensors, of which something else is said."
    save_file(load_file(path), path, {"facts": json.dumps(facts)})
    return path


def described(path, network):
    "The same tensors, with something else said of the network."
    facts = facts_in(path)
    return rewritten(path, facts | {"network": facts["network"] | network})


OTHER = {  # what a stored network may be, field by field, that is no `DigitNet`
    "network": "FreeNet", "dropout_at": "blocks", "pooling": "average", "skips": False, "norm": False,
    "silu": True, "widths": [8, 16, 16, 16, 16, 16], "filters": "shared", "first_pool": 2,
}  # fmt: skip


@pytest.mark.parametrize("field", OTHER)
def test_a_stored_network_that_is_not_plain_is_refused_by_the_name_of_its_field(model, tmp_path, field):
    assert PLAIN.keys() == OTHER.keys()
    path = tmp_path / "m.safetensors"
    save_weights(model, path, {})
    for network in (PLAIN, {field: PLAIN[field]}):  # as an earlier version says it
        again, _ = load_weights(described(path, network))
        assert all(
            torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values())
        )
    with pytest.raises(InputError) as error:
        load_weights(described(path, {field: OTHER[field]}))
    said = str(error.value)
    assert (
        f"{field} {OTHER[field]!r}" in said and str(path) in said and "variant" in said and "\n" not in said
    )


@pytest.mark.parametrize(
    "network", [{"pool_after": 9}, {"dropout": 2.0}, {"dropout": "much"}, {"speed": 1}], ids=str
)
def test_a_stored_network_that_cannot_be_is_one_sentence(model, tmp_path, network):
    path = tmp_path / "m.safetensors"
    save_weights(model, path, {})
    with pytest.raises(InputError) as error:
        load_weights(described(path, network))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_network_that_only_has_the_name_is_not_read_as_a_digitnet(tmp_path):
    namesake = type(
        "DigitNet", (DigitNet,), {"features": lambda self, images: 2 * DigitNet.features(self, images)}
    )
    save_weights(namesake(pool_after=2), tmp_path / "m.safetensors", {})
    with pytest.raises(InputError, match="m.safetensors.*variant"):
        load_weights(tmp_path / "m.safetensors")


def test_a_file_of_an_earlier_version_has_the_second_pooling_behind_conv4(model, tmp_path):
    save_weights(model, tmp_path / "m.safetensors", {})
    facts = facts_in(tmp_path / "m.safetensors")
    assert facts["network"].pop("pool_after") == 4
    assert load_weights(rewritten(tmp_path / "m.safetensors", facts))[0].pool_after == 4


@pytest.mark.parametrize("missing", ["dropout", "network"])
def test_a_file_that_does_not_say_what_its_network_is_is_refused(model, tmp_path, missing):
    save_weights(model, tmp_path / "m.safetensors", {})
    facts = facts_in(tmp_path / "m.safetensors")
    (facts if missing == "network" else facts["network"]).pop(missing)
    with pytest.raises(InputError, match="holds no weights of a DigitNet"):
        load_weights(rewritten(tmp_path / "m.safetensors", facts))


@pytest.mark.parametrize("pool_after", [2, 3, 4, 5])
def test_weights_keep_the_network_that_they_belong_to(tmp_path, pool_after):
    model = DigitNet(dropout=0.3, pool_after=pool_after).eval()
    save_weights(model, tmp_path / "m.safetensors", {})
    again, facts = load_weights(tmp_path / "m.safetensors")
    assert facts["network"] == {"network": "DigitNet", "dropout": 0.3, "pool_after": pool_after}
    x = torch.rand(4, 1, 28, 28)
    assert torch.equal(again(x), model(x)) and again.dropout.p == 0.3
