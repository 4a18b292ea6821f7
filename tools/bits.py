"""Make one run of a plan and print the bits of its weights: `python tools/bits.py PLAN RECIPE SEED`.

Kept until the rows of issue 14 that are still to be compared with commit 1596b63 have been; see its closing note."""

import hashlib
import sys

import torch

from mnist_nb.cli import plans
from mnist_nb.data import FOLDS, hold_out, load_mnist
from mnist_nb.runs import measure


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: python tools/bits.py PLAN RECIPE SEED")
    plan, seed = plans()[sys.argv[1]], int(sys.argv[3])
    recipe = next(recipe for recipe in plan.recipes if recipe.name == sys.argv[2])
    torch.set_num_threads(plan.threads)
    data = load_mnist("mnist")
    train, scored = hold_out(data.train, seed % FOLDS) if plan.valid else (data.train, data.test)
    measured, digest = measure(recipe, train, scored, plan.valid, seed), hashlib.sha256()
    for tensor in measured.model.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    print(recipe.name, seed, digest.hexdigest()[:16], measured.row["accuracy"], measured.history[-1]["train_loss"])


if __name__ == "__main__":
    main()
