"""Faults, done for real: what breaks is said in one sentence, and nothing is lost."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, bits, is_one_sentence, same_bits, until
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from warm import MAIN, Command

from mnist_nb import PRESETS, DigitNet, evaluate, fit
from mnist_nb.data import FILES, DigitData, hold_out
from mnist_nb.experiments.variants import Variant, varied
from mnist_nb.model import load_weights, predict_logits, save_weights
from mnist_nb.runs import measure, previous
from mnist_nb.support import InputError, read_rows
from mnist_nb.train import PLAIN_RECIPE, changed, read_recipe

FOUR = ["train", "--data", "digits", "--preset", "fast", "--epochs", "4", "--out"]
MIRRORS = "import mnist_nb.data; mnist_nb.data.MIRRORS = {}; "
MIRROR = MIRRORS + MAIN
LOADED = MIRRORS + (
    "from mnist_nb import load_mnist; print(*(len(part.labels) for part in load_mnist('mnist')))"
)


# Data


def test_two_processes_fill_an_empty_folder_at_once(mirror, tmp_path, one_thread):
    variables = one_thread | {"MNIST_NB_DATA": str(tmp_path / "data")}
    asked = {"folder": tmp_path, "variables": variables, "script": LOADED.format([mirror])}
    both = [Command(**asked) for _ in range(2)]
    assert [process.wait(300) for process in both] == [0, 0], [process.stderr for process in both]
    assert both[0].stdout == both[1].stdout == "60000 10000\n"
    assert sorted(p.name for p in (tmp_path / "data" / "MNIST" / "raw").iterdir()) == sorted(FILES)


def test_hosts_that_never_answer_are_an_error_within_30_seconds(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, nobody answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        run("--help")  # the first of all waits for the imports
        start, script = time.perf_counter(), MIRROR.format([address, address])
        done = run("evaluate", "--data", "mnist", script=script, MNIST_NB_DATA=str(tmp_path / "data"))
    assert 10 < time.perf_counter() - start < 30
    assert is_one_sentence(done, "cannot be fetched", *FILES)


def test_a_full_data_folder(mirror, run, tmp_path):
    limits = {"size": 100_000, "MNIST_NB_DATA": str(tmp_path / "data")}
    done = run("evaluate", "--data", "mnist", script=MIRROR.format([mirror]), **limits)
    assert is_one_sentence(done, "cannot write to", str(tmp_path / "data"))


@pytest.mark.skipif(os.name != "posix", reason="needs users and permissions as POSIX has them")
def test_a_read_only_data_folder(mirror, run, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    script = f"import encodings.idna, mnist_nb.data; mnist_nb.data.MIRRORS = [{mirror!r}]\n"
    script += "from mnist_nb.data import load_mnist; from mnist_nb.support import InputError\n"
    if (
        os.getuid() == 0
    ):  # root may write anywhere, so become nobody after the imports, which nobody may not read
        script += "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        for parent in [tmp_path, *tmp_path.parents]:
            if parent.stat().st_uid == 0 and parent != Path("/") and parent != Path("/tmp"):
                parent.chmod(parent.stat().st_mode | 0o055)
    script += f"try:\n    load_mnist('mnist', {str(folder)!r})\nexcept InputError as error:\n    print(error)"
    done = run(script=script)
    assert "cannot write to" in done.stdout and "MNIST_NB_DATA" in done.stdout, done.stdout + done.stderr


# Training


@pytest.fixture(scope="module")
def finished(tmp_path_factory, one_thread):
    "A run of four epochs that nobody interrupted; the seconds until its first checkpoint, and until its end."
    folder = tmp_path_factory.mktemp("finished")
    assert (
        Command("--help", folder=folder, variables=one_thread).wait() == 0
    )  # the first waits for all imports
    start = time.perf_counter()
    process = Command(*FOUR, "run", folder=folder, variables=one_thread)
    until((folder / "run" / "checkpoint.pt").exists, "the first checkpoint", process)
    first = time.perf_counter() - start
    assert process.wait() == 0
    (folder / "seconds").write_text(json.dumps([first, time.perf_counter() - start]))
    return folder / "run"


def go_on(folder, environment):
    "Start the run in `folder`, or go on with it."
    resume = ["--resume"] if (folder / "recipe.json").exists() else []
    return Command(*FOUR, folder, *resume, folder=folder.parent, variables=environment)


def test_killed_at_twenty_random_moments_and_resumed_gives_the_same_bits(finished, tmp_path, one_thread):
    "Kill -9 between a process's start and its report; the run goes on until it ends, then another begins."
    first, last = json.loads((finished.parent / "seconds").read_text())
    folder = tmp_path / "run0"
    draw, kills, resumed = random.Random(0), 0, 0
    while kills < 20:
        resumed += (folder / "checkpoint.pt").exists()
        process = go_on(folder, one_thread)
        try:
            moment = np.interp(draw.uniform(0.1, 1.5), [0, 1, 2], [0, first, last])  # before it, or after
            assert process.wait(moment) == 0, process.stderr
            assert same_bits(folder / "model.safetensors", finished / "model.safetensors")
            folder = tmp_path / f"run{kills}"
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert go_on(folder, one_thread).wait() == 0
    assert same_bits(folder / "model.safetensors", finished / "model.safetensors")
    assert resumed > 5  # so often one went on from a checkpoint


STAGES = {"first epoch": "recipe.json", "checkpoint write": ".*-checkpoint.pt", "report": "model.safetensors"}


def killed_in(stage, folder, environment):
    "Start the run in `folder` and kill -9 it once the stage shows itself; whether that was before the end."
    process = go_on(folder, environment)
    while process.poll() is None and not list(folder.glob(STAGES[stage])):
        pass
    process.kill()
    process.wait()
    return process.returncode == -signal.SIGKILL and not (folder / "report.md").exists()


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_each_stage_and_resumed_gives_the_same_bits(finished, tmp_path, one_thread, stage):
    folders = (tmp_path / str(attempt) for attempt in range(10))  # a write of a millisecond may be missed
    folder = next(folder for folder in folders if killed_in(stage, folder, one_thread))
    assert go_on(folder, one_thread).wait() == 0
    assert same_bits(folder / "model.safetensors", finished / "model.safetensors")
    assert (folder / "report.md").read_text().startswith("# fast")


def test_killed_while_fetching_and_started_again(mirror, tmp_path, one_thread):
    variables = one_thread | {"MNIST_NB_DATA": str(tmp_path / "data")}
    asked = {"folder": tmp_path, "variables": variables, "script": LOADED.format([mirror])}
    raw, process = tmp_path / "data" / "MNIST" / "raw", Command(**asked)
    until(raw.exists, "the folder", process)
    time.sleep(0.5)
    process.kill()
    process.wait()
    assert not all((raw / name).exists() for name in FILES)
    done = Command(**asked)
    assert done.wait(300) == 0 and done.stdout == "60000 10000\n"


def test_control_c_is_a_clean_message_and_the_checkpoint_is_usable(finished, run, tmp_path, one_thread):
    words = [*FOUR, "run"]
    process = Command(*words, folder=tmp_path, variables=one_thread)
    until((tmp_path / "run" / "checkpoint.pt").exists, "a checkpoint", process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and "Traceback" not in process.stderr and "--resume" in process.stderr
    assert run(*words, "--resume").returncode == 0
    assert same_bits(tmp_path / "run" / "model.safetensors", finished / "model.safetensors")


def test_a_truncated_checkpoint_falls_back_to_the_one_before(finished, run, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    path = tmp_path / "run" / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:5000])
    done = run(*FOUR, "run", "--resume")
    assert done.returncode == 0 and "checkpoint-previous.pt" in done.stderr
    assert same_bits(tmp_path / "run" / "model.safetensors", finished / "model.safetensors")
    for file in (path, previous(path)):
        file.write_bytes(b"nothing")
    done = run(*FOUR, "run", "--resume")
    assert is_one_sentence(done, "checkpoint.pt is damaged")


@pytest.mark.parametrize(
    "other", [["--seed", "1"], ["--preset", "classic"], ["--valid"], ["--epochs", "5"]], ids=" ".join
)
def test_a_checkpoint_of_another_run_is_refused(finished, run, tmp_path, other):
    shutil.copytree(finished, tmp_path / "run")
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}
    done = run(*FOUR, "run", "--resume", *other)
    assert is_one_sentence(done, "another run")
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


ONE = changed(PRESETS["default"], ["epochs=1"])
OTHERS = {  # recipe, training images and seed of a run that is another
    "another network": lambda train: (varied(ONE, ["pooling=average"]), hold_out(train, 0)[0], 0),
    "a number that only a variant has": lambda train: (
        varied(ONE, ["plain_epochs=1"]),
        hold_out(train, 0)[0],
        0,
    ),
    "another number": lambda train: (changed(ONE, ["max_lr=0.02"]), hold_out(train, 0)[0], 0),
    "another data set": lambda train: (ONE, hold_out(train, 0)[0]._replace(name="mnist"), 0),
    "another fold": lambda train: (ONE, hold_out(train, 1)[0], 0),
    "no fold": lambda train: (ONE, train, 0),
    "another seed": lambda train: (ONE, hold_out(train, 0)[0], 1),
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_another_recipe_fold_data_set_or_seed_is_refused(little, tmp_path, other):
    path, (train, held) = tmp_path / "checkpoint.pt", hold_out(little.train, 0)
    first = measure(ONE, train, held, True, 0, path)
    before = path.read_bytes()
    recipe, images, seed = OTHERS[other](little.train)
    with pytest.raises(InputError, match="another run"):
        measure(recipe, images, held, True, seed, path, resume=True)
    assert path.read_bytes() == before
    assert torch.equal(bits(measure(ONE, train, held, True, 0, path, resume=True).model), bits(first.model))


def test_a_checkpoint_of_a_variant_is_refused_by_a_variant_with_other_parts(little, tmp_path):
    path, one = tmp_path / "checkpoint.pt", varied(ONE, ["optimizer=muon", "ema_decay=0"])
    measure(one, little.train, little.test, False, 0, path)
    other = Variant(**vars(one) | {"activation": torch.nn.SiLU})  # even under the same name
    with pytest.raises(InputError, match="another run"):
        measure(other, little.train, little.test, False, 0, path, resume=True)


def test_an_output_folder_that_cannot_be_used(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert is_one_sentence(run("train", "--data", "digits", "--epochs", "1", "--out", "file"), "file exists")
    assert is_one_sentence(
        run("train", "--data", "digits", "--epochs", "1", "--out", "file/run"), "cannot use"
    )
    assert is_one_sentence(
        run("train", "--data", "digits", "--epochs", "1", "--out", "/proc/run"), "cannot use"
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_output_folder(run, tmp_path):
    done = run("train", "--data", "digits", "--epochs", "2", "--out", "run", size=50_000)
    assert is_one_sentence(done, "cannot use run/checkpoint.pt", "too large")
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_loss_that_becomes_nan_stops_and_keeps_the_last_good_checkpoint(digits, tmp_path, monkeypatch):
    import mnist_nb.train as module

    path = tmp_path / "checkpoint.pt"
    plain, calls, recipe = module.train_step, [], changed(PRESETS["default"], ["epochs=4"])

    def poisoned(run, images, labels):
        calls.append(1)
        if len(calls) == 40:  # in the second epoch of 24 steps
            run.model.conv7.weight.data.fill_(float("nan"))
        return plain(run, images, labels)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="nan in epoch 2"):
        patch.setattr(module, "train_step", poisoned)
        measure(recipe, digits.train, digits.test, False, 0, path)
    whole, _ = fit(recipe, digits.train)
    resumed = measure(recipe, digits.train, digits.test, False, 0, path, resume=True)
    assert len(resumed.history) == 4 and torch.equal(bits(whole), bits(resumed.model))


# Options and recipe files

DEFAULT = PRESETS["default"].record()
BAD_RECIPES = {
    "not json": "{",
    "a list": "[]",
    "an unknown key": json.dumps(DEFAULT | {"speed": 1}),
    "a missing key": json.dumps({k: v for k, v in DEFAULT.items() if k != "epochs"}),
    "a wrong type": json.dumps(DEFAULT | {"epochs": "ten"}),
    "nan": json.dumps(DEFAULT | {"max_lr": float("nan")}),
    "a negative batch": json.dumps(DEFAULT | {"batch_size": -1}),
    "a negative rate": json.dumps(DEFAULT | {"max_lr": -0.01}),
    "a rate of zero": json.dumps(DEFAULT | {"max_lr": 0.0}),
    "a batch larger than the data": json.dumps(DEFAULT | {"batch_size": 1501}),
    "a name that is a number": json.dumps(DEFAULT | {"name": 5}),
    "a list of pairs": json.dumps(list(DEFAULT.items())[:3]),
    "text": '"default"',
    "nothing": "null",
    "a variant": json.dumps(varied(ONE, ["activation=silu"]).record()),
    "a variant of an earlier version": json.dumps(PLAIN_RECIPE | DEFAULT | {"optimizer": "muon"}),
}


@pytest.mark.parametrize("name", BAD_RECIPES)
def test_a_bad_recipe_file_is_one_sentence(run, tmp_path, name):
    (tmp_path / "recipe.json").write_text(BAD_RECIPES[name])
    assert is_one_sentence(
        run("train", "--data", "digits", "--preset", "recipe.json"), *["variant"] * ("variant" in name)
    )
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"recipe.json"}


@pytest.mark.parametrize("more", [{}, PLAIN_RECIPE], ids=["this version", "an earlier one"])
def test_a_good_recipe_file_trains(run, tmp_path, more):
    (tmp_path / "recipe.json").write_text(json.dumps(more | DEFAULT))
    done = run("train", "--data", "digits", "--preset", "recipe.json", "--epochs", "1", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert read_recipe(tmp_path / "run" / "recipe.json") == changed(PRESETS["default"], ["epochs=1"])


def test_cuda_where_there_is_none(run):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert is_one_sentence(run("train", "--data", "digits", "--device", "cuda"), "cuda")


# Weights


class Bomb:
    "What a pickle can do."

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_in_disguise_is_refused_and_not_executed(run, tmp_path, kind):
    import pickle

    path, target = tmp_path / "model.safetensors", tmp_path / "exploded"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(target)))
    else:
        torch.save(Bomb(target), path)
    assert is_one_sentence(run("evaluate", str(path), "--data", "digits"), "holds no weights")
    assert not target.exists()


def test_a_checkpoint_in_disguise_is_not_executed(finished, run, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    for file in (tmp_path / "run" / "checkpoint.pt", tmp_path / "run" / "checkpoint-previous.pt"):
        torch.save(Bomb(tmp_path / "exploded"), file)
    done = run(*FOUR, "run", "--resume")
    assert is_one_sentence(done, "damaged") and not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("change", ["extra", "missing", "shape"])
def test_weights_with_other_tensors_are_refused(tmp_path, change):
    path = tmp_path / "model.safetensors"
    save_weights(DigitNet(), path, {})
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    if change == "extra":
        tensors["more"] = torch.zeros(1)
    elif change == "missing":
        del tensors["conv7.weight"]
    else:
        tensors["conv7.weight"] = torch.zeros(10, 31, 1, 1)
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="holds no weights"):
        load_weights(path)


def test_nothing_in_the_package_unpickles_unless_weights_only():
    package = ROOT / "mnist_nb"
    text = {path.name: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    loads = [line for source in text.values() for line in source.splitlines() if "torch.load(" in line]
    assert len(loads) == 1 and "weights_only=True" in loads[0]
    assert not [name for name, source in text.items() if "pickle.load" in source or "import pickle" in source]


# Determinism


def test_the_same_bits_in_another_folder_locale_and_hash_seed(finished, tmp_path, one_thread):
    words = [*FOUR, str(tmp_path / "elsewhere" / "run")]
    (tmp_path / "cwd").mkdir()
    variables = one_thread | {
        "LC_ALL": "tr_TR.UTF-8",
        "LANG": "tr_TR.UTF-8",
        "PYTHONHASHSEED": "12345",
        "TZ": "Asia/Kolkata",
    }
    command = [sys.executable, "-c", MAIN, *words]  # a hash seed is taken when Python starts
    subprocess.run(command, cwd=tmp_path / "cwd", env=variables, check=True, capture_output=True)
    assert same_bits(tmp_path / "elsewhere" / "run" / "model.safetensors", finished / "model.safetensors")


def stays_close(a, b):
    "Sums in another order: after an epoch weights within 20% of their size, the epoch's mean loss within 2%."
    one, two = (load_file(folder / "model.safetensors") for folder in (a, b))
    learned = [name for name in one if name.endswith("weight")]
    size = sum((one[name] ** 2).sum() for name in learned).sqrt()
    losses = [float(read_rows(folder / "history.csv")[0]["train_loss"]) for folder in (a, b)]
    return (
        sum(((one[n] - two[n]) ** 2).sum() for n in learned).sqrt() < 0.2 * size
        and abs(losses[0] / losses[1] - 1) < 0.02
    )


def one_epoch(folder, environment, *words):
    "Train for one epoch in a process of its own."
    words = ["train", "--data", "digits", "--epochs", "1", "--out", folder, *words]
    assert Command(*words, folder=folder.parent, variables=environment).wait() == 0
    return folder


def test_another_number_of_threads_stays_close_after_one_epoch(tmp_path, one_thread):
    one = one_epoch(tmp_path / "one", one_thread)
    assert stays_close(one, one_epoch(tmp_path / "two", one_thread | {"OMP_NUM_THREADS": "2"}))
    assert not stays_close(
        one, one_epoch(tmp_path / "other", one_thread, "--seed", "1")
    )  # the tolerance is not idle


def test_another_device_stays_close_after_one_epoch(tmp_path, one_thread):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    assert stays_close(
        one_epoch(tmp_path / "cpu", one_thread), one_epoch(tmp_path / "gpu", one_thread, "--device", "cuda")
    )


# Files and imports


def test_a_file_is_whole_or_not_there_whenever_the_writer_is_killed(tmp_path, one_thread):
    script = (
        "import sys; from mnist_nb.support import whole_file\n"
        "for i in range(10**6):\n"
        "    with whole_file(sys.argv[1]) as t, open(t, 'wb') as f:\n"
        "        for _ in range(64): f.write(bytes([i % 256]) * 65536)\n"
    )
    path, draw = tmp_path / "file", random.Random(0)
    for _ in range(10):
        process = Command(path, folder=tmp_path, variables=one_thread, script=script)
        until((tmp_path / f".{process.process.pid}-file").exists, "a write", process)
        time.sleep(draw.uniform(0.0, 0.1))
        process.kill()
        process.wait()
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 64 * 65536 and content == content[:1] * len(content)
    assert path.exists()


WATCH = """
import sys
seen = []
def watch(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        seen.append((event, args))
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+") and args[0] != "/dev/null":
        seen.append((event, args[:2]))
    if event in ("os.mkdir", "os.rename", "os.remove", "shutil.copyfile") or event.startswith("tempfile."):
        seen.append((event, args))
sys.addaudithook(watch)
import {module}
print(seen)
"""


def test_importing_touches_no_network_and_writes_no_file(tmp_path, one_thread):
    variables = one_thread | {
        "HOME": str(tmp_path),
        "MPLCONFIGDIR": str(tmp_path / "mpl"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", WATCH.replace("{module}", "mnist_nb")],
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_the_watch_sees_a_write_and_a_connection(tmp_path, one_thread):
    bad = f"socket, urllib.request; open({str(tmp_path / 'x')!r}, 'w')"
    bad += "; socket.socket().connect_ex(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", WATCH.replace("{module}", bad)], env=one_thread, capture_output=True, text=True
    )
    assert "'open'" in done.stdout and "socket.connect" in done.stdout


# Public functions


@pytest.fixture
def four(digits):
    return digits.train.part(slice(4))


WRONG_SETS = {
    "empty": lambda d: d.part(slice(0)),
    "floats": lambda d: d._replace(images=d.images.float()),
    "another shape": lambda d: d._replace(images=d.images[:, :14]),
    "a channel": lambda d: d._replace(images=d.images[:, None]),
    "labels of bytes": lambda d: d._replace(labels=d.labels.byte()),
    "too few labels": lambda d: d._replace(labels=d.labels[:3]),
    "a label of 10": lambda d: d._replace(labels=d.labels.clone().fill_(10)),
    "a list": lambda d: d._replace(images=d.images.tolist()),
    "another device": lambda d: d._replace(labels=d.labels.to("meta")),
    "a whole data set": lambda d: DigitData(d, d),
}


@pytest.mark.parametrize("name", WRONG_SETS)
def test_evaluate_and_fit_refuse_what_is_no_set_of_labelled_images(four, name):
    wrong, little = WRONG_SETS[name](four), changed(PRESETS["default"], ["batch_size=2", "epochs=1"])
    calls = {
        "evaluate": lambda: evaluate(DigitNet(), wrong),
        "fit": lambda: fit(little, wrong),
        "fit, held out": lambda: fit(little, four, wrong),
        "measure": lambda: measure(little, wrong, four, False),
        "measure, scored on": lambda: measure(little, four, wrong, False),
    }
    for what, call in calls.items():
        with pytest.raises((TypeError, ValueError), match="expected .* got"):
            call()
            pytest.fail(f"{what} took it")


def test_images_on_another_device_than_the_model_are_refused(four):
    with pytest.raises(InputError, match="expected device cpu"):
        predict_logits(DigitNet(), four.images.to("meta"))


def test_fit_refuses_a_batch_larger_than_the_data(four):
    with pytest.raises(InputError, match="larger than the 4"):
        fit(PRESETS["default"], four)


@pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 28, 28), torch.zeros(2, 3, 28, 28), torch.zeros(0, 1, 28, 28),
     torch.zeros(2, 1, 28, 28, dtype=torch.uint8), [1]],
    ids=["no channel", "three channels", "empty", "bytes", "a list"],
)  # fmt: skip
def test_the_network_refuses_other_images(images):
    with pytest.raises((TypeError, ValueError), match="expected .* got"):
        DigitNet()(images)


def test_nan_comes_out_as_nan_and_harms_no_neighbour():
    images = torch.rand(2, 1, 28, 28)
    images[0, 0, 3, 3] = float("nan")
    logits = DigitNet().eval()(images)
    assert logits[0].isnan().all() and logits[1].isfinite().all()
