"""Build the published site into `_site/`: the live page, and behind it the book, from the executed notebooks.

Nothing is executed again, and nothing is fetched."""

import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from fastcore.docments import docments
from readme import settings

from mnist_nb.model import pretrained_path

ROOT = Path(__file__).parent.parent
SITE, BOOK = ROOT / "_site", ROOT / "build" / "book"
PARTS = {"Chapters": "nbs/[0-9]*.ipynb", "Experiments": "nbs/experiments/*.ipynb", "Appendix": "nbs/appendix/*.ipynb"}
TOC = "```{toctree}\n:hidden:\n:caption: %s\n\n%s\n```"


def prepare_cell(cell):
    "A cell as readers of a page want it: without directives; set-up and solutions folded, under their titles."
    lines = cell.source.splitlines()
    directives = [line for line in lines if line.startswith("#| ")]
    title = next((line.removeprefix("# @title ") for line in lines if line.startswith("# @title ")), "")
    kept = [line for line in lines if not line.startswith(("#| ", "# @title "))]
    cell.source = "\n".join(kept).strip("\n")
    tags = ["exported"] if any(line.startswith("#| export") for line in directives) else []
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        tags.append("hide-input")
        cell.metadata["mystnb"] = {"code_prompt_show": f"Show: {title}", "code_prompt_hide": f"Hide: {title}"}
    cell.metadata["tags"] = tags


def prepare(path: Path):
    "A copy of a notebook for Sphinx."
    notebook = nbformat.read(path, 4)
    notebook.cells = [cell for cell in notebook.cells if '"google.colab" in sys.modules' not in cell.source]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            prepare_cell(cell)
    target = BOOK / path.relative_to(ROOT / "nbs")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.stem == "index":
        for caption, pattern in PARTS.items():
            names = [p.relative_to(ROOT / "nbs").with_suffix("") for p in sorted(ROOT.glob(pattern))]
            toc = TOC % (caption, "\n".join(map(str, names)))
            notebook.cells.append(nbformat.v4.new_markdown_cell(toc))
        notebook.cells.append(nbformat.v4.new_markdown_cell(TOC % ("Reference", "api")))
    nbformat.write(notebook, target)


def describe(name: str, thing) -> str:
    "A function or a class, with its signature and what its docments say."
    text = f"### `{name}`\n\n{inspect.getdoc(thing) or ''}\n\n"
    for parameter, about in docments(thing, full=True, returns=True).items():
        if parameter != "self" and about.docment:
            default = "" if about.default in (inspect.Parameter.empty, None) else f" = `{about.default!r}`"
            label = "returns" if parameter == "return" else f"`{parameter}`{default}"
            text += f"- {label}: {about.docment}\n"
    return text + "\n"


def reference() -> str:
    "What the package has, module by module, from its docments."
    text = "# Reference\n\nEach public name, with what its source says of it. The chapters show them at work.\n\n"
    for file in sorted((ROOT / "mnist_nb").glob("*.py")):
        module = importlib.import_module(f"mnist_nb.{file.stem}") if not file.stem.startswith("_") else None
        names = [n for n in getattr(module, "__all__", []) if callable(getattr(module, n, None))]
        if names:
            text += f"## mnist_nb.{file.stem}\n\n" + "".join(describe(n, getattr(module, n)) for n in names)
    return text


def main():
    for folder in (SITE, BOOK):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "site" / "book", BOOK)
    shutil.copytree(ROOT / "nbs" / "images", BOOK / "images")
    for path in ROOT.glob("nbs/**/*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            prepare(path)
    (BOOK / "api.md").write_text(reference(), encoding="utf-8")
    shutil.copytree(ROOT / "site" / "live", SITE)
    web = (ROOT / "mnist_nb" / "web").iterdir()  # flat, beside the page's own files
    for file in (*web, pretrained_path(), pretrained_path().with_name("reader.json")):
        shutil.copy(file, SITE)
    about = settings()
    page = f"https://{about['user']}.github.io/{about['repo']}"
    facts = {
        "title": about["title"], "author": about["author"], "copyright": about["copyright"],
        "version": about["version"], "description": about["description"], "branch": about["branch"],
        "repository": about["git_url"], "url": page,
    }  # fmt: skip
    sphinx = os.environ.get("SPHINX", sys.executable)
    command = [sphinx, "-m", "sphinx", "-q", "-j", "2", "-b", "html", BOOK, SITE / "book"]
    environment = os.environ | {"MNIST_NB_SITE": json.dumps(facts), "PYTHONPATH": str(BOOK)}
    subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
