"""Everything that `make test` runs: notebooks clean and in sync, every chapter, then pytest.

The data set is decided once. The last line says which it was, and what could not be checked without MNIST or Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import nbformat

from mnist_nb.data import load_mnist

ROOT = Path(__file__).parent.parent
COMMANDS = Path(sys.executable).parent  # nbdev's, whatever the PATH says


def step(name: str, *command: str):
    "Run one step from the root; a failure ends everything with its exit status."
    print(f"== {name}", flush=True)
    start = time.perf_counter()
    status = subprocess.run(command, cwd=ROOT).returncode
    print(
        f"== {name}: {'passed' if status == 0 else 'FAILED'} in {time.perf_counter() - start:.0f} s",
        flush=True,
    )
    if status:
        sys.exit(status)


def in_sync():
    "Export and clean a copy; nothing may change. The checkout itself is not touched."
    print("== notebooks clean and in sync with the package", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        unused = (".git", ".venv", "DATA", "runs", "build", "__pycache__", ".ipynb_checkpoints", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*unused))
        for command in ("nbdev_export", "nbdev_clean"):
            subprocess.run([COMMANDS / command], cwd=copy, check=True)
        changed = [
            str(path.relative_to(copy))
            for path in sorted(copy.rglob("*"))
            if path.suffix in (".ipynb", ".py")
            and path.read_bytes() != (ROOT / path.relative_to(copy)).read_bytes()
        ]
    if changed:
        sys.exit(f"out of step, run nbdev_export and nbdev_clean: {', '.join(changed)}")


def unchecked() -> list[str]:
    "The checks in the chapters that need MNIST."
    checks = []
    for path in sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts):
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "code":
                checks += [
                    f"{path.stem}: {text}"
                    for text in re.findall(r'needs_mnist\(data, "([^"]+)"\)', cell.source)
                ]
    return checks


def main():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = load_mnist().name  # fetches MNIST once, if it can
    os.environ["MNIST_NB_SOURCE"] = name
    print(f"== data set: {name}", flush=True)
    in_sync()
    os.environ["OMP_NUM_THREADS"] = "1"  # two chapters, or two files of tests, at a time, one thread each
    step("chapters", str(COMMANDS / "nbdev_test"), "--n_workers", "2", "--timing")
    missing, browser = unchecked() if name != "mnist" else [], []
    if "--chapters-only" not in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MNIST_NB_UNCHECKED"] = str(Path(folder, "tests"))
            step(
                "pytest",
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-n",
                "2",
                "--dist",
                "loadfile",
                "--durations",
                "12",
                "tests",
            )
            skipped = json.loads(Path(folder, "tests").read_text(encoding="utf-8"))
            missing, browser = missing + skipped["needs MNIST"], skipped["needs Chromium"]
    files = ", ".join(sorted({test.split("::")[0] for test in browser}))
    no_browser = f" NOT RUN, since no Chromium was found (install Debian's package chromium): {len(browser)} tests of {files}."
    print(
        f"Data set: {name}. Not checked, since it needs MNIST: {'; '.join(missing) or 'nothing'}.{no_browser if browser else ''}"
    )


if __name__ == "__main__":
    main()
