"""What was done once in the process from which `warm` forks: imports, the embedded digits, a figure."""

import functools
import importlib
import io

import torch
from kernels import LATE

from mnist_nb import data, runs
from mnist_nb.train import PRESETS, plot_history

for name in ("mnist_nb.cli", *LATE):
    importlib.import_module(name)
torch.set_num_threads(1)  # threads of this process would be missing in those that are forked
data.embedded_digits = runs.embedded_digits = functools.cache(data.embedded_digits)
data.embedded_digits()
row = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 50.0}
plot_history([row], PRESETS["default"], "digits").savefig(io.BytesIO())  # finds the fonts
