"""The studies that need a GPU: `python tools/gpu.py STUDY [STUDY ...] [SECONDS]`.

The studies are the plans of `mnist_nb.experiments.gpu`. What the package's results files lack is made;
of each study nothing new is begun after so many seconds."""

import math
import sys

from mnist_nb.cli import in_a_sentence
from mnist_nb.data import load_mnist
from mnist_nb.experiments.gpu import GPU_PLANS, run_cohorts
from mnist_nb.support import InputError, choose_device, results_path


def main():
    *words, last = sys.argv[1:] or [""]
    seconds, names = (float(last), words) if last.isdecimal() else (math.inf, [*words, last])
    with in_a_sentence("the same command goes on"):
        if not names or set(names) - GPU_PLANS.keys():
            known = ", ".join(GPU_PLANS)
            raise InputError(f"name some: python tools/gpu.py STUDY [STUDY ...] [SECONDS], studies: {known}")
        data = load_mnist("mnist", device=choose_device("cuda"))
        for name in names:
            run_cohorts(GPU_PLANS[name], results_path(name), data, seconds)


if __name__ == "__main__":
    main()
