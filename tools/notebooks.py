"""Execute chapters in a real kernel, clean and export them: `python tools/notebooks.py [CHAPTER ...]`.

It refuses to run without MNIST, so that committed outputs are never those of the embedded digits."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

from mnist_nb.data import load_mnist
from mnist_nb.support import InputError

ROOT = Path(__file__).parent.parent
VIEW = "application/vnd.jupyter.widget-view+json"


def last_line_only(text: str) -> str:
    "What a terminal shows: a carriage return goes to the start of the line; a progress bar is one line."
    return re.sub(r"[^\n]*\r(?=[^\n])", "", text)


def execute(path: Path):
    "Run one chapter from top to bottom and keep its outputs; an error leaves the file as it was."
    notebook = nbformat.read(path, 4)
    ExecutePreprocessor(timeout=600, store_widget_state=False).preprocess(
        notebook, {"metadata": {"path": path.parent}}
    )
    for cell in notebook.cells:
        merged = []
        for output in cell.get("outputs", []):
            if merged and output.output_type == "stream" and merged[-1].get("name") == output.name:
                merged[-1].text += output.text
            else:
                merged.append(output)
        for output in merged:
            if output.output_type == "stream":
                output.text = last_line_only(output.text)
            output.get("data", {}).pop(
                VIEW, None
            )  # a widget lives only as long as its kernel; its words stay
        if "outputs" in cell:
            cell.outputs = merged
    nbformat.write(notebook, path)


def main():
    try:
        load_mnist("mnist")
    except InputError as error:
        sys.exit(f"outputs are left as they are, since they must come from MNIST: {error}")
    subprocess.run(["nbdev_export"], cwd=ROOT, check=True)
    for path in [Path(p) for p in sys.argv[1:]] or sorted((ROOT / "nbs").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            print(path)
            execute(path)
    for command in ("nbdev_clean", "nbdev_export"):
        subprocess.run([command], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
