"""Studies: each run exactly once in its file, whoever makes it and whatever is killed."""

import io
import math
import multiprocessing
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from conftest import until
from scipy import stats

from mnist_nb import cli
from mnist_nb.data import FOLDS, hold_out, load_mnist
from mnist_nb.experiments import ablation
from mnist_nb.experiments import study as module
from mnist_nb.experiments.compare import mean_interval, paired, widened
from mnist_nb.experiments.gpu import CohortPlan, fit_cohort, run_cohorts
from mnist_nb.experiments.study import (
    Plan,
    all_pairs,
    append_rows,
    append_run,
    locked,
    missing,
    one_run,
    run_plan,
)
from mnist_nb.experiments.variants import Variant, sgd, varied
from mnist_nb.metrics import Evaluation, evaluate
from mnist_nb.runs import measure
from mnist_nb.support import InputError, read_rows
from mnist_nb.train import PRESETS, changed

SHORT = [
    changed(PRESETS[name], ["epochs=1", "batch_size=500"]) for name in ("default", "classic")
]  # half a second each
PLAN = Plan(all_pairs(SHORT, range(4)), valid=True)
WILD = changed(
    PRESETS["default"], ["epochs=1", "max_lr=10", "div_factor=1", "weight_decay=10"]
)  # its loss becomes NaN
LONG = changed(SHORT[0], ["epochs=1000"])
PLANS_HERE = {
    "long": Plan([(LONG, 0), *PLAN.runs], True),
    "wild": Plan([*PLAN.runs[:3], (WILD, 0), *PLAN.runs[3:]], True),
}
HERE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_study"
COMMAND = [sys.executable, "-c", f"{HERE}; test_study.command_with_plans_here()", "study"]


def command_with_plans_here():
    "`mnist-nb`, which knows our plans."
    cli.plans = lambda: PLANS_HERE
    cli.main()


class Serial(Executor):
    "Makes each run in the caller's thread, when it is submitted."

    def submit(self, function, *arguments):
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 - an executor hands on whatever its task raises
            future.set_exception(error)
        return future


def canned(recipe, seed, valid, source, threads):
    "A run in no time at all."
    scored_on = "valid" if valid else "test"
    row = {
        "recipe": recipe.name,
        "seed": seed,
        "epochs": recipe.epochs,
        "scored_on": scored_on,
        "data": source,
    }
    return row | {"accuracy": 90 + seed / 100, "seconds": 1.0}, [
        {"recipe": recipe.name, "seed": seed, "epoch": 1, "loss": seed}
    ]


class Canned(Serial):
    "Makes canned runs, whatever it is asked for."

    def submit(self, function, *arguments):
        return super().submit(canned, *arguments)


def content(path):
    "What must not depend on who made the runs: rows and histories by run, without the seconds; each once."
    rows, epochs = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in read_rows(file)]
        for file in (path, path.with_name(path.stem + "_histories.csv"))
    )
    by_run = {(row["recipe"], row["seed"]): row for row in rows}
    assert len(by_run) == len(rows)
    by_epoch = {(row["recipe"], row["seed"], row["epoch"]): row for row in epochs}
    assert len(by_epoch) == len(epochs)
    return by_run, by_epoch


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    "The file that a serial executor leaves."
    threads, path = torch.get_num_threads(), tmp_path_factory.mktemp("undisturbed") / "tiny.csv"
    run_plan(PLAN, path, "digits", Serial())
    torch.set_num_threads(threads)
    return path


@pytest.fixture
def half(undisturbed, tmp_path):
    "A file that lacks the last four of the eight runs."
    for name, lines in (("tiny.csv", 5), ("tiny_histories.csv", 5)):
        text = undisturbed.with_name(name).read_text(encoding="utf-8").splitlines(keepends=True)
        (tmp_path / name).write_text("".join(text[:lines]), encoding="utf-8")
    return tmp_path / "tiny.csv"


# What the file holds


def test_rows_come_in_the_order_of_the_plan_and_are_those_of_one_run(undisturbed):
    rows = read_rows(undisturbed)
    assert [(row["recipe"], row["seed"]) for row in rows] == [
        (recipe.name, str(seed)) for recipe, seed in PLAN.runs
    ]
    row, history = one_run(*PLAN.runs[5], True, "digits")
    assert {k: str(v) for k, v in row.items() if k != "seconds"} == content(undisturbed)[0][
        row["recipe"], str(row["seed"])
    ]
    (epoch,) = [
        e
        for e in read_rows(undisturbed.with_name("tiny_histories.csv"))
        if (e["recipe"], e["seed"]) == (row["recipe"], "2")
    ]
    assert epoch["valid_accuracy"] == str(history[0]["valid_accuracy"]) and row["threads"] == 1


def test_what_is_there_is_kept_to_the_byte_and_not_made_again(half):
    before, asked = half.read_bytes(), []

    class Asked(Canned):
        def submit(self, function, *arguments):
            asked.append(arguments[:2])
            return super().submit(function, *arguments)

    rows = read_rows(half)
    plan = Plan(PLAN.runs, valid=True)
    with pytest.raises(InputError, match="other columns"):  # of canned rows nothing may come into the file
        run_plan(plan, half, "digits", Asked())
    assert asked == PLAN.runs[4:] and half.read_bytes() == before
    run_plan(Plan(PLAN.runs[:4], True), half, "digits", executor=None)  # nothing to do: no process, no lock
    assert read_rows(half) == rows


def test_runs_on_test_images_leave_their_mistakes_and_a_run_named_twice_is_made_once(tmp_path):
    run_plan(Plan(PLAN.runs[:1] + PLAN.runs[:1], valid=False), tmp_path / "tiny.csv", "digits", Serial())
    (row,), wrong = read_rows(tmp_path / "tiny.csv"), read_rows(tmp_path / "tiny_mistakes.csv")
    assert not (tmp_path / "tiny_histories.csv").exists()
    labels = load_mnist("digits").test.labels
    assert float(row["accuracy"]) == pytest.approx(100 - 100 * len(wrong) / len(labels), abs=1e-4)
    assert all(int(m["label"]) == labels[int(m["image"])] != int(m["answer"]) for m in wrong)
    assert len({m["image"] for m in wrong}) == len(wrong) and {(m["recipe"], m["seed"]) for m in wrong} == {
        (row["recipe"], "0")
    }


def test_mistakes_are_the_answers_that_differ_from_the_label():
    labels, probabilities = torch.tensor([3, 1, 4, 1, 5]), torch.eye(10)[[3, 7, 4, 1, 6]]
    assert module.mistakes(Evaluation(labels, probabilities)) == [
        {"image": 1, "label": 1, "answer": 7}, {"image": 4, "label": 5, "answer": 6},
    ]  # fmt: skip
    assert module.mistakes(Evaluation(labels, torch.eye(10)[labels])) == []


def test_a_perfect_run_is_kept(tmp_path):
    row = {"recipe": "perfect", "seed": 0, "scored_on": "test", "accuracy": 100.0}
    append_run(tmp_path / "tiny.csv", row, [])
    assert [r["recipe"] for r in read_rows(tmp_path / "tiny.csv")] == ["perfect"]


def test_seeds_may_differ_from_recipe_to_recipe(tmp_path):
    plan = Plan(all_pairs(SHORT[:1], range(20)) + all_pairs(SHORT[1:], range(10)), valid=True)
    run_plan(plan, tmp_path / "tiny.csv", "digits", Canned())
    assert len(plan.recipes) == 2 and not missing(plan, tmp_path / "tiny.csv")
    names = [row["recipe"] for row in read_rows(tmp_path / "tiny.csv")]
    assert [names.count(recipe.name) for recipe in plan.recipes] == [20, 10]


def test_a_name_that_stands_for_two_kinds_of_run_is_one_sentence(undisturbed, tmp_path):
    before = undisturbed.read_bytes()
    longer = replace(SHORT[0], epochs=2)
    for plan, source, words in (
        (Plan([(longer, 0)], True), "digits", "epochs 1, .* epochs 2"),
        (Plan([(longer, 0), (SHORT[0], 0)], True), "digits", "one name"),
        (PLAN._replace(valid=False), "digits", "scored_on valid.* scored_on test"),
        (PLAN, "mnist", "data digits.* data mnist"),
        (PLAN, "auto", "use mnist or digits"),
    ):
        with pytest.raises(InputError, match=words):
            run_plan(plan, undisturbed, source, Canned())
    assert undisturbed.read_bytes() == before
    (tmp_path / "other.csv").write_text("name,age\nAda,36\n")
    with pytest.raises(InputError, match="no results file"):
        run_plan(PLAN, tmp_path / "other.csv", "digits", Canned())


# Progress


def test_the_bar_counts_epochs_and_so_estimates_rightly(tmp_path, monkeypatch):
    said = []

    class Bar(module.tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options | {"disable": False, "file": io.StringIO()})

        def update(self, epochs):
            super().update(epochs)
            self.start_t = self._time() - 3 * self.n  # as if each epoch had taken 3 seconds
            said.append(str(self))

    monkeypatch.setattr(module, "tqdm", Bar)
    lengths = [1, 40, 1, 8]
    plan = Plan(
        [(changed(SHORT[0], [f"epochs={epochs}"]), seed) for seed, epochs in enumerate(lengths)], True
    )
    run_plan(plan, tmp_path / "tiny.csv", "digits", Canned())
    left = [re.search(r"<([\d:]+)", line)[1] for line in said]
    assert left == [module.tqdm.format_interval(3 * sum(lengths[i:])) for i in (1, 2, 3, 4)]


def test_where_nobody_watches_a_run_is_one_line(tmp_path, capfd):
    run_plan(Plan(PLAN.runs[:2], True), tmp_path / "tiny.csv", "digits", Canned())
    said = capfd.readouterr()
    assert (
        said.out.splitlines() == [f"{recipe.name}, seed 0: 90.00% on valid, 1 s" for recipe in SHORT]
        and said.err == ""
    )


# Runs that fail, and Ctrl-C


def test_a_failing_run_harms_no_other_and_is_named_at_the_end(tmp_path):
    class Faulty(Canned):
        def submit(self, function, recipe, seed, *more):
            makers = {WILD: function, LONG: a_bug}
            return Serial().submit(makers.get(recipe, canned), recipe, seed, *more)

    def a_bug(*_):
        raise MemoryError("no room")

    plan = Plan([*PLAN.runs[:2], (WILD, 7), (LONG, 8), *PLAN.runs[2:]], valid=True)
    with pytest.raises(InputError) as caught:
        run_plan(plan, tmp_path / "tiny.csv", "digits", Faulty())
    assert str(caught.value).startswith("2 of 10 runs failed") and "seed 8 (MemoryError('no room'))" in str(
        caught.value
    )
    assert f"{WILD.name}, seed 7 (the loss became nan" in str(caught.value)
    assert list(content(tmp_path / "tiny.csv")[0]) == [(recipe.name, str(seed)) for recipe, seed in PLAN.runs]


def test_ctrl_c_ends_at_once_keeps_what_is_finished_and_cancels_the_rest(tmp_path):
    futures = []

    class Slow(Canned):
        def submit(self, function, *arguments):
            futures.append(super().submit(function, *arguments) if len(futures) < 3 else Future())
            return futures[-1]

    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run_plan(PLAN, tmp_path / "tiny.csv", "digits", Slow())
    timer.join()
    assert (
        len(read_rows(tmp_path / "tiny.csv")) == 3
        and [f.cancelled() for f in futures] == [False] * 3 + [True] * 5
    )


# Two at once, and kill -9


def test_a_second_study_on_the_same_file_is_refused(half):
    before = half.read_bytes()
    with locked(half), pytest.raises(InputError, match="another study is writing"):
        run_plan(PLAN, half, "digits", Canned())
    with locked(half.with_name("other.csv")):  # another file is free
        pass
    assert half.read_bytes() == before


def test_killed_at_random_moments_between_two_writes_or_in_one(tmp_path):
    "Canned runs, so that the study does nothing but write; ten kills and more."

    def child(path):
        module.tqdm.set_lock(
            threading.RLock()
        )  # the one that it shares with its parent would stay locked for ever
        run_plan(plan, path, "digits", Canned())

    plan, draw, kills = Plan(all_pairs(SHORT, range(40)), valid=True), random.Random(0), 0
    run_plan(plan, tmp_path / "whole.csv", "digits", Canned())
    path, seen = tmp_path / "killed.csv", 0
    for attempt in range(1, 200):
        process = multiprocessing.get_context("fork").Process(target=child, args=(path,))
        process.start()
        process.join(draw.uniform(0, 0.01 * attempt))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        rows = content(path)[0]
        assert len(rows) >= seen  # nothing is ever lost
        seen = len(rows)
        if process.exitcode == 0:
            break
    assert kills >= 5 and content(path) == content(tmp_path / "whole.csv")


def start(plan, path, environment):
    "The command, in a process group of its own, as a terminal starts it."
    words = [plan, "--data", "digits", "--out", str(path), "--workers", "2"]
    return subprocess.Popen(
        [*COMMAND, *words], env=environment, start_new_session=True, stdout=-1, stderr=-1, text=True
    )


def all_gone(processes, seconds):
    "Whether processes end, by themselves, within some seconds."
    end = time.monotonic() + seconds
    while alive := [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        if time.monotonic() > end:
            return False
        psutil.wait_procs(alive, timeout=0.05)
    return True


def test_the_command_killed_then_interrupted_then_finished(undisturbed, tmp_path, one_thread):
    "Two processes, one with a run of minutes; a kill -9, a Ctrl-C; at last, here, a plan with a failing run."
    path = tmp_path / "tiny.csv"
    process = start("long", path, one_thread)
    until(lambda: read_rows(path) or process.poll() is not None, "the first row")
    with pytest.raises(InputError, match="another study is writing"):
        run_plan(PLAN, path, "digits", Canned())
    time.sleep(random.Random(0).uniform(0, 0.5))
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and len(workers) >= 2 and all_gone(workers, 10)
    kept = path.read_bytes()

    process = start("long", path, one_thread)
    until(lambda: path.read_bytes() != kept or process.poll() is not None, "one more row")
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: everyone gets it
    said = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and said[1].strip().count("\n") == 0
        and "study with the same command" in said[1]
    ), said
    assert all_gone(workers, 10) and path.read_bytes().startswith(kept)

    with pytest.raises(InputError, match="^1 of .*" + re.escape(f"{WILD.name}, seed 0")):
        run_plan(PLANS_HERE["wild"], path, "digits", Serial())
    assert content(path) == content(undisturbed)


def test_what_starts_without_interrupts_inherits_a_mask_where_there_are_masks(monkeypatch):
    def masked():
        return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    with module.without_interrupts():
        assert masked()
    assert not masked()
    monkeypatch.delattr(signal, "pthread_sigmask")  # as on Windows
    with module.without_interrupts():
        pass


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux what a process ignores")
def test_every_worker_leaves_ctrl_c_to_its_parent():
    def ignored(worker):
        (mask,) = re.findall(r"^SigIgn:\s*(\w+)$", Path(f"/proc/{worker.pid}/status").read_text(), re.M)
        return int(mask, 16) >> (signal.SIGINT - 1) & 1

    others = set(multiprocessing.active_children())
    with module.process_pool(2) as pool:
        workers = set(multiprocessing.active_children()) - others
        assert len(workers) == 2
        until(lambda: all(map(ignored, workers)), "two that ignore it")
        assert pool.submit(max, 1, 2).result() == 2


def test_a_killed_worker_process_is_one_sentence_and_threads_can_finish(undisturbed, half):
    def kill():
        until(lambda: half.stat().st_mtime_ns != before, "a row")
        (worker,) = set(multiprocessing.active_children()) - others
        worker.kill()

    before, others = half.stat().st_mtime_ns, set(multiprocessing.active_children())
    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(InputError, match="a worker process was killed, .* the finished runs are kept"):
        run_plan(Plan([*PLAN.runs[:5], (LONG, 0)], True), half, "digits", workers=1)
    killer.join()
    assert len(read_rows(half)) == 5
    with ThreadPoolExecutor(2) as threads:  # they share torch's random numbers: so the runs take turns
        run_plan(PLAN, half, "digits", threads)
    assert content(half) == content(undisturbed)


def test_by_default_there_is_a_process_for_each_core_but_none_without_a_run(tmp_path, monkeypatch):
    asked = []

    @contextmanager
    def pool(workers):
        asked.append(workers)
        yield Canned()

    monkeypatch.setattr(module, "process_pool", pool)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    for seeds in (1, 10):
        run_plan(Plan(all_pairs(SHORT, range(seeds)), True), tmp_path / f"{seeds}.csv", "digits")
    run_plan(PLAN, tmp_path / "three.csv", "digits", workers=3)
    assert asked == [2, 6, 3]


# A cluster


def test_on_a_dask_cluster_of_which_a_worker_is_killed(undisturbed, tmp_path):
    "Two worker processes; the one that makes the first run, a longer one, is killed in the middle."
    from dask.distributed import Client, LocalCluster

    def kill():
        until(path.exists, "a row")
        os.kill(pids[0], signal.SIGKILL)

    path = tmp_path / "tiny.csv"
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options, local_directory=tmp_path / "dask") as cluster, Client(cluster) as client:
        pids = list(client.run(os.getpid).values())
        killer = threading.Thread(target=kill)
        killer.start()
        run_plan(PLAN, path, "digits", client.get_executor())
        killer.join()
        assert pids[0] not in client.run(os.getpid).values() and not psutil.pid_exists(pids[0])
    assert content(path) == content(undisturbed)


def test_cohorts_are_made_once_each_and_scored_as_anything_else_is(tmp_path, digits):
    recipe, path = changed(PRESETS["default"], ["epochs=2"]), tmp_path / "cohorts.csv"
    plan = CohortPlan([recipe], [1, 2, 14], valid=True, at_once=2)
    run_cohorts(plan, path, digits, seconds=-1)
    assert not path.exists()  # no time, no run
    run_cohorts(plan, path, digits)
    before, rows = path.read_bytes(), read_rows(path)
    run_cohorts(plan, path, digits)
    with locked(path), pytest.raises(InputError, match="another study is writing"):
        run_cohorts(plan, path, digits)
    assert path.read_bytes() == before and [row["networks"] for row in rows] == ["2", "2", "1"]
    parts = [hold_out(digits.train, fold) for fold in (1, 2)]
    models = fit_cohort(recipe, [train for train, _ in parts], [1, 2]).models
    for row, model, (train, held) in zip(rows, models, parts):
        assert float(row["accuracy"]) == round(evaluate(model, held).accuracy, 4)
        assert float(row["train_accuracy"]) == round(evaluate(model, train).accuracy, 4)
        assert (row["scored_on"], row["images"]) == ("valid", str(len(train.labels)))
    assert rows[0]["accuracy"] != rows[1]["accuracy"]


def test_a_widened_interval_is_student_t_at_a_smaller_level():
    values = [0.3, -0.1, 0.2, 0.15, 0.05]
    interval = stats.ttest_1samp(values, 0).confidence_interval(1 - 0.05 / 26)
    wider = widened(mean_interval(values), seeds=5, intervals=26)
    assert wider == pytest.approx((sum(values) / 5, interval.low, interval.high))


def test_a_paired_difference_is_a_t_test_over_the_seeds_that_both_have():
    scores = {"a": [99.1, 99.4, 99.3, 99.6], "b": [99.0, 99.1, 99.35]}
    rows = [
        {"recipe": name, "seed": str(s), "accuracy": str(x)}
        for name, xs in scores.items()
        for s, x in enumerate(xs)
    ]
    interval = stats.ttest_rel(scores["a"][:3], scores["b"]).confidence_interval(0.95)
    assert paired(rows, "a", "b") == pytest.approx((0.35 / 3, interval.low, interval.high))
    with pytest.raises(InputError, match="at least two values"):
        paired(rows[:1] + rows[4:], "a", "b")


def test_each_ablation_changes_one_thing_of_default():
    bundles = {
        "no augmentation": {"rotation", "translation", "scale"},
        "all twice as strong": {"rotation", "translation", "scale"},
        "rotation only": {"translation", "scale"},
        "SGD": {"optimizer", "max_lr", "weight_decay"},
        "constant rate": {"div_factor", "final_div_factor"},
    }
    assert ablation.ablated()[0] == PRESETS["default"]
    base, *others = [
        Variant(**vars(recipe)) for recipe in ablation.ablated()
    ]  # so that all have the same fields
    labels = [label for group in ablation.ABLATION.values() for label in group]
    assert (
        len({replace(other, name="") for other in others} - {replace(base, name="")})
        == len(others)
        == len(labels)
    )
    for label, other in zip(labels, others):
        fields = {field for field in vars(base) if getattr(base, field) != getattr(other, field)} - {"name"}
        assert fields == bundles.get(label, fields) and (label in bundles or len(fields) == 1), label
    with_sgd = next(other for other in others if other.optimizer is sgd)
    assert math.isclose(with_sgd.max_lr * with_sgd.weight_decay, base.max_lr * base.weight_decay)


class Elsewhere(Serial):
    "Makes each run from what another process would be sent."

    def submit(self, *sent):
        return super().submit(*pickle.loads(pickle.dumps(sent)))


def test_a_plan_of_variants_can_be_sent_to_other_processes_and_keeps_their_names(tmp_path):
    settings = (["optimizer=muon"], ["ema_decay=0.9", "activation=silu"], ["norm=none", "pooling=average"])
    recipes = [varied(SHORT[0], each) for each in settings]
    run_plan(Plan(all_pairs(recipes, range(1)), valid=True), tmp_path / "tiny.csv", "digits", Elsewhere())
    rows = {row["recipe"]: row for row in read_rows(tmp_path / "tiny.csv")}
    assert list(rows) == [recipe.name for recipe in recipes]
    train, held = hold_out(load_mnist("digits").train, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for recipe in recipes:
        assert float(rows[recipe.name]["accuracy"]) == measure(recipe, train, held, True, 0).row["accuracy"]
    torch.set_num_threads(threads)


def test_every_plan_can_be_sent_to_a_worker_and_no_two_share_a_results_file():
    from mnist_nb.experiments import frontier, recipe, seeds, speed

    plans = cli.plans()
    chapters = (seeds, recipe, ablation, frontier, speed)
    assert len(plans) == sum(len(chapter.PLANS) for chapter in chapters) and "presets" in plans
    for plan in plans.values():
        assert pickle.loads(pickle.dumps(plan)) == plan
        assert len({recipe.name for recipe in plan.recipes}) == len(plan.recipes)


def test_a_run_with_seed_17_holds_out_fold_5():
    row, _ = one_run(SHORT[0], 17, True, "digits")
    train, held = hold_out(load_mnist("digits").train, 17 % FOLDS)
    assert row["accuracy"] == measure(SHORT[0], train, held, True, 17).row["accuracy"] and row["seed"] == 17


def two_rows(name, seed, more):
    "In place of work whose result is several rows: named after it, and after the process that did it."
    if seed == 13:
        raise InputError("unlucky")
    return [{"name": name, "seed": seed, "part": part, "process": os.getpid()} for part in ("a", more)]


def test_works_of_several_rows_are_done_once_in_other_processes_and_go_on(tmp_path):
    path, works = tmp_path / "some.csv", [("x", 1, "b"), ("y", 1, "b"), ("x", 2, "b")]
    append_rows(path, two_rows, works[:2], ("name", "seed"))
    first = read_rows(path)
    assert {(row["name"], row["seed"], row["part"]) for row in first} == {
        (name, "1", part) for name in "xy" for part in "ab"
    }
    assert str(os.getpid()) not in {row["process"] for row in first} and len(first) == 4
    with pytest.raises(InputError, match=r"1 of 2 failed, .*: x, 13 \(unlucky\)"):
        append_rows(path, two_rows, [("x", 13, "b"), *works], ("name", "seed"))
    rows, after = read_rows(path), path.read_bytes()
    append_rows(path, two_rows, works, ("name", "seed"))
    assert path.read_bytes() == after
    assert rows[:4] == first and [(r["name"], r["seed"], r["part"]) for r in rows[4:]] == [
        ("x", "2", "a"), ("x", "2", "b")
    ]  # fmt: skip
    with locked(path), pytest.raises(InputError, match="another study is writing"):
        append_rows(path, two_rows, works, ("name", "seed"))
