"""The command line, in processes of its own, on the embedded digits."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import is_one_sentence, same_bits
from warm import MAIN

from mnist_nb import PRESETS, load_pretrained
from mnist_nb.model import load_weights, save_weights
from mnist_nb.train import as_recipe, changed, read_recipe

POISONED = """
import mnist_nb.cli as cli
load = cli.load
cli.load = lambda *asked: load(*asked)._replace(test=None)
cli.main()
"""


def test_the_command_is_installed(one_thread):
    command = Path(sys.executable).with_name("mnist-nb")
    done = subprocess.run([command, "--help"], capture_output=True, text=True, env=one_thread)
    assert done.returncode == 0 and all(
        word in done.stdout for word in ("train", "evaluate", "export", "study")
    )


def test_train_leaves_everything_and_evaluate_agrees(run, tmp_path):
    done = run("train", "--data", "digits", "--epochs", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    assert {"recipe.json", "history.csv", "model.safetensors", "curves.png", "report.md"} <= {
        p.name for p in folder.iterdir()
    }
    assert json.loads((folder / "recipe.json").read_text())["epochs"] == 2
    recipe = changed(PRESETS["default"], ["epochs=2"])
    assert read_recipe(folder / "recipe.json") == recipe
    assert as_recipe(load_weights(folder / "model.safetensors")[1]["recipe"], "the run's") == recipe
    rows = list(csv.DictReader((folder / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"] and "valid_accuracy" not in rows[0]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "NOT MNIST" in (folder / "report.md").read_text()
    said = done.stdout.split("test accuracy ")[1].split("%")[0]
    assert f"accuracy {said}%" in run("evaluate", "run/model.safetensors", "--data", "digits").stdout
    assert "s of training, peak memory" in done.stdout and "run/report.md" in done.stdout


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(run, tmp_path):
    words = ["train", "--data", "digits", "--preset", "fast", "--epochs", "1", "--out"]
    for more in (["whole"], ["again"], ["other", "--seed", "1"]):
        assert run(*words, *more).returncode == 0
    whole, again, other = (tmp_path / name / "model.safetensors" for name in ("whole", "again", "other"))
    assert same_bits(whole, again) and not same_bits(whole, other)


def test_valid_never_reads_the_test_images(run, tmp_path):
    done = run("train", "--data", "digits", "--epochs", "1", "--valid", "--seed", "5", "--out", "run")
    assert done.returncode == 0 and "valid accuracy" in done.stdout and "test accuracy" not in done.stdout
    (row,) = csv.DictReader((tmp_path / "run" / "history.csv").open())
    assert f"valid accuracy {float(row['valid_accuracy']):.2f}%" in done.stdout
    words = ["train", "--data", "digits", "--epochs", "1", "--seed", "5", "--out"]
    done = run(*words, "blind", "--valid", script=POISONED)  # there are no test images
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "blind" / "model.safetensors").exists()
    done = run(*words, "other", script=POISONED)
    assert done.returncode == 1 and "expected LabelledImages, got NoneType" in done.stderr  # the poison works


def test_a_fold_is_that_of_the_seed(run, tmp_path):
    done = run("train", "--data", "digits", "--epochs", "1", "--valid", "--seed", "17", "--out", "run")
    assert done.returncode == 0, done.stderr
    facts = load_weights(tmp_path / "run" / "model.safetensors")[1]
    script = (
        "from mnist_nb.data import hold_out, load_mnist; from mnist_nb.runs import measure\n"
        "from mnist_nb.support import choose_device; from mnist_nb.train import PRESETS, changed\n"
        "train, held = hold_out(load_mnist('digits', device=choose_device()).train, 17 % 12)\n"
        "print(measure(changed(PRESETS['default'], ['epochs=1']), train, held, True, 17).row['accuracy'])"
    )
    assert float(run(script=script).stdout) == facts["valid_accuracy"]
    assert facts["scored_on"] == "valid" and facts["images"] == 1375 and facts["accuracy"] == {}


MISTAKES = {
    "unknown preset": ["train", "--data", "digits", "--preset", "best"],
    "unknown data": ["train", "--data", "letters"],
    "unknown device": ["train", "--data", "digits", "--device", "abacus"],
    "no epochs": ["train", "--data", "digits", "--epochs", "0"],
    "very many epochs": ["train", "--data", "digits", "--epochs", "9" * 400],
    "negative epochs": ["train", "--data", "digits", "--epochs", "-3"],
    "negative seed": ["train", "--data", "digits", "--seed", "-1"],
    "large seed": ["train", "--data", "digits", "--seed", str(2**63)],
    "unknown option": ["train", "--speed", "high"],
    "nothing to resume": ["train", "--data", "digits", "--out", "empty", "--resume"],
    "no weights": ["evaluate", "nowhere.safetensors", "--data", "digits"],
    "a folder as a table": ["bench", "--data", "digits", "--out", "."],
    "a folder as a model": ["export", "folder.bin", "--data", "digits"],
    "a picture as results": ["study", "presets", "--out", "picture.csv"],
    "unknown plan": ["study", "fishing"],
    "a plan of MNIST's with other data": ["study", "presets", "--data", "digits"],
    "calibrate is no command": ["calibrate"],
    "photographs is no command": ["photographs"],
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence_and_status_2(run, tmp_path, name):
    (tmp_path / "folder.bin").mkdir()
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff")
    done = run(*MISTAKES[name])
    assert is_one_sentence(done) and len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_existing_run_is_not_overwritten(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").write_text("mine")
    done = run("train", "--data", "digits", "--epochs", "1", "--out", "run")
    assert done.returncode == 2 and "--resume" in done.stderr
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["precious.txt"]


def test_a_run_is_resumed_by_its_own_recipe_only(run, tmp_path):
    words = ["train", "--data", "digits", "--out", "run"]
    assert run(*words, "--epochs", "1").returncode == 0
    for checkpoint in (tmp_path / "run").glob("*.pt"):
        checkpoint.unlink()  # as if it had been killed in its first epoch
    done = run(*words, "--epochs", "2", "--resume")
    assert is_one_sentence(done, "another recipe")
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["epochs"] == 1
    assert run(*words, "--epochs", "1", "--resume").returncode == 0


def test_an_accuracy_of_another_kind_is_left_unsaid(run, tmp_path):
    save_weights(load_pretrained(), tmp_path / "mine.safetensors", {"accuracy": 99.5})
    done = run("evaluate", "mine.safetensors", "--data", "digits")
    assert done.returncode == 0 and "recorded" not in done.stdout


def test_a_stray_temporary_file_does_not_block_a_folder(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".123-recipe.json").write_text("{")  # what a kill in the middle of a write leaves
    assert run("train", "--data", "digits", "--epochs", "1", "--out", "run").returncode == 0


def test_where_mnist_is_missing_a_banner_says_so(run, tmp_path):
    script = f"import mnist_nb.data; mnist_nb.data.MIRRORS = ['http://127.0.0.1:9/']; {MAIN}"
    done = run("evaluate", script=script, MNIST_NB_DATA=str(tmp_path), MNIST_NB_SOURCE="auto")
    assert done.returncode == 0 and "NOT MNIST" in done.stderr and "on digits" in done.stdout
