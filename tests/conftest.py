"""Shared fixtures, and the list of what could not be checked."""

import functools
import gc
import http.server
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import mnist_nb.data
from mnist_nb.data import DigitData, data_folder, load_mnist

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
REASONS = ("needs MNIST", "needs Chromium")  # why a test is skipped that a better furnished machine runs

mnist_nb.data.embedded_digits = functools.cache(mnist_nb.data.embedded_digits)  # for `load_mnist`
sys.modules["rfc3987_syntax"] = None  # else jsonschema takes two seconds for a format that no notebook has

# the workers of pytest-xdist ignore Ctrl-C, and so would every process that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)


FIRST = ("package", "trust", "study", "browser", "site", "live")  # the longest, so that none is left over


def pytest_addoption(parser):
    parser.addoption("--whole", action="store_true", help="the site: all images, all views, with times")


@pytest.fixture(scope="session")
def whole(request) -> bool:
    "Whether `make site-check` asks for everything, on a machine that does nothing else."
    from web import CHROMIUM

    asked = request.config.getoption("--whole")
    assert CHROMIUM or not asked, "this needs Chromium: install Debian's package chromium"
    return asked


def pytest_collection_modifyitems(items):
    names = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: names.get(item.path.stem.removeprefix("test_"), len(FIRST)))


def pytest_collection_finish():
    gc.collect()
    gc.freeze()  # what was imported is not looked through again and again


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
    "Run `mnist-nb`, or a script, in an empty folder to its end; `size` limits the files that it writes."
    from warm import MAIN, Command  # here, since Windows, where only some tests run, has no fork

    def run(*words, script=MAIN, size=None, **variables):
        variables = one_thread | variables
        process = Command(*words, folder=tmp_path, variables=variables, script=script, size=size)
        process.wait(300)
        return process

    return run


def is_one_sentence(done, *words: str, status: int = 2) -> bool:
    "A mistake: its exit status, no traceback, beside progress one line on standard error, with the words."
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("mnist-nb:")]
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in words), lines
    return True


@pytest.fixture(scope="session")
def digits() -> DigitData:
    "The embedded digits."
    return load_mnist("digits")


@pytest.fixture(scope="session")
def little(digits) -> DigitData:
    "The first 300 of the embedded digits to learn from, and all of their test images."
    return DigitData(digits.train.part(slice(300)), digits.test)


def bits(model: nn.Module) -> torch.Tensor:
    "All weights and statistics of a network, one after the other."
    return torch.cat([tensor.double().flatten() for tensor in model.state_dict().values()])


def same_bits(a: Path, b: Path) -> bool:
    "Whether two weights files hold the same tensors, to the last bit."
    a, b = load_file(a), load_file(b)
    return a.keys() == b.keys() and all(a[name].numpy().tobytes() == b[name].numpy().tobytes() for name in a)


def until(condition: Callable[[], bool], what: str, process=None, seconds: float = 240):
    "Wait for something that another process does; where that is named, it must live until then."
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        assert process is None or process.poll() is None, f"the process ended before {what}"
        time.sleep(0.01)


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
    measured = [p for report in terminalreporter.stats.get("passed", []) for p in report.user_properties]
    if measured and terminalreporter.config.getoption("--whole"):
        from mnist_nb.runs import machine

        terminalreporter.write_line(f"\nMeasured on {machine(torch.device('cpu'))['hardware']}:")
        for name, value in measured:
            terminalreporter.write_line(f"  {name:55} {value}")
    skipped = [(report.longrepr[2], report.nodeid) for report in terminalreporter.stats.get("skipped", [])]
    unchecked = {reason: [name for why, name in skipped if why.endswith(reason)] for reason in REASONS}
    for reason, names in unchecked.items():
        if names:
            terminalreporter.write_line(f"NOT CHECKED, since it {reason}: " + ", ".join(names))
    if "MNIST_NB_UNCHECKED" in os.environ:  # `tools/test.py` says it again in its last line
        Path(os.environ["MNIST_NB_UNCHECKED"]).write_text(json.dumps(unchecked), encoding="utf-8")
