"""What is done once, by importing this, in each process from which `warm` and `kernels` fork: the package and
what is imported late, such as PyTorch's compiler by each first optimiser, the embedded digits, a figure."""

import functools
import gc
import importlib
import io
import pkgutil

import torch

import mnist_nb
from mnist_nb import data, runs
from mnist_nb.train import PRESETS, plot_history

LATE = ["matplotlib.backends.backend_agg", "sklearn.datasets", "torch._dynamo"]
LATE += ["scipy.stats", "scipy.ndimage"]

for module in pkgutil.walk_packages(mnist_nb.__path__, "mnist_nb."):
    importlib.import_module(module.name)
for name in LATE:
    importlib.import_module(name)
torch.set_num_threads(1)  # threads of this process would be missing in those that are forked
data.embedded_digits = runs.embedded_digits = functools.cache(data.embedded_digits)
data.embedded_digits()
row = {"epoch": 1, "train_loss": 1.0, "train_accuracy": 50.0}
plot_history([row], PRESETS["default"], "digits").savefig(io.BytesIO())  # finds the fonts
gc.collect()
gc.freeze()  # else each forked process would walk through all of this again and again
