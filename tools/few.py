"""What stands behind the chapter on few bytes: `python tools/few.py`; some two hours, and again the rest."""

from mnist_nb.experiments.bytes import study_bytes
from mnist_nb.support import results_path

if __name__ == "__main__":
    study_bytes(results_path("bytes_choices"), results_path("bytes"))
