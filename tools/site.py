"""Build the published site into `_site/`: the live page, and behind it the book, from the executed notebooks.

Nothing is executed again, and nothing is fetched."""

import base64
import io
import re
import shutil
import subprocess
import sys
import textwrap
from configparser import ConfigParser
from pathlib import Path

import nbformat
from matplotlib.figure import Figure
from nbformat.v4 import new_markdown_cell
from PIL import Image
from reference import Module

ROOT = Path(__file__).parent.parent
CONFIG = ConfigParser()
CONFIG.read(ROOT / "settings.ini", encoding="utf-8")
ABOUT = CONFIG["DEFAULT"]
PAGES = f"{ABOUT['doc_host']}{ABOUT['doc_baseurl']}/"  # where the site is published
SITE, BOOK = ROOT / "_site", ROOT / "build" / "book"
PARTS = {"Chapters": "[0-9]*.ipynb", "Experiments": "experiments/*.ipynb", "Appendix": "appendix/*.ipynb"}
TOC = "```{{toctree}}\n:hidden:\n:caption: {}\n\n{}\n```\n"
LEGEND = "{{.legend}}\nCode with this edge is part of the package: [`mnist_nb.{0}`](/api/{0}.md)."
UNUSED = shutil.ignore_patterns("*.map", "locales", "*webpack-macros.html", ".buildinfo", "_sources")
SOCIAL = """<meta property="og:type" content="website">
<meta property="og:title" content="{title}">
<meta property="og:description" content="{about}">
<meta property="og:url" content="{url}{name}">
<meta property="og:image" content="{url}card.png">
<meta property="og:image:width" content="1200">
<meta property="og:image:height" content="630">
<meta property="og:image:alt" content="A handwritten digit, the maps of six layers, and ten probabilities.">
<meta name="twitter:card" content="summary_large_image">
</head>"""
ICON = re.compile(r'"?([\w-]+)"?:\[\d+,\d+,\[[^\]]*\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?')


def chapters(pattern: str) -> list[Path]:
    "The notebooks of a part, in reading order."
    return [path for path in sorted((ROOT / "nbs").glob(pattern)) if ".ipynb_checkpoints" not in path.parts]


def inside(path: Path) -> str:
    "A notebook's place in the book."
    return path.relative_to(ROOT / "nbs").with_suffix("").as_posix()


def read(path: Path):
    "A notebook without what only Colab needs, and the module that it writes, if any."
    notebook = nbformat.read(path, 4)
    found = re.search(r"^#\| default_exp (\S+)", "\n".join(cell.source for cell in notebook.cells), re.M)
    notebook.cells = [cell for cell in notebook.cells if "#| hide" not in cell.source.splitlines()]
    return notebook, found and found[1]


# Chapters


def prepare_cell(cell):
    "A cell as a page shows it: without directives; set-up and solutions folded, under their titles."
    lines = cell.source.splitlines()
    titles = [line.removeprefix("# @title ") for line in lines if line.startswith("# @title ")]
    tags = ["exported"] if {"#| export", "#| exporti"} & set(lines) else []
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        tags.append("hide-input")
        cell.metadata["mystnb"] = {"code_prompt_show": titles[0], "code_prompt_hide": titles[0]}
    cell.metadata["tags"] = tags
    kept = [line.removesuffix("  # fmt: skip") for line in lines if not line.startswith(("#| ", "# @title "))]
    cell.source = "\n".join(kept).strip("\n")


def prepare(path: Path):
    "A copy of a notebook for Sphinx."
    notebook, module = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            prepare_cell(cell)
    if module:
        notebook.cells.insert(1, new_markdown_cell(LEGEND.format(module)))
    if path.stem == "index":
        parts = {part: "\n".join(map(inside, chapters(pattern))) for part, pattern in PARTS.items()}
        tocs = [TOC.format(*part) for part in (parts | {"Reference": "api/index"}).items()]
        notebook.cells.append(new_markdown_cell("\n".join(tocs)))
    target = BOOK / "source" / path.relative_to(ROOT / "nbs")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


# The reference


def write_page(path: Path, notebook, module: str) -> str:
    "The page of a module, which a notebook writes; what comes back is its row in the table of its part."
    subtitle = re.search(r"^> (.*)", notebook.cells[0].source, re.M)[1]
    page = f"# mnist_nb.{module}\n\n> {subtitle}\n\nExplained and tested in [](/{inside(path)}.ipynb).\n\n"
    page += Module(f"mnist_nb.{module}").page()
    (BOOK / "source" / "api" / f"{module}.md").write_text(page, encoding="utf-8")
    return f"| [`{module}`]({module}.md) | {subtitle} | [](/{inside(path)}.ipynb) |\n"


def write_reference():
    "A page for each module, in the order of the notebooks that write them, and one that leads to them."
    (BOOK / "source" / "api").mkdir()
    front = (ROOT / "mnist_nb" / "__init__.py").read_text(encoding="utf-8")
    lines = re.findall(r"^from \.(\w+) import (.*)", front, re.M)
    links = [
        f"{{py:obj}}`~mnist_nb.{module}.{name}`" for module, names in lines for name in names.split(", ")
    ]
    text, modules = f"# The package\n\n`import mnist_nb` gives what most need: {', '.join(links)}.\n", []
    for part, pattern in PARTS.items():
        text += f"\n## {part}\n\n| `mnist_nb.` | about | written in |\n|---|---|---|\n"
        for path in chapters(pattern):
            notebook, module = read(path)
            if module:
                text += write_page(path, notebook, module)
                modules.append(f"{module} <{module}>")
    toc = TOC.format("Modules", "\n".join(modules))
    (BOOK / "source" / "api" / "index.md").write_text(f"{text}\n{toc}", encoding="utf-8")


# The two halves of the site


def finish(page: Path):
    "Say what others show of a page, and let its links to the published site lead to where it is served."
    name = page.relative_to(SITE).as_posix()
    text = page.read_text(encoding="utf-8").replace(f'href="{PAGES}', f'href="{"../" * name.count("/")}')
    title = re.search(r"<title>(.*?)</title>", text, re.S)[1].strip()
    about = re.search(r'<meta name="description" content="([^"]*)"', text)[1]
    facts = SOCIAL.format(title=title, about=about, url=PAGES, name=name)
    page.write_text(text.replace("</head>", facts, 1), encoding="utf-8")


def draw_card():
    "The picture that others show with a link to the site: the index's title, and its first picture."
    notebook, _ = read(ROOT / "nbs" / "index.ipynb")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    png = next(o.data["image/png"] for o in outputs if "image/png" in o.get("data", {}))
    title, subtitle = re.match(r"# (.*)\n\n> (.*)", notebook.cells[0].source).groups()
    figure = Figure((12, 6.3), dpi=100)
    figure.text(0.05, 0.83, title, fontsize=54, weight="bold", color="#14375e")
    figure.text(0.05, 0.76, textwrap.fill(subtitle, 64), fontsize=24, va="top", linespacing=1.4)
    axes = figure.add_axes((0.03, 0.06, 0.94, 0.5))
    axes.imshow(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), interpolation="lanczos")
    axes.axis("off")
    drawn = io.BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").quantize(64).save(SITE / "card.png", optimize=True)


def front_door():
    "The live page, with the network that it runs; the page for what is missing, and the card."
    for folder in (ROOT / "site" / "live", ROOT / "mnist_nb" / "web"):
        shutil.copytree(folder, SITE, dirs_exist_ok=True)
    for name in ("default.safetensors", "reader.json"):
        shutil.copy(ROOT / "mnist_nb" / "weights" / name, SITE)
    finish(SITE / "index.html")
    missing = (ROOT / "site" / "404.html").read_text(encoding="utf-8")
    (SITE / "404.html").write_text(missing.replace("$base", ABOUT["doc_baseurl"]), encoding="utf-8")
    (SITE / ".nojekyll").touch()
    draw_card()


def drop_idle_icons(script: Path):
    "Font Awesome brings two thousand icons, in 1.5 MB; kept are those that the theme shows."
    files = [
        file for file in (SITE / "book").rglob("*.*") if file.suffix in (".html", ".js") and file != script
    ]
    used = {name for file in files for name in re.findall(r"\bfa-([\w-]+)", file.read_text(encoding="utf-8"))}
    text = script.read_text(encoding="utf-8")
    script.write_text(ICON.sub(lambda found: found[0] if found[1] in used else "", text), encoding="utf-8")


def book():
    "The notebooks and the reference, as Sphinx sees them; a warning is an error."
    shutil.rmtree(BOOK, ignore_errors=True)
    shutil.copytree(ROOT / "nbs" / "images", BOOK / "source" / "images")
    for pattern in ("index.ipynb", *PARTS.values()):
        for path in chapters(pattern):
            prepare(path)
    write_reference()
    options = ["-q", "-j", "2", "-W", "--keep-going", "-c", ROOT / "site" / "book", "-d", BOOK / "doctrees"]
    subprocess.run([sys.executable, "-m", "sphinx", *options, BOOK / "source", BOOK / "html"], check=True)
    shutil.copytree(BOOK / "html", SITE / "book", ignore=UNUSED)
    drop_idle_icons(SITE / "book" / "_static" / "scripts" / "fontawesome.js")
    for page in (SITE / "book").rglob("*.html"):
        finish(page)


def main():
    shutil.rmtree(SITE, ignore_errors=True)
    front_door()
    book()


if __name__ == "__main__":
    main()
