"""Write the model card of the shipped weights, mnist_nb/weights/README.md, from the weights and the results files."""

from collections import Counter

import numpy as np
from scipy.stats import binomtest

from mnist_nb.experiments.compare import accuracies, mean_interval
from mnist_nb.metrics import LABEL_ERRORS
from mnist_nb.model import load_weights, pretrained_path
from mnist_nb.support import read_rows, results_path
from mnist_nb.train import as_recipe

KINDS = (
    "blank pages",
    "noise",
    "letters",
    "scenes",
    "test images as they are",
)  # whose refusals the card tells
CARD = pretrained_path().with_name("README.md")
TEXT = """<!-- Made by `make readme` (tools/card.py) from the weights and mnist_nb/results: do not edit. -->

# Model card: default.safetensors

A convolutional network of {parameters:,} parameters that reads one handwritten digit. It was trained by the recipe `default` with seed {seed}, for
all {epochs} epochs: neither the seed nor the epoch was picked by its score.

```python
from mnist_nb import load_pretrained

model = load_pretrained()  # in eval mode; float [N, 1, 28, 28] from 0 to 1, to ten logits
```

## Data

{images:,} training images of MNIST, none held out: digits by American census staff and pupils, white on black, 28x28 pixels, cropped,
scaled and centred as the chapter on data explains. The 10,000 test images were scored once, after the last epoch.

## Recipe

{epochs} epochs, {seconds:.0f} seconds of training (threads: {threads}), on {hardware}, with {versions}, commit {commit}. `make weights` does it again.

| field | value |
|---|---|
{recipe}

## How good it is

| what | result | from |
|---|---|---|
| these weights, MNIST's test images | {accuracy:.2f}% (95% interval for images of the kind: {low:.2f} to {high:.2f}) | the file's metadata |
| the recipe over {seeds} seeds | mean {mean:.3f}% (95% interval {mean_low:.3f} to {mean_high:.3f}), sd {sd:.3f} | results/presets.csv |
| these weights, the training images | {train_accuracy:.2f}% | the file's metadata |
| scikit-learn's 1,797 digits, through the photograph pipeline | {sklearn:.1f}% | results/photographs.csv |
| {count:,} test digits as photographs | {photographs:.2f}%, the same digits clean {clean:.2f}% | results/photographs.csv |
| calibration error, of the same recipe trained without one fold, on that fold | {before:.2f} points; {after:.2f} after fitting a temperature on the same fold, which flatters it | results/calibration.csv |

scikit-learn's digits were never tuned on. They come as tightly cropped pictures of 8x8 pixels.

## What it fails on

With this seed it misreads {wrong} of the 10,000 test digits. Confusions that occur more than twice (label as answer): {confusions}.
{always} test images are misread by every one of the {seeds} seeds, among them {disputed} of the {errors} whose labels a majority of people
disputes. The chapter on seeds shows these {always}.

- It knows nothing but digits. It always answers with one of ten, and its confidence on other things means little. `mnist-nb predict`
  refuses what looks unusual: {noise:.0f}% of noise and {blank:.0f}% of blank pages, but only {scenes:.0f}% of scenes and {letters:.0f}% of printed
  letters. It also refuses {test:.1f}% of the real test digits.
- It was trained on one country's handwriting. How it reads forms of digits that are rare there, we have not measured.
- It sees one digit, upright and centred. It was trained with turns of up to {rotation:g} degrees: do not expect it to read what is turned much
  further, or what has a second digit beside it.

It is made for teaching and as a baseline. Do not let it decide anything that matters to somebody.

## Licence

The weights and the code are under the MIT licence. MNIST is by Yann LeCun and Corinna Cortes (CC BY-SA 3.0) and not included.
"""


def by_name(name: str, key: str) -> dict[str, dict[str, str]]:
    "The rows of a results file, by one of their columns."
    return {row[key]: row for row in read_rows(results_path(name))}


def seeds() -> dict:
    "What the results say about the recipe over its seeds, and about the mistakes of seed 0."
    scores = accuracies(read_rows(results_path("presets")), "default")
    mistakes = [m for m in read_rows(results_path("presets_mistakes")) if m["recipe"] == "default"]
    mine = [m for m in mistakes if m["seed"] == "0"]
    always = [
        image for image, times in Counter(int(m["image"]) for m in mistakes).items() if times == len(scores)
    ]
    pairs = [
        (pair, times)
        for pair, times in Counter(f"{m['label']} as {m['answer']}" for m in mine).most_common()
        if times > 2
    ]
    mean, low, high = mean_interval(scores)
    return {
        "seeds": len(scores), "mean": mean, "mean_low": low, "mean_high": high, "sd": np.std(scores, ddof=1), "wrong": len(mine),
        "confusions": ", ".join(f"{pair} ({times})" for pair, times in pairs), "always": len(always),
        "disputed": len(set(always) & set(LABEL_ERRORS)), "errors": len(LABEL_ERRORS),
    }  # fmt: skip


def render() -> str:
    "The text of the card."
    facts = load_weights(pretrained_path())[1]
    pictures, calibration = by_name("photographs", "pictures"), by_name("calibration", "recipe")["default"]
    interval = binomtest(round(100 * facts["accuracy"]["mnist"]), 10_000).proportion_ci(method="wilson")
    recipe = as_recipe(facts["recipe"], "the shipped recipe").record()
    photographs = pictures["dark ink on light paper"]
    values = facts | seeds() | {
        "accuracy": facts["accuracy"]["mnist"], "rotation": recipe["rotation"],
        "low": 100 * interval.low, "high": 100 * interval.high,
        "recipe": "\n".join(f"| {name} | {value} |" for name, value in recipe.items() if name != "name"),
        "sklearn": float(pictures["scikit-learn's 8x8 digits"]["right"]), "photographs": float(photographs["right"]),
        "count": int(photographs["count"]), "clean": float(photographs["clean"]),
        "before": float(calibration["error_before"]), "after": float(calibration["error_after"]),
        **{kind.split()[0]: float(pictures[kind]["refused"]) for kind in KINDS},
    }  # fmt: skip
    return TEXT.format(**values)


if __name__ == "__main__":
    CARD.write_text(render(), encoding="utf-8")
