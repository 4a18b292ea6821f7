"""Render README.md from nbs/index.ipynb: outputs and text, no inputs; pictures in nbs/images/."""

import re
import sys
from configparser import ConfigParser
from pathlib import Path

from nbconvert import MarkdownExporter
from nbconvert.preprocessors import ExtractOutputPreprocessor, TagRemovePreprocessor

ROOT = Path(__file__).parent.parent


def settings():
    "The section of settings.ini."
    config = ConfigParser()
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def render() -> tuple[str, dict[str, bytes]]:
    "The text of README.md, and its pictures by file name."
    exporter = MarkdownExporter(exclude_input=True)
    text, resources = exporter.from_filename(ROOT / "nbs" / "index.ipynb", {"unique_key": "index", "output_files_dir": "."})
    pictures = {Path(name).name: data for name, data in resources["outputs"].items()}
    for name in pictures:
        text = re.sub(rf"!\[([^]]*)\]\((?:\./)?{re.escape(name)}\)", rf"![\1](nbs/images/{name})", text)
    text = re.sub(r"\]\(((?!https?:|nbs/|#)[\w/]+\.ipynb)\)", r"](nbs/\1)", text)
    text = "\n".join(line.rstrip() for line in text.splitlines())
    return "<!-- Made by `make readme` from nbs/index.ipynb: edit that. -->\n\n" + re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", pictures


def main():
    text, pictures = render()
    (ROOT / "nbs" / "images").mkdir(exist_ok=True)
    for old in (ROOT / "nbs" / "images").glob("index_*"):
        old.unlink()
    for name, data in pictures.items():
        (ROOT / "nbs" / "images" / name).write_bytes(data)
    (ROOT / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
