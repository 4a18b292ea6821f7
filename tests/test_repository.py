"""Settings, links, README and results hold together."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, is_one_sentence

sys.path.insert(0, str(ROOT / "tools"))
import card
import readme
import repoint

from mnist_nb import PRESETS, Recipe, evaluate, load_pretrained
from mnist_nb.cli import plans
from mnist_nb.model import count_parameters, load_weights, pretrained_path
from mnist_nb.support import read_rows, results_path

PLANS = plans()

LINK = re.compile(r"(?:github\.com|colab\.research\.google\.com/github)/([\w.-]+/[\w-]+)")
COLUMNS = ["recipe", "seed", "data", "parameters", "epochs", "images", "scored_on", "accuracy"]
COLUMNS += ["train_accuracy", "seconds", "threads", "hardware", "versions", "commit"]


def test_readme_is_what_the_index_says():
    text, pictures = readme.render()
    assert (ROOT / "README.md").read_text(encoding="utf-8") == text, "run: make readme"
    for name, content in pictures.items():
        assert (ROOT / "nbs" / "images" / name).read_bytes() == content


def test_the_model_card_is_what_weights_and_results_say():
    assert card.CARD.read_text(encoding="utf-8") == card.render(), "run: make readme"


def test_readme_links_and_pictures_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)\)", text)
    assert len(targets) >= 8
    assert all((ROOT / target).exists() for target in targets), targets


def test_every_link_points_to_the_repository_of_the_settings():
    settings = readme.settings()
    name = f"{settings['user']}/{settings['repo']}"
    links = [link for file in repoint.files() for link in LINK.findall(file.read_text(encoding="utf-8"))]
    ours = [link for link in links if link.endswith("/" + settings["repo"])]
    assert len(ours) >= 30 and set(ours) == {name}


def test_repoint_moves_every_link(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", "DATA", "runs", "build", "_site", ".ipynb_checkpoints"
        ),
    )
    done = subprocess.run(
        [sys.executable, "tools/repoint.py", "ada", "digits"], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    old = readme.settings()["user"]
    kept = [
        p
        for p in copy.rglob("*")
        if p.suffix in (".md", ".ipynb", ".ini", ".yaml") and old in p.read_text(encoding="utf-8")
    ]
    text = (copy / "README.md").read_text(encoding="utf-8")
    assert not kept and "github.com/ada/digits" in text and "https://ada.github.io/digits/book/" in text
    assert "user = ada" in (copy / "settings.ini").read_text()
    index = (copy / "mnist_nb" / "_modidx.py").read_text(encoding="utf-8")
    build = "from nbdev.doclinks import _build_modidx; _build_modidx()"
    subprocess.run([sys.executable, "-c", build], cwd=copy, check=True)
    assert (copy / "mnist_nb" / "_modidx.py").read_text(encoding="utf-8") == index and "ada" in index


def test_repoint_refuses_nonsense():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "repoint.py", "not a name"], capture_output=True, text=True
    )
    assert done.returncode != 0 and "usage" in done.stderr


READING, NOTEBOOKS = (
    f"import runpy; runpy.run_path({str(ROOT / 'tools' / name)!r}, run_name='__main__')"
    for name in ("reading.py", "notebooks.py")
)


@pytest.mark.parametrize(
    "words", [[], ["fishing"], ["photographs", "more"], ["calibration", "a", "b"]], ids=" ".join
)
def test_the_tool_that_reads_pictures_refuses_nonsense(run, words):
    done = run(*words, script=READING)
    assert is_one_sentence(done, "name one")


def test_the_tool_that_calibrates_refuses_weights_of_another_run(mnist, run):
    before = results_path("calibration").read_bytes()
    done = run("calibration", pretrained_path(), script=READING)
    assert done.returncode != 0 and "--valid" in done.stderr and len(done.stderr.strip().splitlines()) == 1, (
        done.stderr
    )
    assert results_path("calibration").read_bytes() == before


def test_the_python_of_the_readme_runs(monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    monkeypatch.setenv("MNIST_NB_SOURCE", "digits")  # its training takes seconds there
    scope = {}
    exec(block, scope)
    assert scope["logits"].shape == (8, 10) and len(scope["history"]) == 10


def test_the_commands_of_the_readme_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    make = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"\bmake ([a-z]+)", text)) | {"calibration", "photographs"}
    assert {"train", "test", "lab"} <= targets
    assert all(re.search(rf"^([a-z]+ )*{target}( [a-z]+)*:", make, re.M) for target in targets)
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/mnist-nb train" in text


def test_the_version_is_written_once():
    import mnist_nb

    assert mnist_nb.__version__ == readme.settings()["version"]


@pytest.mark.parametrize("plan", PLANS)
def test_results_files_are_complete(plan):
    rows = read_rows(results_path(plan))
    assert list(rows[0]) == COLUMNS
    wanted = [(recipe.name, str(seed)) for recipe, seed in PLANS[plan].runs]
    assert sorted((row["recipe"], row["seed"]) for row in rows) == sorted(wanted)
    assert {row["threads"] for row in rows} == {str(PLANS[plan].threads)}
    assert {row["scored_on"] for row in rows} == {"valid" if PLANS[plan].valid else "test"}
    assert {row["images"] for row in rows} == {"55000" if PLANS[plan].valid else "60000"}
    parameters = {recipe.name: str(count_parameters(recipe.make_network())) for recipe in PLANS[plan].recipes}
    assert all((row["data"], row["parameters"]) == ("mnist", parameters[row["recipe"]]) for row in rows)
    assert all(row["hardware"] and row["versions"] and "dirty" not in row["commit"] for row in rows)


@pytest.mark.parametrize("plan", [name for name, plan in PLANS.items() if plan.valid])
def test_histories_end_in_the_accuracy_of_their_row(plan):
    histories = read_rows(results_path(f"{plan}_histories"))
    for row in read_rows(results_path(plan)):
        run = [h for h in histories if (h["recipe"], h["seed"]) == (row["recipe"], row["seed"])]
        assert [h["epoch"] for h in run] == [str(e) for e in range(1, int(row["epochs"]) + 1)]
        assert float(run[-1]["valid_accuracy"]) == pytest.approx(float(row["accuracy"]), abs=1e-3)


@pytest.mark.parametrize("plan", [name for name, plan in PLANS.items() if not plan.valid])
def test_mistakes_are_as_many_as_their_row_says(plan):
    wrong = read_rows(results_path(f"{plan}_mistakes"))
    runs = [(m["recipe"], m["seed"]) for m in wrong]
    assert len({(*run, m["image"]) for run, m in zip(runs, wrong)}) == len(wrong)
    for row in read_rows(results_path(plan)):
        assert runs.count((row["recipe"], row["seed"])) == round(10_000 - 100 * float(row["accuracy"]))


def test_every_network_has_13272_parameters_but_the_linear_the_small_and_those_without_batch_norm():
    other = {"linear", "plain CNN", "default norm=none"}
    small = {
        recipe
        for plan in ("kinds", "strength", "frontier", "frontier_long")
        for recipe in PLANS[plan].recipes
    }
    recipes = [
        recipe
        for plan in PLANS.values()
        for recipe in plan.recipes
        if recipe not in small and recipe.name not in other
    ]
    assert all(count_parameters(recipe.make_network()) <= int(recipe.name.split()[0]) for recipe in small)
    assert {count_parameters(recipe.make_network()) for recipe in recipes} == {13272}


def test_the_numbers_shown_are_those_of_the_results():
    rows = read_rows(results_path("presets")) + read_rows(results_path("speed"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, recipe in PRESETS.items():
        scores = np.array([float(row["accuracy"]) for row in rows if row["recipe"] == name])
        figures = f"**{scores.mean():.3f}** | {scores.std(ddof=1):.3f}"
        assert f"| `{name}` | {recipe.epochs} | {len(scores)} | {figures} |" in text
    mean = np.mean([float(row["accuracy"]) for row in rows if row["recipe"] == "default"])
    assert f"accuracy-{mean:.2f}%25" in text and f"parameters-{13272:,}".replace(",", "%2C") in text
    assert mean >= 99.45


def test_the_fast_preset_is_one_that_was_tried_on_held_out_folds():
    tried = [recipe for recipe in PLANS["choices_fast"].recipes if type(recipe) is Recipe]
    assert replace(PRESETS["fast"], name="") in [replace(recipe, name="") for recipe in tried]


def test_the_shipped_weights_are_seed_0_of_the_results():
    facts = load_weights(pretrained_path())[1]
    row = next(r for r in read_rows(results_path("presets")) if (r["recipe"], r["seed"]) == ("default", "0"))
    assert facts["accuracy"]["mnist"] == float(row["accuracy"]) and float(row["train_accuracy"]) > 99.4
    assert facts["recipe"]["name"] == "default"


def test_contributing_names_every_file_of_tests_and_what_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(tests/test_\w+\.py)` \|", text)) == {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("test_*.py")
    }
    words = re.findall(r"[\w./]+", text)
    paths = {word for word in words if re.match(r"(nbs|mnist_nb|tools|tests)/\w", word)}
    paths -= {"nbs/NN_name.ipynb", "nbs/experiments/NN_name.ipynb", "mnist_nb/results/NAME.csv"}
    assert len(paths) > 15 and all((ROOT / path.rstrip(".")).exists() for path in paths), paths


def test_the_card_has_the_header_that_hugging_face_reads(mnist):
    _, header, text = card.CARD.read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["license"] == readme.settings()["license"] and values["datasets"] == ["ylecun/mnist"]
    (entry,) = values["model-index"]
    (result,) = entry["results"]
    assert result["task"]["type"] == values["pipeline_tag"] and result["dataset"]["split"] == "test"
    assert {metric["type"] for metric in result["metrics"]} == set(values["metrics"])
    these, mean = (metric["value"] for metric in result["metrics"])
    assert these == evaluate(load_pretrained(), mnist.test).right / 10_000
    scores = [float(r["accuracy"]) for r in read_rows(results_path("presets")) if r["recipe"] == "default"]
    assert mean == round(sum(scores) / len(scores) / 100, 5)
    assert text.lstrip().startswith("<!-- Made by")


def test_version_and_licence_are_the_same_everywhere():
    settings = readme.settings()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == settings["version"] and citation["license"] == settings["license_name"]
    assert f"github.com/{settings['user']}/{settings['repo']}" in citation["repository-code"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([\d.]+)", changes, re.M)[0] == settings["version"]
    assert re.findall(r"^## ([\d.]+)", changes, re.M)[-1] == "0.2.0"


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_whole_and_what_it_runs_exists(path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["name"] == path.stem and workflow[True]  # YAML 1.1 reads the key `on` as true
    make = (ROOT / "Makefile").read_text()
    for job in workflow["jobs"].values():
        assert job["runs-on"] and job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert len({"uses", "run"} & step.keys()) == 1
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
            script = re.sub(r"\$\{\{.*?}}", "x", step.get("run", ""))
            assert subprocess.run(["bash", "-n", "-c", script]).returncode == 0, script
            for target in re.findall(r"\bmake ([\w./]+)", script):
                assert re.search(rf"^[^#\n]*{re.escape(target)}[^\n]*:", make, re.M), target
            for name in re.findall(r"(?:tools|tests|\.ci)/[\w.]+", script):
                assert (ROOT / name).is_file(), name


def test_the_workflows_are_those_of_tests_weeks_releases_and_the_site():
    assert [path.stem for path in WORKFLOWS] == ["release", "site", "test", "weekly"]


def test_the_site_is_published_from_main_after_its_tests_and_with_no_other_right():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "site.yaml").read_text(encoding="utf-8"))
    assert workflow[True] == {
        "workflow_run": {
            "workflows": ["test"],
            "types": ["completed"],
            "branches": [readme.settings()["branch"]],
        }
    }
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    for needed in ("conclusion == 'success'", "event == 'push'"):  # a fork's branch may be called main, too
        assert f"github.event.workflow_run.{needed}" in build["if"]
    assert build["steps"][0]["with"] == {"ref": "${{ github.event.workflow_run.head_sha }}"}
    assert workflow["permissions"] == {"contents": "read"} and "permissions" not in build
    assert publish["permissions"] == {"pages": "write", "id-token": "write"} and publish["needs"] == "build"


def test_the_hooks_of_pre_commit_are_commands_of_the_environment():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"].split() for repo in config["repos"] for hook in repo["hooks"]]
    assert [Path(words[0]).name for words in entries] == ["nbdev_clean", "ruff", "ruff"]
    assert all((Path(sys.executable).parent / Path(words[0]).name).is_file() for words in entries)
    assert all(words[0].startswith(".venv/bin/") for words in entries)


def test_make_notebooks_refuses_without_mnist(run, tmp_path):
    (tmp_path / "file").write_text("no folder")
    chapter = ROOT / "nbs" / "index.ipynb"
    before = chapter.read_bytes()
    done = run(chapter, script=NOTEBOOKS, MNIST_NB_DATA=str(tmp_path / "file"))
    assert done.returncode != 0 and "must come from MNIST" in done.stderr and "Traceback" not in done.stderr
    assert chapter.read_bytes() == before


def test_no_data_set_is_committed():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    assert len(names) > 30 and not [name for name in names if "ubyte" in name or name.endswith(".gz")]


@pytest.mark.parametrize("words", [["further.py", "nonsense"], ["gpu.py"]])
def test_the_tools_of_studies_refuse_nonsense(words):
    command = [sys.executable, ROOT / "tools" / words[0], *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    assert is_one_sentence(done, "name") and not done.stdout
