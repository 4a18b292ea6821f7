"""Data: what is fetched, what is refused, and what serves where there is no network."""

import gzip
import shutil
import socket
import threading
import time

import pytest
import torch

import mnist_nb.data
from mnist_nb import load_mnist
from mnist_nb.data import (
    FACTS,
    FILES,
    data_folder,
    download,
    embedded_digits,
    fold_indices,
    hold_out,
    original_mnist,
)
from mnist_nb.support import InputError

LABELS = "t10k-labels-idx1-ubyte.gz"  # the smallest of the four


@pytest.fixture
def no_network(monkeypatch):
    "Mirrors where nobody listens."
    monkeypatch.setattr(mnist_nb.data, "MIRRORS", ["http://127.0.0.1:9/"])


@pytest.fixture
def copy(mnist, tmp_path):
    "A data folder of one's own, to damage."
    shutil.copytree(data_folder() / "MNIST", tmp_path / "MNIST", ignore=shutil.ignore_patterns("*ubyte"))
    return tmp_path


def test_without_network_the_embedded_digits_serve_loudly(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_NB_SOURCE", "auto")
    with pytest.warns(UserWarning, match="NOT MNIST"):
        data = load_mnist(folder=tmp_path)
    assert data.name == "digits" and len(data.train.labels) == 1500


def test_without_network_mnist_asked_for_is_an_error(no_network, tmp_path):
    with pytest.raises(InputError) as error:
        load_mnist("mnist", tmp_path)
    assert all(name in str(error.value) for name in FILES) and str(tmp_path) in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_host_that_never_answers_is_an_error_soon(monkeypatch, tmp_path):
    "And the time limit is that of the one request, not of every socket in the process."
    limits = []

    def be_silent():
        connection = silent.accept()[0]
        limits.append(socket.getdefaulttimeout())
        connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Thread(target=be_silent, daemon=True).start()
        monkeypatch.setattr(mnist_nb.data, "MIRRORS", [f"http://127.0.0.1:{silent.getsockname()[1]}/"])
        start = time.perf_counter()
        with pytest.raises(InputError, match="cannot be fetched"):
            download(tmp_path / next(iter(FILES)), timeout=1)
        assert time.perf_counter() - start < 10
    assert limits == [None] and socket.getdefaulttimeout() is None


@pytest.mark.parametrize("damage", ["truncated", "html", "swapped"])
def test_a_damaged_file_is_found(copy, no_network, damage):
    path, other = (copy / "MNIST" / "raw" / name for name in list(FILES)[1::2])
    content = {
        "truncated": path.read_bytes()[:-5],
        "html": b"<html>moved</html>",
        "swapped": other.read_bytes(),
    }
    path.write_bytes(content[damage])
    trouble = "is of another data set" if damage == "swapped" else "is damaged"
    with pytest.raises(InputError, match=f"{path.name} {trouble}"):
        original_mnist(copy)


def test_a_damaged_file_is_fetched_again(copy, mirror, monkeypatch):
    path = copy / "MNIST" / "raw" / LABELS
    whole, before = path.read_bytes(), sorted(path.parent.iterdir())
    path.write_bytes(whole[:-5])
    monkeypatch.setattr(mnist_nb.data, "MIRRORS", [mirror])
    assert len(original_mnist(copy).test.labels) == 10_000 and path.read_bytes() == whole
    assert sorted(path.parent.iterdir()) == before  # nothing else is left behind


def test_a_host_without_the_file_or_with_a_damaged_one_is_passed_over(
    copy, mirror, serve, monkeypatch, tmp_path
):
    path, empty, wrong = copy / "MNIST" / "raw" / LABELS, tmp_path / "empty", tmp_path / "wrong"
    whole = path.read_bytes()
    for folder in (empty, wrong):
        folder.mkdir()
    (wrong / LABELS).write_bytes(whole[:-5])
    path.unlink()
    monkeypatch.setattr(mnist_nb.data, "MIRRORS", [serve(empty), serve(wrong)])
    with pytest.raises(InputError, match=f"{LABELS} cannot be fetched"):
        original_mnist(copy)
    assert not path.exists()
    monkeypatch.setattr(mnist_nb.data, "MIRRORS", [*mnist_nb.data.MIRRORS, mirror])
    assert len(original_mnist(copy).test.labels) == 10_000 and path.read_bytes() == whole


def test_an_unpacked_file_beside_is_never_read(copy):
    "torchvision unpacks beside the archives; a truncated unpacked file must not matter."
    (copy / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").write_bytes(b"cut off")
    assert len(original_mnist(copy).test.labels) == 10_000


def test_the_original_is_what_gzip_says(mnist):
    raw = gzip.decompress((data_folder() / "MNIST" / "raw" / LABELS).read_bytes())
    assert list(raw[8:]) == mnist.test.labels.tolist()


def test_the_embedded_digits_never_change():
    digits = embedded_digits()
    assert digits.train.images.shape == (1500, 28, 28) and digits.test.images.shape == (297, 28, 28)
    assert digits.train.images.dtype == torch.uint8 and digits.train.labels.dtype == torch.int64
    pixels, facts = digits.train.images.double() / 255, FACTS["digits"]
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (facts.mean, facts.std)
    assert tuple(digits.train.labels.bincount().tolist()) == facts.counts


def test_images_carry_the_name_of_their_data_set_wherever_they_go(data):
    for known in (data, embedded_digits()):
        parts = [
            known.train,
            known.test,
            *hold_out(known.train, 3),
            known.train.part(slice(5)),
            known.test.to("meta"),
        ]
        assert {part.name for part in parts} == {known.name}
    some = data.train.part(torch.tensor([4, 2]))
    assert torch.equal(some.images, data.train.images[[4, 2]]) and torch.equal(
        some.labels, data.train.labels[[4, 2]]
    )
    assert data.test.to("meta").images.device.type == data.test.to("meta").labels.device.type == "meta"


def test_the_folds_hold_every_training_image_out_once(data):
    assert fold_indices(len(data.train.labels)).flatten().sort().values.tolist() == list(
        range(len(data.train.labels))
    )
    for fold in (0, 11):
        rest, held = hold_out(data.train, fold)
        chosen = fold_indices(len(data.train.labels))[fold].sort().values
        assert torch.equal(held.images, data.train.images[chosen]) and torch.equal(
            held.labels, data.train.labels[chosen]
        )
        assert len(rest.labels) + len(held.labels) == len(data.train.labels)
