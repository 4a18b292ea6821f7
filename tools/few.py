"""What stands behind the chapter on few bytes: `python tools/few.py` makes the rows that its two files lack.

All of them take two hours on two cores; it may be stopped at any time, and loses the networks under way."""

import sys

from mnist_nb.experiments.bytes import study_bytes
from mnist_nb.support import InputError, results_path


def main():
    try:
        study_bytes(results_path("bytes_choices"), results_path("bytes"))
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
