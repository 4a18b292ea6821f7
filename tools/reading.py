"""What stands behind `mnist-nb predict`: `python tools/reading.py calibration [WEIGHTS]`, or `photographs`.

The first fits the reader and measures its choices on the held-out fold; the second reads by the thousand."""

import sys
from pathlib import Path

import torch

from mnist_nb.cli import in_a_sentence
from mnist_nb.data import load_mnist
from mnist_nb.experiments.reading import (
    calibrate,
    few_pixel_rows,
    kind_rows,
    print_rows,
    refusal_rows,
    step_rows,
    study_photographs,
    write_reader,
)
from mnist_nb.handwriting import Reader, class_statistics, load_reader
from mnist_nb.model import load_pretrained, pretrained_path
from mnist_nb.photographs import TROUBLES
from mnist_nb.runs import machine
from mnist_nb.support import InputError, read_rows, results_path, write_rows


def calibration(*weights: str):
    "Ten minutes; without weights, the `--valid` run of the shipped recipe and seed is made first."
    train, model = load_mnist("mnist").train, load_pretrained()
    row, reader, held = calibrate(train, *map(Path, weights))
    write_rows(results_path("calibration"), [row])
    print("\n".join(f"{key}: {value}" for key, value in row.items()))
    shipped = Reader(model, reader.temperature, reader.threshold, *class_statistics(model, train))
    write_reader(shipped, pretrained_path().with_name("reader.json"))
    made = machine(torch.device("cpu"))
    write_rows(results_path("refusal"), [row | made for row in refusal_rows(held, reader)])
    write_rows(results_path("steps"), [row | made for row in step_rows(held, reader)])
    write_rows(results_path("few_pixels"), [row | made for row in few_pixel_rows(held, reader)])


def photographs():
    "A quarter of an hour; in `troubles`, what an earlier pipeline read is kept."
    from snapshots import snapshot

    data, reader, made = load_mnist("mnist"), load_reader(), machine(torch.device("cpu"))
    rows = study_photographs(data, reader)
    write_rows(results_path("photographs"), rows)
    kept = [row for row in read_rows(results_path("troubles")) if row["pipeline"] != "now"]
    now = [
        {"pipeline": "now"} | row | {"seed": 0} | made
        for row in kind_rows(data.test, reader, (*TROUBLES, snapshot))
    ]
    write_rows(results_path("troubles"), kept + now)
    print_rows(rows + now)


def main():
    commands = {"calibration": calibration, "photographs": photographs}
    words = sys.argv[1:]
    with in_a_sentence("the same command starts anew"):
        if words[:1] not in ([name] for name in commands) or len(words) > 1 + (words[0] == "calibration"):
            raise InputError("name one: python tools/reading.py calibration [WEIGHTS], or photographs")
        commands[words[0]](*words[1:])


if __name__ == "__main__":
    main()
