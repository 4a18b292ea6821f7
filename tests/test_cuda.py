"""The path on a GPU, on machines that have none: PyTorch's fake tensors say `cuda`, compute nothing, and
refuse whatever mixes devices or asks for a value, for which a real GPU would have to be waited for."""

import gc
import inspect
import weakref
from collections.abc import Callable
from types import FunctionType

import pytest
import torch
import torch._dynamo  # as does the next, it looks at PyTorch while it is imported: before any mode is on
import torch.distributed.tensor  # noqa: F401
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    unset_fake_temporarily,
)

from mnist_nb import PRESETS, DigitNet, augment, data, interpret, metrics, model, support, train
from mnist_nb.data import LabelledImages
from mnist_nb.experiments import frontier, gpu, many, seeds, variants
from mnist_nb.metrics import Evaluation

N, RECIPE = 130, PRESETS["default"]  # two batches of 64, and two images more
WAITS = (DataDependentOutputException, DynamicOutputShapeException)


def floats(*shape: int) -> Tensor:
    return torch.empty(shape, device="cuda")


def numbers(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.int64, device="cuda")


def pictures(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.uint8, device="cuda")


def labelled() -> LabelledImages:
    return LabelledImages(pictures(N, 28, 28), numbers(N), "mnist")


def on_cuda(make: Callable[[], nn.Module] = DigitNet, training: bool = False) -> nn.Module:
    "A network on the GPU: made without the mode, then tensor by tensor: `Module.to` cannot move it."
    with unset_fake_temporarily():
        net = make()
    for part in net.modules():
        for name, old in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            new = torch.empty(old.shape, dtype=old.dtype, device="cuda")
            if name in part._parameters:
                part._parameters[name] = nn.Parameter(new)
            else:
                part._buffers[name] = new
    return net.train(training)


def joint(k: int = 2) -> DigitNet:
    "K networks as one. A generator on a GPU cannot be made here; PyTorch's own can be used."
    net = on_cuda(lambda: many.group([DigitNet() for _ in range(k)]), training=True)
    net.dropout.generators = [None] * k
    return net


def judged() -> Evaluation:
    return Evaluation(numbers(N), floats(N, 10))


def affine_draws() -> tuple[Tensor, ...]:
    return floats(N), floats(N, 2), floats(N), floats(N)


def loss(net: nn.Module) -> Tensor:
    return F.cross_entropy(net(floats(N, 1, 28, 28)), numbers(N), label_smoothing=RECIPE.label_smoothing)


def stepped(rule: gpu.VectorAdamW | gpu.VectorSGD) -> tuple[Tensor, ...]:
    rule.step(floats(N), floats(4))
    return rule.weights, rule.mean


NETWORKS = {f"variants.{recipe.name}": recipe for recipe in [*seeds.ladder()[:2], seeds.PRESETS["fast"]]}
NETWORKS |= {f"frontier.{kind}": frontier.small(2000, kind) for kind in frontier.FILTERS}
NETWORKS |= {
    "variants.averaged": variants.varied(RECIPE, ["ema_decay=0.99"]),
    "variants.dropout of channels": variants.varied(RECIPE, ["dropout_at=blocks"]),
}

PASSES: dict[str, Callable[[], tuple[Tensor, ...]]] = {  # by the function that is called first
    "data.to_input": lambda: (data.to_input(pictures(N, 28, 28)),),
    "data.batches": lambda: next(data.batches(labelled(), 64, torch.Generator())),
    "augment.rotation_matrices": lambda: (augment.rotation_matrices(floats(N)),),
    "augment.shear_matrices": lambda: (augment.shear_matrices(floats(N)),),
    "augment.backward_matrices": lambda: (augment.backward_matrices(*affine_draws(), 28),),
    "augment.sample": lambda: (augment.sample(floats(N, 1, 28, 28), floats(N, 2, 3)),),
    "augment.random_affine": lambda: (augment.random_affine(floats(N, 1, 28, 28), 8, 0.05, 0.05, 3, None),),
    "train.augmented_batches": lambda: next(
        train.augmented_batches(RECIPE, labelled(), 0, torch.Generator(), None)
    ),
    "model.DigitNet, training": lambda: (on_cuda(training=True)(floats(N, 1, 28, 28)),),
    "model.DigitNet, the loss": lambda: (loss(on_cuda(training=True)),),
    "model.DigitNet, features": lambda: (on_cuda().features(floats(N, 1, 28, 28)),),
    "model.predict_logits": lambda: (model.predict_logits(on_cuda(), pictures(N, 28, 28), 64),),
    "interpret.feature_maps": lambda: (
        *interpret.feature_maps(on_cuda(), pictures(N, 28, 28)).values(),
    ),
    "interpret.embed": lambda: (interpret.embed(on_cuda(), pictures(N, 28, 28)),),
    "interpret.margins": lambda: (interpret.margins(floats(N, 10), numbers(N)),),
    "interpret.occlusion": lambda: (interpret.occlusion(on_cuda(), pictures(28, 28), 3, side=5),),
    "many.grouped_logits": lambda: (many.grouped_logits(joint(), floats(N, 2, 28, 28)),),
    "gpu.in_memory_order": lambda: (gpu.in_memory_order(floats(16, 8, 3, 3)),),
    "gpu.orthogonalised_each": lambda: (gpu.orthogonalised_each(floats(4, 16, 144)),),
    "gpu.VectorAdamW, a step": lambda: stepped(gpu.VectorAdamW(RECIPE, floats(N))),
    "gpu.VectorSGD, a step": lambda: stepped(gpu.VectorSGD(RECIPE, floats(N))),
    "variants.orthogonalised": lambda: (variants.orthogonalised(floats(16, 144)),),
    "variants.average": lambda: (variants.average(floats(N, 32, 7, 7)),),
    "variants.maximum": lambda: (variants.maximum(floats(N, 32, 7, 7)),),
    "variants.mixed": lambda: (variants.mixed(floats(N, 32, 7, 7)),),
}  # fmt: skip
PASSES |= {
    f"{name}, training": lambda recipe=recipe: (
        on_cuda(recipe.make_network, training=True)(floats(N, 1, 28, 28)),
    )
    for name, recipe in NETWORKS.items()
}
MAY_WAIT: dict[str, tuple[str, Callable]] = {  # the reason, and a call that does
    "support.expect": (
        "a check of values, once for a whole set; batches of floats are not checked",
        lambda: support.expect(floats(N), "scores", ("N",), "float"),
    ),
    "data.check_labelled": ("a check of values, once a run", lambda: data.check_labelled(labelled())),
    "data.hold_out": ("cuts a fold, once a run", lambda: data.hold_out(labelled(), 0)),
    "data.center_digit": (
        "prepares a single picture, and looks where its ink is",
        lambda: data.center_digit(floats(28, 28)),
    ),
    "interpret.principal_components": (
        "checks its values, once for a picture of them all",
        lambda: interpret.principal_components(floats(N, 32)),
    ),
    "augment.check_affine": (
        "a check of values, for those who give their own",
        lambda: augment.check_affine(floats(N, 1, 28, 28), *affine_draws()),
    ),
    "augment.affine": (
        "checks its values; training uses `random_affine`",
        lambda: augment.affine(floats(N, 1, 28, 28), *affine_draws()),
    ),
    "train.loss_and_accuracy": (
        "a score, once an epoch",
        lambda: train.loss_and_accuracy(on_cuda(), labelled()),
    ),
    "metrics.evaluate": (
        "checks its set, once a run",
        lambda: metrics.evaluate(on_cuda(), labelled()),
    ),
    "gpu.percent_right": (
        "a score, once a run",
        lambda: gpu.percent_right(on_cuda(), labelled()),
    ),
    "metrics.confusion_matrix": (
        "counts, once a run",
        lambda: metrics.confusion_matrix(judged()),
    ),
    "metrics.worst_mistakes": (
        "picks images, once a run",
        lambda: metrics.worst_mistakes(judged()),
    ),
    "metrics.reliability": (
        "a table for people, once a run",
        lambda: metrics.reliability(judged()),
    ),
    "metrics.calibration_error": (
        "a score, once a run",
        lambda: metrics.calibration_error(judged()),
    ),
}
LEFT_OUT = {
    "data.plot_digits": "a figure for people",
    "metrics.plot_confusion": "a figure for people",
    "interpret.plot_feature_maps": "a figure for people",
    "interpret.plot_embedding": "a figure for people",
    "model.check_input": "asks for types and shapes, in every forward pass above",
    "interpret.input_gradient": "takes a gradient, for which a real device is needed",
    **dict.fromkeys(
        ["train.train_step", "train.train_epoch", "train.epochs", "train.fit", "train.lr_range_test"],
        "takes gradients, for which a real device is needed",
    ),
    **dict.fromkeys(["many.joint_step", "many.fit_many"], "takes gradients, as above"),
    **dict.fromkeys(["train.start_run", "many.joint_run"], "moves a network, which fake tensors cannot"),
    **dict.fromkeys(
        ["gpu.start_cohort", "gpu.fit_cohort"], "moves networks, which fake tensors cannot, and trains them"
    ),
    "gpu.cohort_step": "takes gradients, as above",
    "gpu.recorded": "records on a real device",
    "many.joint_batches": "makes generators on the device; its batches are `train.augmented_batches`",
}
MODULES = [support, data, augment, model, train, metrics, interpret, many, variants, gpu]


def takes_tensors(function: FunctionType) -> bool:
    "Whether one of its parameters is a tensor, or holds some."
    kinds = " ".join(str(p.annotation) for p in inspect.signature(function).parameters.values())
    return any(kind in kinds for kind in ("Tensor", "LabelledImages", "Evaluation", "train.Run"))


def test_the_lists_name_every_function_that_takes_tensors():
    found = {
        f"{module.__name__.split('.')[-1]}.{name}"
        for module in MODULES
        for name, function in vars(module).items()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and takes_tensors(function)
    }
    listed = [*(name for name in PASSES if "," not in name), *MAY_WAIT, *LEFT_OUT]
    assert len(listed) == len(set(listed)) and found == set(listed)


@pytest.mark.parametrize("name", PASSES)
def test_it_stays_on_the_gpu_and_waits_for_nothing(name):
    with FakeTensorMode():
        results = PASSES[name]()
    assert results and all(tensor.device.type == "cuda" for tensor in results)


@pytest.mark.parametrize("name", MAY_WAIT)
def test_it_waits_for_the_gpu_as_the_list_says(name):
    reason, call = MAY_WAIT[name]
    with FakeTensorMode(), pytest.raises(WAITS):
        call()
        pytest.fail(f"{name} does not wait ({reason}): it belongs among those that pass")


def test_the_mode_sees_what_it_is_for():
    "A tensor left on the CPU, a value that is asked for, a mask whose size nobody knows."
    with FakeTensorMode():
        with pytest.raises(RuntimeError, match="device"):
            floats(N) + torch.zeros(N)
        with pytest.raises(DataDependentOutputException):
            floats(N).sum().item()
        with pytest.raises(DynamicOutputShapeException):
            floats(N)[numbers(N) > 3]


class Silent:
    "Stands in for streams and graphs where there is no GPU."

    def __init__(self, *_):
        self.played = 0

    def wait_stream(self, *_):
        pass

    __enter__ = __exit__ = wait_stream

    def replay(self):
        self.played += 1


def test_a_recording_holds_what_its_step_reads(monkeypatch):
    "A graph reads the same places for ever: a tensor that is given up leaves its place to others."
    graph = Silent()
    for name in ("Stream", "current_stream", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, Silent)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    read, calls = torch.ones(3), []
    held = weakref.ref(read)
    with FakeTensorMode():
        play = gpu.recorded(lambda read=read: calls.append(read.shape), [floats(3)])
    del read
    gc.collect()
    play()
    assert held() is not None and len(calls) == 4 and graph.played == 1
    del play
    gc.collect()
    assert held() is None
