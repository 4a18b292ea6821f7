"""What `make site` takes from notebooks and from the source, before Sphinx sees it."""

import importlib
import importlib.util
import inspect
import re
import sys

import nbformat
import pytest
from conftest import CHAPTERS, ROOT
from fastcore.docments import docments

sys.path.insert(0, str(ROOT / "tools"))
from reference import Module

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "mnist_nb").rglob("*.py"))
    if path.stem not in ("__init__", "__main__", "_modidx")
]
spec = importlib.util.spec_from_file_location("builder", ROOT / "tools" / "site.py")  # `site` is Python's own
builder = importlib.util.module_from_spec(spec)
spec.loader.exec_module(builder)


def described(module: str) -> dict[str, str]:
    "What the page of a module says of each name."
    parts = re.split(r"^`{3,}\{py:\w+\} (?=\w)", Module(module).page(), flags=re.M)[2:]
    return {re.match(r"\w+", part)[0]: part for part in parts}


@pytest.mark.parametrize("name", MODULES)
def test_the_reference_says_what_the_imported_package_knows(name):
    "Names, parameters and comments, against `inspect` and fastcore, which read them another way."
    module, page = importlib.import_module(name), described(name)
    assert set(module.__all__) <= page.keys()
    for function in (getattr(module, public) for public in module.__all__):
        if not inspect.isfunction(function):
            continue
        text = page[function.__name__]
        signature, taken = text.partition("\n")[0], inspect.signature(function).parameters
        assert all(re.search(rf"\b{word}\b", signature) for word in taken)
        known = {word: about.docment for word, about in docments(function, full=True, returns=True).items()}
        said = dict(re.findall(r"^:(?:param )?(\w+): (.*)", text, re.M))
        said = {word.replace("returns", "return"): about for word, about in said.items()}
        if all(
            one.kind != one.VAR_KEYWORD for one in taken.values()
        ):  # else fastcore takes it for the result
            assert said == {word: about for word, about in known.items() if about}
        assert inspect.getdoc(function) in text


def test_a_class_is_described_with_its_fields_methods_and_properties():
    page = Module("mnist_nb.data").page()
    (text,) = re.findall(r"^`{5}\{py:class} (LabelledImages.*?)^`{5}$", page, re.M | re.S)
    assert text.startswith("LabelledImages(images: Tensor, labels: Tensor, name: str)\n")
    assert ":param labels: int64 [N], 0 to 9\n" in text
    assert "````{py:method} to(device: str | torch.device) -> LabelledImages\n" in text
    assert "````{py:property} name\n" in page and "{py:data} FOLDS\n:value: 12\n" in page
    assert "__post_init__" not in Module("mnist_nb.train").page()


def test_a_cell_loses_its_directives_and_is_folded_under_its_title():
    cell = nbformat.v4.new_code_cell("#| export\n# @title Set-up\nx = [1]  # fmt: skip\n# a comment stays")
    cell.metadata["jupyter"] = {"source_hidden": True}
    builder.prepare_cell(cell)
    assert cell.source == "x = [1]\n# a comment stays"
    assert cell.metadata["tags"] == ["exported", "hide-input"]
    assert cell.metadata["mystnb"] == {"code_prompt_show": "Set-up", "code_prompt_hide": "Set-up"}
    plain = nbformat.v4.new_code_cell('text = "#| export"')
    builder.prepare_cell(plain)
    assert plain.source == 'text = "#| export"' and plain.metadata["tags"] == []


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_only_what_colab_needs_is_left_out(chapter):
    before, (after, module) = nbformat.read(chapter, 4).cells, builder.read(chapter)
    kept = {cell.id for cell in after.cells}
    left = [cell.source for cell in before if cell.id not in kept]
    assert all('"google.colab" in sys.modules' in source for source in left) and len(left) <= 1
    assert (module is None) == (chapter.stem in ("index", "02_learn"))


def test_icons_that_nobody_shows_are_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "SITE", tmp_path)
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "page.html").write_text('<i class="fa-solid fa-sun"></i>')
    script = tmp_path / "book" / "icons.js"
    script.write_text('x={sun:[1,2,[],"f1","M0"],"a-moon":[1,2,["m"],"f2",["M1","M2"]]};y=[3]')
    builder.drop_idle_icons(script)
    assert script.read_text() == 'x={sun:[1,2,[],"f1","M0"],};y=[3]'
