"""Shared fixtures, and the list of what could not be checked."""

import functools
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from warm import Command, limit_files

from mnist_nb.data import DigitData, data_folder, load_mnist

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
COMMAND = [sys.executable, "-c", "from mnist_nb.cli import main; main()"]  # `mnist-nb`
REASONS = ("needs MNIST", "needs Chromium")  # why a test is skipped that a better furnished machine runs

# the workers of pytest-xdist ignore Ctrl-C, and so would every process that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def root() -> Path:
    "The checkout."
    return ROOT


@pytest.fixture(scope="session")
def data():
    "MNIST, or the embedded digits where it cannot be had."
    return load_mnist()


@pytest.fixture
def mnist(data):
    "MNIST; the test is skipped, and named at the end of the run, where it cannot be had."
    if data.name != "mnist":
        pytest.skip("needs MNIST")
    return data


@pytest.fixture(scope="session")
def one_thread() -> dict[str, str]:
    "An environment for subprocesses that leaves the other core alone."
    return os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def run(tmp_path, one_thread):
    "Run `mnist-nb`, or another command, in an empty folder to its end; `size` limits the files it writes."

    def run(*words, command=(), size=None, **variables):
        environment = one_thread | variables
        if command:
            return subprocess.run(
                [*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True,
                timeout=300, preexec_fn=functools.partial(limit_files, size),
            )  # fmt: skip
        process = Command(*words, folder=tmp_path, variables=environment, size=size)
        process.wait(300)
        return process

    return run


@pytest.fixture(scope="session")
def little() -> DigitData:
    "The first 300 of the embedded digits to learn from, and all of their test images."
    digits = load_mnist("digits")
    return DigitData(digits.train.part(slice(300)), digits.test)


def bits(model: nn.Module) -> torch.Tensor:
    "All weights and statistics of a network, one after the other."
    return torch.cat([tensor.double().flatten() for tensor in model.state_dict().values()])


def execute(chapter: Path, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    "Run a copy of a chapter in a real kernel, in a folder of its own; the copy keeps the outputs."
    shutil.copy(chapter, folder)
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", chapter.name]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


class Handler(http.server.SimpleHTTPRequestHandler):
    "Gives the files of a folder, slowly enough for two processes to meet."

    def do_GET(self):
        time.sleep(0.3)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    "Start a mirror on loopback that gives the files of a folder; what comes back is its address."
    servers = []

    def start(folder: Path) -> str:
        servers.append(
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
        )
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirror(mnist, serve) -> str:
    "The address of a mirror on loopback that gives MNIST's four files."
    return serve(data_folder() / "MNIST" / "raw")


def pytest_terminal_summary(terminalreporter):
    skipped = [(report.longrepr[2], report.nodeid) for report in terminalreporter.stats.get("skipped", [])]
    unchecked = {reason: [name for why, name in skipped if why.endswith(reason)] for reason in REASONS}
    for reason, names in unchecked.items():
        if names:
            terminalreporter.write_line(f"NOT CHECKED, since it {reason}: " + ", ".join(names))
    if "MNIST_NB_UNCHECKED" in os.environ:  # `tools/test.py` says it again in its last line
        Path(os.environ["MNIST_NB_UNCHECKED"]).write_text(json.dumps(unchecked), encoding="utf-8")
