"""Shared fixtures, and the list of what could not be checked."""

import os
from pathlib import Path

import pytest

from mnist_nb.data import load_mnist

ROOT = Path(__file__).parent.parent


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
    skipped = terminalreporter.stats.get("skipped", [])
    unchecked = [report.nodeid for report in skipped if "needs MNIST" in str(report.longrepr)]
    if unchecked:
        terminalreporter.write_line("NOT CHECKED, since it needs MNIST: " + ", ".join(unchecked))
        if "MNIST_NB_UNCHECKED" in os.environ:  # `tools/test.py` says it again in its last line
            Path(os.environ["MNIST_NB_UNCHECKED"]).write_text("\n".join(unchecked), encoding="utf-8")
