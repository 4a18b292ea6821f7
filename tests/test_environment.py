"""Where people really run it: no home, no window system, other encodings, pipes, data in whatever form."""

import gzip
import json
import os
import pty
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import is_one_sentence
from PIL import Image, ImageDraw
from warm import MAIN, Command

import mnist_nb
from mnist_nb.data import FILES, data_folder, find_file, original_mnist
from mnist_nb.support import InputError
from mnist_nb.train import PRESETS, changed

QUICK = changed(PRESETS["default"], ["epochs=1", "batch_size=500"])
RESULTS = {"recipe.json", "history.csv", "model.safetensors", "report.md"}
COLD = """
import io, os, pwd, sys
for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
    del sys.modules[name]  # so that it is imported in the environment of this test
if "HOME" not in os.environ:
    def nobody(number): raise KeyError(number)
    pwd.getpwuid = nobody
if "TERMINAL" in os.environ:
    terminal = os.open(os.environ["TERMINAL"], os.O_RDWR)
    os.dup2(terminal, 1), os.dup2(terminal, 2)
encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding)
sys.stderr = io.TextIOWrapper(open(2, "wb", closefd=False), encoding, "backslashreplace", line_buffering=True)
"""


@pytest.fixture
def cold(tmp_path, one_thread):
    "Run a command as if in a new process, in an environment in which some variables are others, or missing."

    def run(*words, before="", script=MAIN, size=None, **variables):
        environment = {name: value for name, value in (one_thread | variables).items() if value is not None}
        script = f"{COLD}{before}\n{script}"
        process = Command(*words, folder=tmp_path, variables=environment, script=script, size=size)
        process.wait(120)
        return process

    return run


@pytest.fixture
def quick(tmp_path):
    "The words of a training that takes a second."
    (tmp_path / "quick.json").write_text(json.dumps(QUICK.record()))
    return ["train", "--data", "digits", "--preset", "quick.json", "--out", "run"]


@pytest.fixture
def seven(tmp_path):
    "A seven in ink on paper, under a name that few encodings know."
    picture = Image.new("L", (120, 120), 235)
    ImageDraw.Draw(picture).line([(40, 30), (80, 30), (55, 95)], 30, 9, joint="curve")
    picture.save(tmp_path / "数字.png")
    return "数字.png"


# Decoration

BACKENDS = ("nosuch", "module://matplotlib_inline.backend_inline", "module://nosuch")
NO_INLINE = "sys.modules['matplotlib_inline'] = None\n"  # as in an environment without it


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_unusable_backend_costs_nothing(cold, quick, seven, tmp_path, backend):
    done = cold(*quick, before=NO_INLINE, MPLBACKEND=backend)
    assert done.returncode == 0 and "test accuracy" in done.stdout, done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} >= RESULTS | {"curves.png"}
    done = cold("predict", seven, "--show", "seen.png", before=NO_INLINE, MPLBACKEND=backend)
    assert done.returncode == 0 and " 7 " in done.stdout and (tmp_path / "seen.png").exists(), done.stderr


def test_without_matplotlib_nothing_is_lost_but_the_picture(cold, quick, tmp_path):
    done = cold(*quick, before="sys.modules['matplotlib'] = None")
    assert is_one_sentence(done, "matplotlib") and "test accuracy" in done.stdout
    assert {path.name for path in (tmp_path / "run").iterdir()} >= RESULTS


# Data that a user has

LAYOUTS = {
    "unpacked, as torchvision leaves them": lambda name: Path("MNIST", "raw", name.removesuffix(".gz")),
    "packed anew": lambda name: Path("MNIST", "raw", name),
    "directly in the folder": lambda name: Path(name),
    "unpacked, with a dot": lambda name: Path(name.removesuffix(".gz").replace("-idx", ".idx")),
}


def lay_out(folder: Path, layout: str):
    "The four files in a layout."
    for name in FILES:
        content, path = find_file(data_folder(), name), folder / LAYOUTS[layout](name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content, 1, mtime=1) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_files_that_a_user_has_are_read_in_whatever_form(mnist, tmp_path, monkeypatch, layout):
    monkeypatch.setattr("mnist_nb.data.MIRRORS", [])
    lay_out(tmp_path, layout)
    before = sorted(tmp_path.rglob("*"))
    data = original_mnist(tmp_path)
    assert (data.train.images == mnist.train.images).all() and (data.test.labels == mnist.test.labels).all()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_under_the_home_is_found(mnist, cold, tmp_path):
    lay_out(tmp_path / "mnist", "packed anew")
    done = cold("evaluate", "--data", "mnist", HOME=str(tmp_path), MNIST_NB_DATA="~/mnist")
    assert done.returncode == 0 and "right on mnist" in done.stdout, done.stderr
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("packed", [True, False])
def test_another_data_set_under_the_same_names_is_refused_and_kept(mnist, tmp_path, monkeypatch, packed):
    "As Fashion-MNIST and EMNIST have them; it is not fetched over what the user has."
    lay_out(tmp_path, "packed anew" if packed else "unpacked, as torchvision leaves them")
    path = tmp_path / "MNIST" / "raw" / list(FILES)[0].removesuffix("" if packed else ".gz")
    other = b"\0\0\x08\x03" + struct.pack(">III", 60_000, 28, 28) + bytes(60_000 * 784)
    path.write_bytes(content := gzip.compress(other) if packed else other)
    monkeypatch.setattr("mnist_nb.data.fetch", lambda *_: pytest.fail("it was fetched"))
    with pytest.raises(InputError, match=f"{path.name} is of another data set"):
        original_mnist(tmp_path)
    assert path.read_bytes() == content


NOWHERE = "import mnist_nb.data; mnist_nb.data.MIRRORS = ['http://127.0.0.1:9/']\n"


def test_a_failed_fetch_leaves_nothing(cold, tmp_path):
    done = cold("evaluate", "--data", "mnist", before=NOWHERE, MNIST_NB_DATA=str(tmp_path / "a" / "b"))
    assert is_one_sentence(done, "cannot be fetched") and not (tmp_path / "a").exists()


def test_a_fetch_that_cannot_be_kept_leaves_nothing(mirror, cold, tmp_path):
    before = f"import mnist_nb.data; mnist_nb.data.MIRRORS = [{mirror!r}]\n"
    done = cold("evaluate", "--data", "mnist", before=before, size=1000, MNIST_NB_DATA=str(tmp_path / "a"))
    assert is_one_sentence(done, "cannot write to") and not (tmp_path / "a").exists()


# Whatever goes wrong while MNIST is looked for

TROUBLES = {
    "a system without MD5": "import hashlib; hashlib.md5 = None",
    "no torchvision": "sys.modules |= dict.fromkeys([n for n in sys.modules if n[:11] == 'torchvision'])",
    "a folder that is a file": "open('file', 'w').close(); os.environ['MNIST_NB_DATA'] = 'file'",
    "MNIST is a file": "os.makedirs('d', exist_ok=True); open('d/MNIST', 'w').close()\n"
    "os.environ['MNIST_NB_DATA'] = 'd'",
    "a file that is a folder": "os.makedirs('d/MNIST/raw/train-images-idx3-ubyte.gz/x', exist_ok=True)\n"
    "os.environ['MNIST_NB_DATA'] = 'd'",
    "no home": "del os.environ['HOME']\ndef nobody(number): raise KeyError(number)\npwd.getpwuid = nobody",
    "the home of somebody who is not there": "os.environ['MNIST_NB_DATA'] = '~nobody-of-that-name/mnist'",
    "a home that is a file": "open('file', 'w').close(); os.environ['HOME'] = os.path.abspath('file')",
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_whatever_goes_wrong_ends_in_the_digits_or_in_one_sentence(cold, trouble):
    before = f"{NOWHERE}os.environ.pop('MNIST_NB_DATA')\n{TROUBLES[trouble]}\n"
    done = cold("evaluate", before=before, MNIST_NB_SOURCE="auto", XDG_CACHE_HOME=None)
    assert done.returncode == 0 and "NOT MNIST" in done.stderr and "right on digits" in done.stdout, (
        done.stderr
    )
    assert "Traceback" not in done.stderr
    assert is_one_sentence(cold("evaluate", "--data", "mnist", before=before, XDG_CACHE_HOME=None))


# What cannot be printed


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
def test_a_name_that_cannot_be_printed_is_escaped(cold, seven, encoding):
    done = cold("predict", seven, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and " 7 " in done.stdout, done.stderr
    assert (seven if encoding == "utf-8" else r"\u6570\u5b57.png") in done.stdout
    (record,) = json.loads(cold("predict", seven, "--json", PYTHONIOENCODING=encoding).stdout)
    assert record["file"] == seven and record["digit"] == 7
    assert is_one_sentence(cold("predict", "数.png", PYTHONIOENCODING=encoding), "there is no file")


def test_a_name_that_is_no_text_is_escaped_too(cold, seven, tmp_path):
    name = b"\xff.png"
    (tmp_path / seven).rename(tmp_path / os.fsdecode(name))
    done = cold("predict", os.fsdecode(name), "--show", "seen.png")
    assert done.returncode == 0 and r"\udcff.png" in done.stdout, done.stderr
    (record,) = json.loads(cold("predict", os.fsdecode(name), "--json").stdout)
    assert os.fsencode(record["file"]) == name


# Results that can be kept


@pytest.mark.parametrize("words", [["bench", "--data", "digits"], ["study", "presets", "--data", "digits"]])
def test_no_room_is_said_before_anything_is_computed(cold, tmp_path, words):
    out = "table.csv" if words[0] == "bench" else "study.csv"
    before = "import torch; torch.Tensor.backward = None  # a step would be a traceback"
    done = cold(*words, "--out", out, before=before, size=100_000)
    assert is_one_sentence(done, f"cannot use {out}", "too large")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".csv" and path.name[0] != "."]


def test_no_room_for_a_run_is_said_before_it_begins(cold, quick, tmp_path):
    done = cold(*quick, before="import torch; torch.Tensor.backward = None", size=100_000)
    assert is_one_sentence(done, "cannot use", "too large") and "epoch" not in done.stderr


def test_what_is_computed_is_printed_all_the_same(cold, tmp_path):
    "The place of the table is taken while the bench is running, here for no time."
    before = (
        "from mnist_nb.experiments import bench; from mnist_nb.support import read_rows, results_path\n"
        "def run_bench(*_):\n    os.mkdir('table.csv')\n    return read_rows(results_path('bench'))\n"
        "bench.run_bench = run_bench"
    )
    done = cold("bench", "--data", "digits", "--out", "table.csv", before=before)
    assert is_one_sentence(done, "cannot use") and "default, fed by torchvision, 2 workers" in done.stdout


# Conventions of command lines


@pytest.mark.parametrize("module", ["mnist_nb", "mnist_nb.cli"])
def test_it_runs_as_a_module(module, one_thread):
    command = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(command, env=one_thread, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"mnist-nb {mnist_nb.__version__}\n", "")


@pytest.mark.parametrize("words", [[], ["train"], ["predict"], ["study"]], ids=str)
def test_short_help_is_help(cold, words):
    short, long = cold(*words, "-h"), cold(*words, "--help")
    assert short.returncode == long.returncode == 0 and short.stdout == long.stdout
    assert short.stdout.startswith(f"Usage: mnist-nb {' '.join(words)}".rstrip())


def test_a_shell_can_complete(cold):
    asked = {"_MNIST_NB_COMPLETE": "complete_bash", "COMP_WORDS": "mnist-nb ev", "COMP_CWORD": "1"}
    done = cold(**asked)
    assert done.stdout.split() == ["evaluate"], done.stderr
    assert "--show-completion" in cold("--help").stdout


def test_without_a_terminal_an_epoch_is_a_line(cold, quick):
    done = cold(*[word if word != "quick.json" else "default" for word in quick], "--epochs", "3")
    lines = done.stderr.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"epoch {i} of 3" for i in (1, 2, 3)], done.stderr


def test_who_reads_may_stop_reading(one_thread):
    script = f"import sys; sys.argv[1:] = ['study', '-h']; {MAIN}"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", script], env=one_thread, stdout=writer, stderr=-1, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


# Other systems


def test_a_study_keeps_its_file_to_itself_without_fcntl(cold, tmp_path):
    "As on Windows."
    before = "sys.modules['fcntl'] = None\n"
    before += "for name in [name for name in sys.modules if 'filelock' in name]: del sys.modules[name]\n"
    before += "del sys.modules['mnist_nb.experiments.study']"
    script = (
        "from pathlib import Path; from mnist_nb.experiments.study import InputError, locked\n"
        "with locked(Path('table.csv')):\n"
        "    try:\n        with locked(Path('table.csv')): print('twice')\n"
        "    except InputError as error: print(error)\n"
    )
    done = cold(before=before, script=script)
    assert done.returncode == 0 and done.stdout.startswith("another study is writing table.csv"), done.stderr


def test_the_commit_of_a_checkout_of_somebody_else_stays_empty(cold):
    "Of which git says nothing."
    script = "from mnist_nb.runs import commit; print(repr(commit()))"
    assert cold(script=script, GIT_TEST_ASSUME_DIFFERENT_OWNER="1").stdout == "''\n"
    assert cold(script=script, PATH="/nowhere").stdout == "''\n"


# Everything at once

HOMES = {"no home": None, "a home that cannot be written": "/proc", "a home that is not there": "nowhere"}
ASKED = {
    "train": ("test accuracy", "train", "--data", "digits", "--preset", "quick.json", "--out", "run"),
    "evaluate": ("right on digits", "evaluate", "--data", "digits"),
    "predict": (" 7 ", "predict", "数字.png", "--show", "seen.png"),
    "help": ("Usage", "--help"),
}


@pytest.mark.parametrize("place", ["pipe", "terminal"])
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("asked", ASKED)
def test_no_environment_costs_a_score(cold, quick, seven, tmp_path, asked, home, encoding, place):
    answer, *words = ASKED[asked]
    ours, theirs = pty.openpty()
    where = {"TERMINAL": os.ttyname(theirs), "TERM": "xterm"} if place == "terminal" else {}
    folder = HOMES[home] and str(tmp_path / HOMES[home])
    variables = {"HOME": folder, "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None, "MPLCONFIGDIR": None}
    done = cold(*words, MPLBACKEND="nosuch", PYTHONIOENCODING=encoding, **variables, **where)
    said = done.stdout + done.stderr + (os.read(ours, 100_000).decode(encoding) if where else "")
    os.close(ours), os.close(theirs)
    assert done.returncode == 0 and answer in said and "Traceback" not in said, said
    if asked == "train":
        assert {path.name for path in (tmp_path / "run").iterdir()} >= RESULTS | {"curves.png"}
    draws = asked in ("train", "predict")
    assert said.count("this user has no home") == (draws and home == "no home")
