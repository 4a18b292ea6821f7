"""What stands behind `mnist-nb predict`: `python tools/reading.py calibration [WEIGHTS]`, or `photographs`.

The first fits temperature and threshold, the second reads pictures by the thousand; each writes results."""

import sys
from pathlib import Path

from mnist_nb.data import load_mnist
from mnist_nb.experiments.reading import calibrate, print_rows, study_photographs
from mnist_nb.handwriting import load_reader
from mnist_nb.support import InputError, results_path, write_rows


def calibration(*weights: str):
    "Without weights, the `--valid` run of the shipped recipe and seed is made; about two minutes."
    row = calibrate(load_mnist("mnist").train, *map(Path, weights))
    write_rows(results_path("calibration"), [row])
    print("\n".join(f"{key}: {value}" for key, value in row.items()))


def photographs():
    "A few minutes."
    rows, points = study_photographs(load_mnist("mnist"), load_reader())
    write_rows(results_path("photographs"), rows)
    write_rows(results_path("photographs_curve"), points)
    print_rows(rows)


def main():
    commands = {"calibration": calibration, "photographs": photographs}
    words = sys.argv[1:]
    if words[:1] not in ([name] for name in commands) or len(words) > (2 if words[0] == "calibration" else 1):
        sys.exit("usage: python tools/reading.py calibration [WEIGHTS], or photographs")
    try:
        commands[words[0]](*words[1:])
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
