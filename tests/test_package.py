"""The built wheel, outside the checkout, with the same dependencies."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import nbformat
import pytest
from conftest import CHAPTERS, ROOT
from kernels import WarmKernels
from nbclient.exceptions import CellExecutionError

PACKAGE = ROOT / "mnist_nb"
SOURCES = {  # by dotted name, without the package's own
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py")) if path.stem not in ("__init__", "__main__", "_modidx")
}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "Built from the source archive of a copy of the checkout, so that no build folder is left in it."
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(".git", ".venv", "DATA", "runs", "build", "_site", "*.egg-info"),
    )
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(copy)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel, one_thread):
    "An environment in which `import mnist_nb` finds the wheel, and not the checkout."
    site = wheel.parent / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel], check=True
    )
    extras = [name for name in requirements("app_requirements") if name != "traitlets"]  # Jupyter's own
    extras.append("ipywidgets")
    hidden = f"import sys\nsys.modules.update(dict.fromkeys({extras}))\n"  # as if they were not installed
    (site / "sitecustomize.py").write_text(hidden)
    return one_thread | {"PYTHONPATH": str(site)}


def test_the_wheel_holds_weights_results_and_the_pad(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "mnist_nb/weights/default.safetensors",
        "mnist_nb/weights/README.md",
        "mnist_nb/results/presets.csv",
    } <= names
    web = {path.relative_to(ROOT).as_posix() for path in (PACKAGE / "web").iterdir()}
    assert "mnist_nb/web/view.js" in web <= names
    assert not [name for name in names if name.endswith(".ipynb") or "tests" in name]
    assert wheel.stat().st_size < 2_000_000


def test_the_wheel_works_from_another_folder(installed, tmp_path):
    script = (
        "import mnist_nb, sys; from mnist_nb.support import read_rows, results_path; "
        "print(mnist_nb.__file__); assert len(read_rows(results_path('presets'))) == 30; "
        "print(mnist_nb.evaluate(mnist_nb.load_pretrained(), mnist_nb.load_mnist('digits').test).right)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=installed, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    file, right = done.stdout.split()
    assert file.startswith(installed["PYTHONPATH"]) and int(right) > 200


def test_importing_the_package_imports_no_experiment_and_no_notebook_tool(installed, tmp_path):
    tools = ("nbdev", "fastcore", "IPython")
    wrong = f"m.split('.')[0] in {tools} or 'experiments' in m"
    script = f"import sys, mnist_nb; print([m for m in sys.modules if {wrong}])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=installed, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


# Who imports whom


def numbers(folder: Path) -> dict[str, int]:
    "The modules that the numbered notebooks of a folder export, with their numbers."
    return {
        stem[3:]: int(stem[:2])
        for stem in (p.stem for p in CHAPTERS if p.parent == folder)
        if re.match(r"\d\d_", stem)
    }


NUMBERED, EXPERIMENTS = numbers(ROOT / "nbs"), numbers(ROOT / "nbs" / "experiments")
APPENDIX = {"support", "runs", "photographs"}


def absolute(module: str, statement: ast.Import | ast.ImportFrom) -> list[str]:
    "What a statement of a module imports, by full names: the source, and each name, which may be a module."
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    parents = ["mnist_nb", *module.split(".")][: -statement.level or None] if statement.level else []
    source = ".".join([*parents, *filter(None, [statement.module])])
    return [source, *(f"{source}.{alias.name}" for alias in statement.names)]


def imported(module: str) -> set[str]:
    "Full names of everything that a module imports, at its top or inside functions."
    tree = ast.parse(SOURCES[module].read_text(encoding="utf-8"))
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for statement in statements for name in absolute(module, statement)}


def ours(module: str) -> set[str]:
    "The package's own modules among them, by dotted names without the package's own."
    return {name.removeprefix("mnist_nb.") for name in imported(module)} & SOURCES.keys()


def test_every_module_has_a_known_room():
    core = {name for name in SOURCES if "." not in name}
    assert core - {"cli"} <= NUMBERED.keys() | APPENDIX and APPENDIX | {"cli"} <= core
    assert {name.removeprefix("experiments.") for name in SOURCES.keys() - core} == EXPERIMENTS.keys() | {
        "study",
        "bench",
    }
    order = [
        "compare",
        "variants",
        "seeds",
        "recipe",
        "ablation",
        "frontier",
        "speed",
        "many",
        "reading",
        "gpu",
    ]
    assert [name for name in sorted(EXPERIMENTS, key=EXPERIMENTS.get) if name in order] == order
    assert [name for name in sorted(NUMBERED, key=NUMBERED.get) if name in core] == [
        "data", "model", "augment", "train", "metrics", "interpret", "handwriting", "sketch", "export",
    ]  # fmt: skip


@pytest.mark.parametrize("module", [name for name in SOURCES if "." not in name and name != "cli"])
def test_the_core_imports_only_what_comes_before_it_and_no_experiment(module):
    assert not [name for name in imported(module) if "experiments" in name]
    if module in NUMBERED:
        allowed = {name for name in NUMBERED if NUMBERED[name] < NUMBERED[module]} | APPENDIX
        assert ours(module) <= allowed, ours(module) - allowed


def test_the_ground_floor_stands_on_nothing():
    assert ours("support") == set() and ours("photographs") <= {"support"}


def may_import(name: str) -> set[str]:
    "Which experiments an experiment may import: those numbered before it, and the runner; the bench, all."
    if name == "study":
        return set()
    if name == "bench":
        return EXPERIMENTS.keys() | {"study"}
    return {other for other in EXPERIMENTS if EXPERIMENTS[other] < EXPERIMENTS[name]} | {"study"}


@pytest.mark.parametrize("module", [name for name in SOURCES if "." in name])
def test_experiments_import_the_core_the_runner_and_lower_experiments(module):
    allowed = {f"experiments.{name}" for name in may_import(module.removeprefix("experiments."))}
    assert ours(module) <= NUMBERED.keys() | APPENDIX | allowed, module


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_no_cell_imports_what_comes_after_its_chapter(chapter):
    "Cells that are not exported, too; only the index and the command line's page look at everything."
    code = [cell.source for cell in nbformat.read(chapter, 4).cells if cell.cell_type == "code"]
    tree = ast.parse(
        "\n".join(
            re.sub(r"^\s*[%!].*", "pass", source, flags=re.M) for source in code if "%pip" not in source
        )
    )
    named = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in absolute("", node)
    }
    used = {name.removeprefix("mnist_nb.") for name in named} & SOURCES.keys()
    own = re.sub(r"^\d\d_", "", chapter.stem)
    if chapter.parent.name == "experiments" or own in ("study", "bench"):
        allowed = NUMBERED.keys() | APPENDIX | {f"experiments.{name}" for name in may_import(own) | {own}}
    elif own in NUMBERED:
        allowed = {name for name in NUMBERED if NUMBERED[name] <= NUMBERED[own]} | APPENDIX
    else:
        allowed = NUMBERED.keys() | APPENDIX if own in APPENDIX else SOURCES.keys()
    assert used <= allowed, used - allowed


def test_no_module_imports_itself_over_others():
    "Each can be imported first: nothing goes round in a circle."
    below = {module: ours(module) for module in SOURCES}
    while ready := [module for module, needs in below.items() if not needs & below.keys()]:
        for module in ready:
            del below[module]
    assert not below, below


def test_names_are_imported_from_the_module_that_defines_them():
    for module in SOURCES:
        for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                source, *names = absolute(module, node)
                if source.removeprefix("mnist_nb.") in SOURCES:
                    known = defined(source.removeprefix("mnist_nb."))
                    assert {name.rpartition(".")[2] for name in names} <= known, (module, source)


def defined(module: str) -> set[str]:
    "Names of functions, classes and constants that a module defines at its top."
    found = set()
    for node in ast.parse(SOURCES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        for target in node.targets if isinstance(node, ast.Assign) else []:
            found |= {name.id for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def test_no_module_shares_its_name_with_a_public_function():
    modules = {name.rpartition(".")[2] for name in SOURCES} | {"experiments", "mnist_nb"}
    for module in SOURCES:
        body = ast.parse(SOURCES[module].read_text(encoding="utf-8")).body
        functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
        assert not functions & modules, (module, functions & modules)


# What must be installed

OPTIONAL = {
    "onnx",
    "onnxruntime",
    "anywidget",
    "traitlets",
    "IPython",
}  # only where needed; each says so where it is missing
PACKAGES = {
    "axe_playwright_python": "axe-playwright-python",
    "yaml": "PyYAML",
    "PIL": "pillow",
    "myst_nb": "myst-nb",
    "sklearn": "scikit-learn",
    "IPython": "ipython",
}  # where another name is installed


def third_party(module: str) -> set[str]:
    "Top-level names of what a module imports from elsewhere."
    return {name.partition(".")[0] for name in imported(module)} - set(sys.stdlib_module_names) - {"mnist_nb"}


def requirements(key: str) -> dict[str, str]:
    "What settings.ini asks for: the bounds on the version, by name."
    config = ConfigParser()
    config.read(ROOT / "settings.ini", encoding="utf-8")
    parts = [re.fullmatch(r"([\w.-]+)(\[\w,]+)?(.*)", word) for word in config["DEFAULT"][key].split()]
    return {part[1].lower(): part[3] for part in parts}


def test_every_imported_package_is_declared_with_a_floor():
    needed = {name for module in SOURCES for name in third_party(module)}
    assert {"torch", "scipy", "PIL", "filelock"} <= needed
    asked, extra = (
        requirements("requirements"),
        requirements("app_requirements") | requirements("dev_requirements"),
    )
    wrong = {}
    for name in needed:
        package = PACKAGES.get(name, name).lower()
        bound = (extra if name in OPTIONAL else asked).get(package, "not declared")
        if not re.match(r">=\d", bound):
            wrong[package] = bound or "no floor"
    assert not wrong


def test_what_tools_and_tests_import_is_declared_too():
    "By the names under which it is installed."
    files = [path for folder in ("tools", "tests", "site") for path in (ROOT / folder).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    statements = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.partition(".")[0] for node in statements for name in absolute("", node)}
    ours = {"mnist_nb", "conftest"} | {path.stem for path in files}
    asked = {
        key: bound
        for kind in ("requirements", "app_requirements", "site_requirements", "dev_requirements")
        for key, bound in requirements(kind).items()
    }
    needed = {PACKAGES.get(name, name).lower() for name in names - set(sys.stdlib_module_names) - ours}
    assert {"nbformat", "psutil", "pytest"} <= needed and needed <= asked.keys(), needed - asked.keys()


def test_what_is_declared_is_imported_and_nothing_is_capped():
    needed = {PACKAGES.get(name, name).lower() for module in SOURCES for name in third_party(module)}
    for package, bound in requirements("requirements").items():
        assert re.fullmatch(r">=[\d.]+", bound), f"{package}{bound}"
        assert package in needed, f"{package} is declared and not imported"


def test_the_floors_are_not_above_what_is_installed():
    for package, bound in requirements("requirements").items():
        floor, here = (
            [int(n) for n in re.findall(r"\d+", v)[:2]] for v in (bound, importlib.metadata.version(package))
        )
        assert floor <= here, package


def test_what_is_optional_is_imported_only_where_it_is_used():
    for module, path in SOURCES.items():
        top = [
            node
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {name.partition(".")[0] for node in top for name in absolute(module, node)}
        assert not names & OPTIONAL, (module, names & OPTIONAL)


SAID_WITHOUT_EXTRAS = {
    "08_sketch": ["the pad needs anywidget, which is not installed: pip install anywidget"],
    "09_export": ["NOT SHOWN in this chapter: ", "pip install onnx onnxscript onnxruntime"],
}


@pytest.fixture(scope="module")
def kernels(installed, tmp_path_factory):
    "Kernels that find the wheel as `pip install` leaves it, and no MNIST."
    kernels = WarmKernels(tmp_path_factory.mktemp("kernels"), installed | {"MNIST_NB_SOURCE": "digits"})
    yield kernels
    kernels.close()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_each_chapter_runs_alone_without_mnist_and_without_extras(kernels, tmp_path, chapter):
    "In a real kernel and an empty folder with a name as people give them; the digits serve."
    folder = tmp_path / "Übungs ordner ß"
    folder.mkdir()
    cells = [cell for cell in kernels.execute(chapter, folder).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    text = "".join(output.get("text", "") for cell in cells for output in cell.outputs)
    assert all(sentence in text for sentence in SAID_WITHOUT_EXTRAS.get(chapter.stem, []))
    checks = re.findall(r'needs_mnist\(data, "([^"]+)"\)', "\n".join(cell.source for cell in cells))
    assert all(f"NOT CHECKED on the embedded digits: {check}" in text for check in checks)


def test_an_error_in_a_cell_is_not_missed_and_the_wheel_is_what_is_run(kernels, installed, tmp_path):
    cells = ["import mnist_nb; print(mnist_nb.__file__)", "1 / 0"]
    for name, count in (("sound", 1), ("broken", 2)):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells[:count]])
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    (cell,) = kernels.execute(tmp_path / "sound.ipynb", tmp_path).cells
    assert cell.outputs[0].text.startswith(installed["PYTHONPATH"])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        kernels.execute(tmp_path / "broken.ipynb", tmp_path)
