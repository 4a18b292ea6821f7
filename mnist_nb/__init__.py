"""A digit classifier of 13,272 parameters, and how it is trained and measured. See the notebooks in `nbs/`."""

__version__ = "0.2.0"

from .data import load_mnist
from .handwriting import read_digit
from .metrics import evaluate
from .model import DigitNet, load_pretrained
from .train import PRESETS, Recipe, fit

__all__ = ["PRESETS", "DigitNet", "Recipe", "evaluate", "fit", "load_mnist", "load_pretrained", "read_digit"]
