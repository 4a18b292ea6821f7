"""The pad's chapter where there are no widgets."""

import os

import nbformat
from conftest import ROOT, execute


def test_without_anywidget_the_chapter_says_so_and_goes_on(tmp_path, one_thread):
    (tmp_path / "anywidget.py").write_text("raise ImportError('as if it were not installed')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = execute(ROOT / "nbs" / "08_sketch.ipynb", tmp_path, one_thread | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-1500:]
    cells = [
        cell for cell in nbformat.read(tmp_path / "08_sketch.ipynb", 4).cells if cell.cell_type == "code"
    ]
    assert all(cell.execution_count for cell in cells)
    text = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert "the pad needs anywidget, which is not installed here: pip install anywidget" in text
