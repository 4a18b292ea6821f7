"""The studies that need a GPU: `python tools/gpu.py STUDY [SECONDS]`, a plan of `mnist_nb.experiments.gpu`.

What the package's results file lacks is made; after so many seconds nothing new is begun."""

import sys

from mnist_nb.data import load_mnist
from mnist_nb.experiments.gpu import GPU_PLANS, run_cohorts
from mnist_nb.support import InputError, choose_device, results_path


def main():
    words = sys.argv[1:]
    if words[:1] not in ([name] for name in GPU_PLANS) or len(words) > 2:
        sys.exit(f"usage: python tools/gpu.py STUDY [SECONDS], where STUDY is one of {', '.join(GPU_PLANS)}")
    try:
        data = load_mnist("mnist", device=choose_device())
        run_cohorts(GPU_PLANS[words[0]], results_path(words[0]), data, *map(float, words[1:]))
    except (InputError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
