"""The built wheel, outside the checkout, with the same dependencies."""

import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import ROOT
from test_notebooks import CHAPTERS


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "Built from a copy of the checkout, so that no build folder is left in it."
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "DATA", "runs", "build", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, copy]
    subprocess.run(command, check=True)
    shutil.rmtree(copy)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, one_thread):
    "An environment in which `import mnist_nb` finds the wheel, and not the checkout."
    site = wheel.parent / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel], check=True)
    return one_thread | {"PYTHONPATH": str(site)}


def test_the_wheel_holds_weights_results_and_the_pad(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"mnist_nb/weights/default.safetensors", "mnist_nb/weights/README.md", "mnist_nb/results/presets.csv"} <= names
    assert {"mnist_nb/sketch.js", "mnist_nb/sketch.css"} <= names
    assert not [name for name in names if name.endswith(".ipynb") or "tests" in name]
    assert wheel.stat().st_size < 2_000_000


def test_the_wheel_works_from_another_folder(installed, tmp_path):
    script = (
        "import mnist_nb, sys; from mnist_nb.train import read_rows, results_path; "
        "print(mnist_nb.__file__); assert len(read_rows(results_path('presets'))) == 30; "
        "print(mnist_nb.evaluate(mnist_nb.load_pretrained(), mnist_nb.load_mnist('digits').test).right)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=installed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file, right = done.stdout.split()
    assert file.startswith(installed["PYTHONPATH"]) and int(right) > 200


def test_importing_the_package_imports_no_experiment_and_no_notebook_tool(installed, tmp_path):
    script = "import sys, mnist_nb; print([m for m in sys.modules if m.split('.')[0] in ('nbdev', 'fastcore', 'IPython') or 'experiments' in m])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=installed, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_modules_import_only_from_lower_chapters():
    import re

    order = ["data", "augment", "model", "train", "metrics", "interpret", "handwriting", "sketch", "export", "cli"]
    for i, name in enumerate(order[:-1]):
        text = (ROOT / "mnist_nb" / f"{name}.py").read_text(encoding="utf-8")
        used = set(re.findall(r"from \.(\w+) import", text))
        assert used <= set(order[:i]), (name, used)


def test_each_chapter_runs_alone_in_an_empty_folder(installed, tmp_path):
    "Two at a time, each in a real kernel, against the wheel."

    def alone(chapter):
        folder = tmp_path / chapter.stem
        folder.mkdir()
        shutil.copy(chapter, folder)
        command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", chapter.name]
        return subprocess.run([*command], cwd=folder, env=installed, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(CHAPTERS, pool.map(alone, CHAPTERS)))
    failed = {path.stem: result.stderr[-1500:] for path, result in done.items() if result.returncode}
    assert not failed, "\n".join(f"{name}: {text}" for name, text in failed.items())
    assert len(done) >= 8
