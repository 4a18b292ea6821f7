"""What stands behind two chapters: `python tools/further.py patience`, or `bytes`, makes the rows they lack.

All of them take hours on two cores; it may be stopped at any time, and loses the networks under way."""

import sys

from mnist_nb.cli import in_a_sentence
from mnist_nb.experiments.bytes import study_bytes
from mnist_nb.experiments.patience import study_patience
from mnist_nb.support import InputError, results_path


def main():
    with in_a_sentence("the same command goes on"):
        if sys.argv[1:] == ["bytes"]:
            study_bytes(results_path("bytes_choices"), results_path("bytes"))
        elif sys.argv[1:] == ["patience"]:
            study_patience(results_path("patience_folds"), results_path("patience"))
        else:
            raise InputError("name one: python tools/further.py patience, or bytes")


if __name__ == "__main__":
    main()
