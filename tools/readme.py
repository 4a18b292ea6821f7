"""Render README.md from nbs/index.ipynb: badges, outputs and text, no inputs; pictures in nbs/images/."""

import re
from configparser import ConfigParser
from pathlib import Path
from urllib.parse import quote

import nbformat
from nbconvert import MarkdownExporter

from mnist_nb import DigitNet
from mnist_nb.experiments.compare import accuracies, mean_interval
from mnist_nb.model import count_parameters
from mnist_nb.support import read_rows, results_path

ROOT = Path(__file__).parent.parent


def settings():
    "The section of settings.ini."
    config = ConfigParser()
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def badges() -> str:
    "What a visitor of the repository wants to know first, each from where it is kept."
    about = settings()
    page = f"https://github.com/{about['user']}/{about['repo']}"
    facts = {
        "Python": f">={about['min_python']}",
        "PyTorch": re.search(r"torch(\S+)", about["requirements"])[1],
        "accuracy": f"{mean_interval(accuracies(read_rows(results_path('presets')), 'default'))[0]:.2f}%",
        "parameters": f"{count_parameters(DigitNet()):,}",
        "licence": about["license_name"],
    }
    shields = [f"![{k}: {v}](https://img.shields.io/badge/{k}-{quote(v)}-blue)" for k, v in facts.items()]
    workflow = f"{page}/actions/workflows/test.yaml"
    return " ".join([*shields, f"[![tests]({workflow}/badge.svg)]({workflow})"])


def alternative_texts(notebook) -> list[str]:
    "The sentence that stands for each picture, in order."
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [
        output.metadata["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})
    ]


def render() -> tuple[str, dict[str, bytes]]:
    "The text of README.md, and its pictures by file name."
    exporter = MarkdownExporter(exclude_input=True)
    notebook = nbformat.read(ROOT / "nbs" / "index.ipynb", 4)
    text, resources = exporter.from_notebook_node(notebook, {"unique_key": "index", "output_files_dir": "."})
    pictures = {Path(name).name: data for name, data in resources["outputs"].items()}
    for name, alt in zip(pictures, alternative_texts(notebook), strict=True):
        text = re.sub(rf"!\[[^]]*\]\((?:\./)?{re.escape(name)}\)", f"![{alt}](nbs/images/{name})", text)
    text = re.sub(r"\]\(((?!https?:|nbs/|#)[\w/]+\.(?:ipynb|svg))\)", r"](nbs/\1)", text)
    text = re.sub(r"(?m)^(\[!\[Open in Colab\].*)$", rf"\1 {badges()}", text, count=1)
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return "<!-- Made by `make readme` from nbs/index.ipynb: edit that. -->\n\n" + re.sub(
        r"\n{3,}", "\n\n", text
    ).strip() + "\n", pictures


def main():
    text, pictures = render()
    (ROOT / "nbs" / "images").mkdir(exist_ok=True)
    for old in (ROOT / "nbs" / "images").glob("index_*"):
        old.unlink()
    for name, data in pictures.items():
        (ROOT / "nbs" / "images" / name).write_bytes(data)
    (ROOT / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
