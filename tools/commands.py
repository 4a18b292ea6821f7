"""Runs every command of the `mnist-nb` that is installed beside this Python, on the embedded digits.

A line for each says what it answered. Where that is wrong, all that the command printed follows, and nothing
more is run. `make floors` does this at the lowest versions that settings.ini allows."""

import csv
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw

COMMAND = shutil.which("mnist-nb", path=sysconfig.get_path("scripts"))
DIGITS = ("--data", "digits")
ran = set()  # names of commands


def run(*words: str, says: str, least: float = 0, makes: str = "", status: int = 0) -> re.Match:
    "Run a command: it says what matches a pattern, whose first group may be a number, and may make a file."
    start, variables = time.perf_counter(), os.environ | {"MNIST_NB_SOURCE": "digits"}
    done = subprocess.run([COMMAND, *words], env=variables, capture_output=True, text=True, errors="replace")
    seconds, printed = time.perf_counter() - start, done.stdout + done.stderr
    found, shown = re.search(says, printed, re.S | re.M), " ".join(["mnist-nb", *words])
    enough = found and (not least or float(found[1].replace(",", "")) >= least)
    if done.returncode != status or not enough or not Path(makes).exists():
        wanted = f"status {status}, {says!r}, {least:g} at least, file {makes!r}"
        sys.exit(f"FAILED: {shown}\nwanted: {wanted}; got: status {done.returncode} and\n{printed}")
    print(f"{seconds:5.1f} s  {shown}: {textwrap.shorten(found[0], 80, placeholder='...')}", flush=True)
    ran.update(words[:1] if "--help" not in words else [])
    return found


def draw_seven(path: str):
    "A seven in ink on paper."
    picture = Image.new("L", (120, 120), 235)
    ImageDraw.Draw(picture).line([(40, 30), (80, 30), (55, 95)], 30, 9, joint="curve")
    picture.save(path)


def all_but_the_first(path: str):
    "A results file of the plan `presets`, as if made on the embedded digits, that lacks one run."
    shipped = Path(find_spec("mnist_nb").origin).with_name("results") / "presets.csv"
    with shipped.open(newline="", encoding="utf-8") as file:
        rows = [row | {"data": "digits"} for row in csv.DictReader(file)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows[1:])


def run_all():
    "Each command, on little work."
    names = re.findall(r"^  (\w+) ", run("--help", says="^Commands:.*")[0], re.M)
    for name in names:
        run(name, "--help", says=rf"^Usage: mnist-nb {name} .*--help")
    train = ("train", *DIGITS, "--epochs", "3", "--out", "run")
    accuracy = run(*train, says=r"test accuracy ([\d.]+)% on digits", least=80, makes="run/report.md")[1]
    Path("run/checkpoint.pt").unlink()  # so that the last epoch is made again
    run(*train, "--resume", says=f"test accuracy {accuracy}% on digits", makes="run/checkpoint.pt")
    run("evaluate", "run/model.safetensors", *DIGITS, says=f"accuracy {accuracy}%")
    run("evaluate", *DIGITS, says=r"accuracy ([\d.]+)%", least=94)
    draw_seven("seven.png")
    run("predict", "seven.png", "--show", "seen.png", says=r"png +7 +([\d.]+)%", least=90, makes="seen.png")
    run("predict", "seven.png", "--json", says=r'"digit": 7,\s+"probability": ([\d.]+)', least=0.9)
    run("predict", "eight.png", says="there is no file eight.png", status=2)
    if all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        run("export", "7.onnx", *DIGITS, says="same digit as PyTorch for (297) of 297", makes="7.onnx")
    else:
        run("export", "7.onnx", *DIGITS, says="export needs [^\n]+", status=2)
    run("export", "7.bin", *DIGITS, says=r"wrote 7.bin, ([\d,]+) bytes", least=13_000, makes="7.bin")
    bench = ("bench", *DIGITS, "--repeats", "1", "--images", "8")
    run(*bench, says=r"default, fed by torchvision, 2 workers +([\d,.]+)", least=1, makes="bench.csv")
    all_but_the_first("study.csv")
    study = ("study", "presets", *DIGITS, "--out", "study.csv")
    run(*study, says=r"\Aclassic, seed 0: ([\d.]+)% on test", least=90, makes="study_mistakes.csv")
    run("study", "fishing", says="plan 'fishing' is unknown: use presets", status=2)
    if not names or set(names) - ran:
        sys.exit(f"FAILED: this program lacks commands: {sorted(set(names) - ran)} of {names}")


if __name__ == "__main__":
    if COMMAND is None:
        sys.exit("FAILED: there is no mnist-nb beside this Python: pip install '.[app]'")
    home = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            run_all()
        finally:
            os.chdir(home)  # Windows keeps a folder in which somebody is
