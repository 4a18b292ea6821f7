"""The exported files: the answers of PyTorch, whole or not at all, one sentence where there can be none."""

import inspect
import os
import signal
import struct
import subprocess
import sys
import zlib
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, is_one_sentence
from hypothesis import given
from hypothesis import strategies as st
from warm import MAIN

import mnist_nb.export
from mnist_nb import DigitNet, load_pretrained
from mnist_nb.experiments.variants import Variant, average
from mnist_nb.export import (
    PACKAGES,
    Convolution,
    Folded,
    agreement,
    export_bin,
    export_onnx,
    fold,
    halved,
    nearest,
    numpy_logits,
    onnx_logits,
    onnx_session,
    pack,
    rounded,
    unfold,
    unpack,
)
from mnist_nb.model import predict_logits
from mnist_nb.support import InputError

WITHOUT = f"import sys; sys.modules.update(dict.fromkeys({PACKAGES}))\n"  # as if they were not installed
installed = pytest.mark.skipif(not all(map(find_spec, PACKAGES)), reason=f"needs {', '.join(PACKAGES)}")


@pytest.fixture(scope="module")
def exported(data, tmp_path_factory):
    "The shipped weights as ONNX, and how far they agree with PyTorch on the test images."
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    return path, export_onnx(load_pretrained(), path, data.test.images)


@pytest.fixture
def export(run):
    "Run `mnist-nb export` in an empty folder, on the embedded digits, perhaps after some lines of Python."

    def export(*words, before=""):
        return run("export", *words, "--data", "digits", script=before + MAIN)

    return export


@installed
def test_the_same_digit_for_every_test_image_and_logits_to_1e_4(exported, data):
    path, found = exported
    ours, theirs = (
        predict_logits(load_pretrained(), data.test.images),
        onnx_logits(onnx_session(path), data.test.images),
    )
    assert torch.equal(ours.argmax(1), theirs.argmax(1))
    assert (ours - theirs).abs().max() <= 1e-4
    assert found == agreement(ours, theirs) and found.images == len(data.test.labels)


OTHERS = {
    "another place of the pooling": lambda: DigitNet(dropout=0.5, pool_after=2),
    "a variant": lambda: Variant(dropout=0.5, pooling=average, skips=False).make_network(),
}


@installed
@pytest.mark.parametrize("other", OTHERS)
def test_other_weights_too(data, tmp_path, other):
    "Running statistics that are not trivial, both kinds of pooling, no skips, and dropout that must be off."
    torch.manual_seed(1)
    model = OTHERS[other]()
    model(torch.rand(64, 1, 28, 28))  # in training mode
    assert export_onnx(model, tmp_path / "model.onnx", data.test.images[:200]).same == 200
    assert model.training  # left as it was


@installed
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_any_number_of_raw_images(exported, count):
    generator = torch.Generator().manual_seed(count)
    noise = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)
    (logits,) = onnx_session(exported[0]).run(["logits"], {"images": noise.numpy()})
    assert logits.shape == (count, 10) and logits.dtype == "float32"
    assert torch.allclose(torch.from_numpy(logits), predict_logits(load_pretrained(), noise), atol=1e-4)


@installed
def test_the_file_is_one_small_and_says_nothing_of_this_machine(exported):
    import onnx

    path, _ = exported
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    content = path.read_bytes()
    assert len(content) < 100_000 and b".py" not in content and str(ROOT).encode() not in content


@installed
def test_the_command_writes_the_same_bytes_and_they_run_without_torch(exported, export, tmp_path):
    done = export("model.onnx")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.onnx").read_bytes() == exported[0].read_bytes()
    assert "297 of 297 test images of digits" in done.stdout
    script = (
        "import sys, numpy, onnxruntime; s = onnxruntime.InferenceSession('model.onnx'); "
        "print(s.run(None, {'images': numpy.zeros((3, 28, 28), 'uint8')})[0].shape, 'torch' in sys.modules)"
    )
    alone = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert alone.stdout.strip() == "(3, 10) False", alone.stderr


@installed
@pytest.mark.parametrize("fault", ["other logits", "NaN", "disk full"])
def test_an_existing_file_is_replaced_only_by_a_whole_one(data, tmp_path, monkeypatch, fault):
    path, write = tmp_path / "model.onnx", mnist_nb.export.write_onnx
    path.write_bytes(b"the old one")

    def broken(model, where):
        if fault == "disk full":
            where.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        with torch.no_grad():
            model.conv7.weight.mul_(torch.nan if fault == "NaN" else 1.01)
        write(model, where)
        with torch.no_grad():
            model.conv7.weight.copy_(good)

    model = load_pretrained()
    good = model.conv7.weight.detach().clone()
    with monkeypatch.context() as patch, pytest.raises(OSError if fault == "disk full" else InputError):
        patch.setattr(mnist_nb.export, "write_onnx", broken)
        export_onnx(model, path, data.test.images[:100])
    assert path.read_bytes() == b"the old one" and [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    if fault == "disk full":  # and when there is room again
        export_onnx(model, path, data.test.images[:100])
        assert onnx_logits(onnx_session(path), data.test.images[:1]).shape == (1, 10)


@installed
def test_killed_in_the_middle_the_old_file_stays(export, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old one")
    script = (
        "import os, signal, mnist_nb.export as e\n"
        "e.onnx_session = lambda path: os.kill(os.getpid(), signal.SIGKILL)\n"
    )  # after the file has been written, before it has been compared
    done = export("model.onnx", before=script)
    assert done.returncode == -signal.SIGKILL and path.read_bytes() == b"the old one"


@pytest.mark.parametrize("name", ["model.pt", "model", "model.onnx.txt"])
def test_another_suffix_is_refused(name, tmp_path, data):
    with pytest.raises(InputError, match="does not end in .onnx"):
        export_onnx(load_pretrained(), tmp_path / name, data.test.images[:1])
    assert not os.listdir(tmp_path)


def test_mistakes_on_the_command_line(export, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    for name in ("model.pt", "model", "model.bin.txt"):
        assert is_one_sentence(export(name), f"{name} does not end in .onnx or .bin")
    for bits in ("1", "9", "-8", "four"):
        assert is_one_sentence(export("model.bin", "--bits", bits), "'--bits'")
    assert is_one_sentence(export("model.onnx", "--bits", "4"), "--bits is for .bin files")
    assert is_one_sentence(
        export("model.bin", "--weights", "bad.safetensors"), "bad.safetensors holds no weights"
    )
    assert is_one_sentence(
        export("model.onnx", "--weights", "nowhere.safetensors"),
        "there is no weights file nowhere.safetensors",
    )
    assert is_one_sentence(
        export("model.onnx", "--weights", "bad.safetensors"), "bad.safetensors holds no weights"
    )
    assert os.listdir(tmp_path) == ["bad.safetensors"]


@installed
def test_a_folder_in_the_way(export, tmp_path):
    for name in ("model.onnx", "model.bin"):
        (tmp_path / name).mkdir()
        assert is_one_sentence(export(name), "cannot use", name)
    assert sorted(os.listdir(tmp_path)) == ["model.bin", "model.onnx"]


def test_a_missing_package_is_named(export, tmp_path):
    assert is_one_sentence(export("model.onnx", before=WITHOUT), "pip install onnx onnxscript onnxruntime")
    only = "import sys; sys.modules['onnxscript'] = None\n"
    if all(map(find_spec, PACKAGES)):
        assert is_one_sentence(export("model.onnx", before=only), "export needs onnxscript, which")
    assert not os.listdir(tmp_path)


# The file of few bytes


def wild(seed: int, pool_after: int = 4, mean: float = 0.1307) -> DigitNet:
    "Random weights and statistics; about half of batch norm's scales are below zero, and one is zero."
    generator = torch.Generator().manual_seed(seed)
    model = DigitNet(pool_after=pool_after, mean=mean).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "norm.running_var" in name:
                tensor.uniform_(0.2, 3, generator=generator)
            elif "norm" in name and tensor.is_floating_point():
                tensor.normal_(0, 0.5, generator=generator)
        model.blocks.conv3.norm.weight[5] = 0
    return model


def noise(count: int, seed: int) -> torch.Tensor:
    "Images of random pixels, uint8 [count, 28, 28]."
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)


def alike(a: Folded, b: Folded) -> bool:
    "Whether two folded networks are the same to the last bit."
    pairs = [pair for one, other in zip(a.layers, b.layers) for pair in zip(one, other)]
    same = all(x.dtype == y.dtype and x.shape == y.shape and (x == y).all() for x, y in pairs)
    return same and a[1:] == b[1:] and len(a.layers) == len(b.layers)


@given(seed=st.integers(0, 2**31), pool_after=st.integers(2, 5), mean=st.floats(0, 1, width=32))
def test_folded_means_the_same_whatever_the_sign_of_the_scales(seed, pool_after, mean):
    model, images = wild(seed, pool_after, mean), noise(3, seed)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    theirs, network = predict_logits(model, images), fold(model)
    assert (network.layers[0].scale < 0).any() or (network.layers[1].scale < 0).any()
    size = theirs.abs().max().clamp(min=1)
    assert (torch.from_numpy(numpy_logits(network, images.numpy())) - theirs).abs().max() <= 1e-4 * size
    assert (predict_logits(unfold(network), images) - theirs).abs().max() <= 1e-4 * size
    for layer in network.layers:  # arrays of its own: whoever changes them does not change the model
        layer.filters[:] = 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_scale_below_zero_folded_into_the_window_before_a_pooling_would_be_wrong():
    "What the other way of folding conv1 gives, so that the test above has something to find."
    model, images = wild(0), noise(3, 0)
    block, (filters, scale, bias) = model.blocks.conv1, (torch.from_numpy(a) for a in fold(model).layers[0])
    with torch.no_grad():
        x = images[:, None] / 255
        in_window = F.conv2d(x, filters * scale.view(-1, 1, 1, 1), bias, padding=1)
        theirs, wrong = block(x), F.max_pool2d(in_window, 2).relu()
    assert torch.allclose(theirs[:, scale > 0], wrong[:, scale > 0], atol=1e-4)
    assert (scale < 0).any() and not torch.allclose(theirs[:, scale < 0], wrong[:, scale < 0], atol=0.1)


def test_only_a_digitnet_is_folded():
    with pytest.raises(InputError, match="only a DigitNet can be folded, not a FreeNet"):
        fold(Variant().make_network())


numbers = st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=9)


@given(channel=numbers, bits=st.integers(2, 8))
def test_rounding_is_the_best_of_its_steps(channel, bits):
    weights, top = torch.tensor([channel, [1.0] * len(channel)]), 2 ** (bits - 1) - 1
    whole, steps = nearest(weights, bits)
    assert (whole == whole.round()).all() and whole.abs().max() <= top and (steps > 0).all()
    assert torch.allclose(whole[1] * steps[1], weights[1])
    values = np.array(channel)
    error = np.square(whole[0].numpy() * steps[0].item() - values).sum()
    for step in np.abs(values).max() / top * np.linspace(0.3, 1, 15):
        by_hand = np.square(np.clip(np.round(values / max(step, 1e-13)), -top, top) * step - values).sum()
        assert error**0.5 <= by_hand**0.5 + 1e-6 * np.linalg.norm(values) + 1e-9  # float32 against float64


@given(seed=st.integers(0, 2**31), bits=st.integers(2, 8), pool_after=st.integers(2, 5))
def test_packing_loses_nothing_and_every_byte_is_counted(seed, bits, pool_after):
    network = rounded(fold(wild(seed, pool_after)), bits)
    raw = pack(network)
    assert alike(unpack(raw), network) and network.bits == bits
    scales, biases = 8 + 4 * 16 + 32 + 10, 8 + 4 * 16 + 32
    assert len(raw) == 25 + 2 * (scales + biases) + -(-13_064 * bits // 8)
    ones = "".join(f"{byte:08b}" for byte in raw[25 + 2 * (scales + biases) :])  # read in another way
    whole = [int(ones[i : i + bits], 2) - 2 ** (bits - 1) + 1 for i in range(0, 13_064 * bits, bits)]
    assert whole == np.concatenate([layer.filters.ravel() for layer in network.layers]).tolist()


def test_what_is_not_rounded_or_does_not_fit_is_not_packed():
    folded = fold(load_pretrained())
    with pytest.raises(InputError, match="weights of 32 bits cannot be packed"):
        pack(folded)
    for bits in (1, 9, 0, -3, "4", None):
        with pytest.raises(InputError, match="bits must be a whole number from 2 to 8"):
            rounded(folded, bits)
    for value in (1e6, torch.nan, torch.inf):
        for part in ("norm.bias", "conv.weight"):
            model = load_pretrained()
            with torch.no_grad():
                model.state_dict()[f"blocks.conv2.{part}"][3] = value * (1 if part == "norm.bias" else 1e6)
            with pytest.raises(InputError, match="do not fit into 16 bits"):
                rounded(fold(model), 8)


@pytest.fixture(scope="module")
def packed():
    return pack(rounded(fold(load_pretrained()), 8))


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_bit_changed_is_refused(packed, place, bit):
    damaged = bytearray(packed)
    damaged[int(place * len(packed))] ^= 1 << bit
    with pytest.raises(InputError, match="no packed network, or a damaged one"):
        unpack(bytes(damaged))


def sealed(content: bytes) -> bytes:
    "With a checksum that is right."
    return b"mnb\x01" + zlib.crc32(content).to_bytes(4, "little") + content


def test_what_is_no_packed_network_is_refused(packed):
    content = packed[8:]
    others = [
        b"",
        b"mnb\x01",
        packed[:-1],
        packed[:12],
        packed + b"\0",
        b"PK" + packed[2:],
        packed[:3] + b"\x02" + packed[4:],
    ]
    others += [sealed(b""), sealed(content[:-1]), sealed(content + b"\0"), sealed(content[:17])]
    others += [sealed(bytes([bits]) + content[1:]) for bits in (0, 1, 7, 9, 255)]
    others += [sealed(content[:1] + bytes([place]) + content[2:]) for place in (0, 1, 6, 255)]
    others += [sealed(content[:2] + bytes(7) + content[9:]), sealed(content[:2] + b"\xff" * 7 + content[9:])]
    infinite = struct.pack("<e", float("inf"))
    others += [
        sealed(content[:17] + infinite + content[19:]),
        sealed(content[:9] + b"\xff" * 8 + content[17:]),
    ]
    assert unpack(sealed(content)).bits == 8
    for raw in others:
        with pytest.raises(InputError, match="no packed network, or a damaged one"):
            unpack(raw)


def test_images_of_another_kind_are_refused():
    network = fold(load_pretrained())
    for wrong in (np.zeros((1, 28, 28)), np.zeros((1, 28, 27), np.uint8), np.zeros((28, 28), np.uint8)):
        with pytest.raises(InputError, match="expected uint8"):
            numpy_logits(network, wrong)


@pytest.mark.parametrize("bits", [8, 6, 4, 2])
def test_numpy_answers_from_the_file_as_pytorch_does_with_the_rounded_weights(data, tmp_path, bits):
    "PyTorch's network is made here from the model itself: each filter rounded in its place, batch norm kept."
    model, path, images = load_pretrained(), tmp_path / "model.bin", data.test.images[:1000]
    answers = export_bin(model, path, images, bits)
    with torch.no_grad():
        for layer in (part for part in model.modules() if isinstance(part, torch.nn.Conv2d)):
            whole, steps = nearest(layer.weight, bits)
            layer.weight.copy_(whole * steps.view(-1, 1, 1, 1))
    theirs = predict_logits(model, images)  # its scales and biases have 32 bits, those of the file 16
    assert (theirs - answers).abs().max() < 0.02 and agreement(theirs, answers).same >= len(images) - 3
    read = torch.from_numpy(numpy_logits(unpack(path.read_bytes()), images[:250].numpy()))
    assert torch.equal(read, answers[:250])
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]


def test_8_bits_cost_at_most_2_of_10_000_digits_and_14_500_bytes(mnist, tmp_path):
    model, path = load_pretrained(), tmp_path / "model.bin"
    answers, labels = export_bin(model, path, mnist.test.images), mnist.test.labels
    before, after = (
        (a.argmax(1) == labels).sum() for a in (predict_logits(model, mnist.test.images), answers)
    )
    assert path.stat().st_size == 13_525 <= 14_500 and abs(before - after) <= 2


@pytest.mark.parametrize("fault", ["other weights", "disk full"])
def test_an_existing_small_file_is_replaced_only_by_a_whole_one(data, tmp_path, monkeypatch, fault):
    path, images = tmp_path / "model.bin", data.test.images[:100]
    path.write_bytes(b"the old one")

    def broken(network):
        if fault == "disk full":
            raise OSError(28, "No space left on device")
        network.layers[2].filters[0] += 1
        raw = pack(network)
        network.layers[2].filters[0] -= 1
        return raw

    with monkeypatch.context() as patch, pytest.raises(OSError if fault == "disk full" else InputError):
        patch.setattr(mnist_nb.export, "pack", broken)
        export_bin(load_pretrained(), path, images, 4)
    assert path.read_bytes() == b"the old one" and [p.name for p in tmp_path.iterdir()] == ["model.bin"]
    with pytest.raises(InputError, match="does not end in .bin"):
        export_bin(load_pretrained(), tmp_path / "model.onnx", images)


@pytest.mark.parametrize("words, size", [((), 13_525), (("--bits", "3"), 5_360)])
def test_the_command_writes_a_file_that_runs_where_there_is_no_pytorch(export, tmp_path, digits, words, size):
    done = export("model.bin", *words, before=WITHOUT)  # nor does it need the packages of ONNX
    assert done.returncode == 0, done.stderr
    raw = (tmp_path / "model.bin").read_bytes()
    assert len(raw) == size and f"{size:,} bytes" in done.stdout
    answers = numpy_logits(unpack(raw), digits.test.images.numpy())
    right = (answers.argmax(1) == digits.test.labels.numpy()).sum()
    assert f"{right} of 297 test images of digits right" in done.stdout and right > 250
    parts = (InputError, Convolution, Folded, halved, numpy_logits, unpack)
    program = "import math, struct, sys, zlib\nimport numpy as np\nfrom typing import NamedTuple\n"
    program += f"MAGIC, HEADER = {mnist_nb.export.MAGIC}, struct.Struct({mnist_nb.export.HEADER.format!r})\n"
    program += "\n".join(map(inspect.getsource, parts))
    program += (
        "\nnp.save('logits.npy', numpy_logits(unpack(open('model.bin', 'rb').read()), np.load('images.npy')))"
    )
    np.save(tmp_path / "images.npy", digits.test.images.numpy())
    script = f"import sys; sys.modules['torch'] = None\n{program}"
    alone = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    assert np.array_equal(np.load(tmp_path / "logits.npy"), answers)
