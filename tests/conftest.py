"""Shared fixtures, and the list of what could not be checked."""

import json
import os
import signal
from pathlib import Path

import pytest

from mnist_nb.data import load_mnist

ROOT = Path(__file__).parent.parent
REASONS = ("needs MNIST", "needs Chromium")  # why a test is skipped where the machine lacks something that can be had

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


def pytest_terminal_summary(terminalreporter):
    skipped = [(report.longrepr[2], report.nodeid) for report in terminalreporter.stats.get("skipped", [])]
    unchecked = {reason: [name for why, name in skipped if why.endswith(reason)] for reason in REASONS}
    for reason, names in unchecked.items():
        if names:
            terminalreporter.write_line(f"NOT CHECKED, since it {reason}: " + ", ".join(names))
    if "MNIST_NB_UNCHECKED" in os.environ:  # `tools/test.py` says it again in its last line
        Path(os.environ["MNIST_NB_UNCHECKED"]).write_text(json.dumps(unchecked), encoding="utf-8")
