"""Write the model card, mnist_nb/weights/README.md: card.md, filled from the weights and the results."""

from collections import Counter
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from mnist_nb.experiments.compare import accuracies, mean_interval
from mnist_nb.metrics import LABEL_ERRORS
from mnist_nb.model import load_weights, pretrained_path
from mnist_nb.support import read_rows, results_path
from mnist_nb.train import as_recipe

# whose refusals the card tells
KINDS = ("blank pages", "noise", "letters", "scenes", "filled shapes", "test images, prepared")
CARD = pretrained_path().with_name("README.md")


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
        "seeds": len(scores), "mean": mean, "mean_low": low, "mean_high": high, "mean_fraction": mean / 100,
        "sd": np.std(scores, ddof=1), "wrong": len(mine), "always": len(always),
        "confusions": ", ".join(f"{pair} ({times})" for pair, times in pairs),
        "disputed": len(set(always) & set(LABEL_ERRORS)), "errors": len(LABEL_ERRORS),
    }  # fmt: skip


def render() -> str:
    "The text of the card."
    facts = load_weights(pretrained_path())[1]
    pictures, calibration = by_name("photographs", "pictures"), by_name("calibration", "recipe")["default"]
    interval = binomtest(round(100 * facts["accuracy"]["mnist"]), 10_000).proportion_ci(method="wilson")
    recipe = as_recipe(facts["recipe"], "the shipped recipe").record()
    photographs = pictures["dark ink on light paper"]
    *kinds, second = (row for row in read_rows(results_path("troubles")) if row["pipeline"] == "now")
    wrong = [float(row["wrong"]) for row in kinds]
    given = [100 - float(row["wrong"]) - float(row["refused"]) for row in (*kinds, second)]
    values = facts | seeds() | {
        "accuracy": facts["accuracy"]["mnist"], "fraction": facts["accuracy"]["mnist"] / 100,
        "rotation": recipe["rotation"], "photographs": float(photographs["right"]),
        "low": 100 * interval.low, "high": 100 * interval.high,
        "recipe": "\n".join(f"| {name} | {value} |" for name, value in recipe.items() if name != "name"),
        "sklearn": float(pictures["scikit-learn's 8x8 digits"]["right"]),
        "sklearn_refused": float(pictures["scikit-learn's 8x8 digits"]["refused"]),
        "count": int(photographs["count"]), "clean": float(photographs["clean"]),
        "before": float(calibration["error_before"]), "after": float(calibration["error_after"]),
        "kinds": len(kinds), "least": min(given[:-1]), "most": max(wrong), "second": given[-1],
        "second_wrong": float(second["wrong"]), "second_refused": float(second["refused"]),
        **{kind.split()[0]: float(pictures[kind]["refused"]) for kind in KINDS},
    }  # fmt: skip
    return Path(__file__).with_name("card.md").read_text(encoding="utf-8").format(**values)


if __name__ == "__main__":
    CARD.write_text(render(), encoding="utf-8")
