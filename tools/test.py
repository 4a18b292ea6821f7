"""Everything that `make test` runs: lint, types, notebooks in sync; on MNIST the chapters that check
something on it; then pytest, which runs every chapter without it.

The data set is decided once. The last line names it, and what could not be checked without it or Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mnist_nb.data import load_mnist

ROOT = Path(__file__).parent.parent
COMMANDS = Path(sys.executable).parent  # nbdev's, whatever the PATH says
SOURCES = ("nbs", "site", "tests", "tools", "setup.py")


def step(name: str, tool: str, *words: str):
    "Run one step from the root; a failure ends everything with its exit status."
    print(f"== {name}", flush=True)
    start = time.perf_counter()
    status = subprocess.run([COMMANDS / tool, *words], cwd=ROOT).returncode
    result = "passed" if status == 0 else "FAILED"
    print(f"== {name}: {result} in {time.perf_counter() - start:.0f} s", flush=True)
    if status:
        sys.exit(status)


def in_sync():
    "Export and clean a copy; nothing may change. The checkout itself is not touched."
    print("== notebooks clean and in sync with the package", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        made = (".venv", "DATA", "runs", "build", "_site", "__pycache__", ".ipynb_checkpoints", "*.egg-info")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", *made))
        for command in ("nbdev_export", "nbdev_clean"):
            subprocess.run([COMMANDS / command], cwd=copy, check=True)
        paths = [
            path.relative_to(copy) for path in sorted(copy.rglob("*")) if path.suffix in (".ipynb", ".py")
        ]
        changed = [str(path) for path in paths if (copy / path).read_bytes() != (ROOT / path).read_bytes()]
    if changed:
        sys.exit(f"out of step, run nbdev_export and nbdev_clean: {', '.join(changed)}")


def chapters() -> dict[Path, list[str]]:
    "The checks that need MNIST in each chapter."
    paths = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    cells = {path: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in paths}
    text = {path: "".join(line for cell in cells[path] for line in cell["source"]) for path in paths}
    return {path: re.findall(r'needs_mnist\(data, "([^"]+)"\)', text[path]) for path in paths}


def tests() -> dict[str, list[str]]:
    "Run pytest; what it skipped, by the reason."
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MNIST_NB_UNCHECKED"] = str(Path(folder, "tests"))
        words = ["-n", "3", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "12"]
        step("pytest", "pytest", "-q", *words, "tests")
        return json.loads(Path(folder, "tests").read_text(encoding="utf-8"))


def main():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = load_mnist().name  # fetches MNIST once, if it can
    os.environ["MNIST_NB_SOURCE"] = name
    print(f"== data set: {name}", flush=True)
    step("lint", "ruff", "check", "--quiet", *SOURCES, "mnist_nb")
    step("layout", "ruff", "format", "--check", "--quiet", *SOURCES)
    with ThreadPoolExecutor() as pool:
        types = pool.submit(step, "types", "pyright")
        in_sync()
        types.result()
    os.environ["OMP_NUM_THREADS"] = "1"  # chapters and tests run beside each other, on one thread each
    missing = []
    if name == "mnist":  # without it a test runs every chapter all the same, on the embedded digits
        names = [path.stem for path, checks in chapters().items() if checks]
        chosen = rf"^({'|'.join(names)})\.ipynb$"
        step("chapters", "nbdev_test", "--n_workers", "2", "--timing", "--file_re", chosen)
    else:
        missing = [f"{path.stem}: {check}" for path, checks in chapters().items() for check in checks]
    skipped = tests()
    missing += skipped["needs MNIST"]
    said = f"Data set: {name}. Not checked, since it needs MNIST: {'; '.join(missing) or 'nothing'}."
    if skipped["needs Chromium"]:
        files = ", ".join(sorted({test.split("::")[0] for test in skipped["needs Chromium"]}))
        count = f"{len(skipped['needs Chromium'])} tests of {files}"
        said += f" NOT RUN, since no Chromium was found (install Debian's package chromium): {count}."
    print(said)


if __name__ == "__main__":
    main()
