"""The ONNX file: the same answers as PyTorch, whole or not at all, one sentence where it cannot be made."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from conftest import ROOT, is_one_sentence
from warm import MAIN

import mnist_nb.export
from mnist_nb import DigitNet, load_pretrained
from mnist_nb.experiments.variants import Variant, average
from mnist_nb.export import PACKAGES, agreement, export_onnx, onnx_logits, onnx_session
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
    assert is_one_sentence(export("model.pt"), "model.pt does not end in .onnx")
    assert is_one_sentence(
        export("model.onnx", "--weights", "nowhere.safetensors"),
        "there is no weights file nowhere.safetensors",
    )
    assert is_one_sentence(
        export("model.onnx", "--weights", "bad.safetensors"), "bad.safetensors holds no weights"
    )
    assert not list(tmp_path.glob("*.onnx"))


@installed
def test_a_folder_in_the_way(export, tmp_path):
    (tmp_path / "model.onnx").mkdir()
    assert is_one_sentence(export("model.onnx"), "cannot use", "model.onnx")
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_missing_package_is_named(export, tmp_path):
    assert is_one_sentence(export("model.onnx", before=WITHOUT), "pip install onnx onnxscript onnxruntime")
    only = "import sys; sys.modules['onnxscript'] = None\n"
    if all(map(find_spec, PACKAGES)):
        assert is_one_sentence(export("model.onnx", before=only), "export needs onnxscript, which")
    assert not os.listdir(tmp_path)
