"""The committed notebooks: what a reader on GitHub, in JupyterLab or on Colab will meet."""

import re
from statistics import median

import nbformat
import pytest
from conftest import CHAPTERS, ROOT


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return request.param


@pytest.fixture
def notebook(chapter):
    return nbformat.read(chapter, 4)


def taught(chapter):
    "A chapter or an experiment, with its frame; not the index, and nothing of the appendix."
    return chapter.parent.name != "appendix" and chapter.stem != "index"


def folded(cell):
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def test_is_valid_and_small(chapter, notebook):
    nbformat.validate(notebook)
    assert chapter.stat().st_size < 1_500_000
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert "widgets" not in notebook.metadata


def test_was_executed_without_an_error(notebook):
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert any(outputs(notebook))
    assert not [
        output for output in outputs(notebook) if any("widget" in kind for kind in output.get("data", {}))
    ]


def test_no_library_complains_in_an_output(notebook):
    streams = [
        output for output in outputs(notebook) if output.output_type == "stream" and output.name == "stderr"
    ]
    assert not [
        stream.text
        for stream in streams
        if re.search(r"\.(cpp|py):\d+|^(ERROR|WARNING)\b", stream.text, re.M)
    ]


def test_was_executed_on_mnist(notebook):
    text = "".join(str(output.get("text", "")) for output in outputs(notebook))
    assert "NOT CHECKED" not in text and "scikit-learn serve instead (" not in text


def test_every_picture_has_a_text_in_its_place(notebook):
    pictures = [output for output in outputs(notebook) if "image/png" in output.get("data", {})]
    assert all(len(p.metadata["image/png"]["alt"]) > 20 for p in pictures)


def test_cells_are_short_and_import_by_name(notebook):
    for cell in code(notebook):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 45, cell.source[:60]
        assert not re.search(r"^\s*from \S+ import \*", cell.source, re.M)


def test_has_the_parts_of_a_chapter(chapter, notebook):
    first = notebook.cells[0].source
    assert first.startswith("# ") and "\n> " in first and "images/colab.svg" in first
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    wanted = taught(chapter)
    for word in ("**You need**", "**It takes**", "**Afterwards you can**"):
        assert (word in first) == wanted, word
    for heading in ("## Summary", "## Exercises"):
        assert (heading in text) == wanted, heading
    if chapter.stem != "index":
        assert 'if "google.colab" in sys.modules' in code(notebook)[0].source
    solutions = [cell for cell in code(notebook) if "# @title Solution" in cell.source]
    assert bool(solutions) == wanted and all(folded(cell) for cell in solutions)


def test_opens_with_the_thing_itself(chapter, notebook):
    "Set-up is folded, with a title for Colab; something is seen in the first three cells that show anything."
    for cell in code(notebook):
        assert folded(cell) == (cell.metadata.get("cellView") == "form"), cell.source[:60]
        assert not folded(cell) or "# @title " in cell.source, cell.source[:60]
    install, *others = code(notebook)
    assert folded(install) or chapter.stem == "index"
    if taught(chapter):
        seen = [cell for cell in notebook.cells[1:] if not folded(cell) or cell.outputs]
        kinds = {
            kind for cell in seen[:3] for o in cell.get("outputs", []) for kind in o.get("data", {"text": 1})
        }
        assert kinds & {"image/png", "image/gif", "text/html", "text"}
        assert not re.match(r"(#.*\n)*(from|import) ", next(c for c in others if not folded(c)).source)


def test_one_idea_a_cell(chapter, notebook):
    if taught(chapter):
        lines = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in code(notebook)]
        assert median(lines) <= 6


def test_checks_something(notebook):
    assert any(re.search(r"\bassert\b", cell.source) for cell in code(notebook))


def test_links_lead_somewhere(chapter, notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", text):
        assert (chapter.parent / target).exists(), target


def test_chapters_and_experiments_are_numbered_and_the_appendix_is_not():
    for chapter in CHAPTERS:
        numbered = re.fullmatch(r"\d\d_[a-z]+", chapter.stem)
        assert bool(numbered) == (chapter.parent.name != "appendix" and chapter.stem != "index"), chapter
    for folder in (ROOT / "nbs", ROOT / "nbs" / "experiments"):
        numbers = [
            chapter.stem[:2] for chapter in CHAPTERS if chapter.parent == folder and chapter.stem != "index"
        ]
        assert len(numbers) == len(set(numbers)) >= 9
    assert {chapter.parent.relative_to(ROOT).as_posix() for chapter in CHAPTERS} == {
        "nbs",
        "nbs/appendix",
        "nbs/experiments",
    }
