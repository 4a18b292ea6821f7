"""The bench: its table, its contestants, and what it says of bad input."""

import pytest
import torch

from mnist_nb.experiments import bench, speed
from mnist_nb.model import DigitNet
from mnist_nb.support import InputError, read_rows, results_path
from mnist_nb.train import PRESETS, start_run

COLUMNS = ["table", "what", "unit", "value", "lowest", "highest", "ratio", "repeats", "data", "threads"]
COLUMNS += ["hardware", "versions", "commit"]


@pytest.fixture(scope="module")
def rows(digits):
    return bench.run_bench(digits, repeats=2, images=64)


def test_every_comparison_of_the_issue_is_there(rows):
    whats = {(row["table"], row["what"]) for row in rows}
    assert ("training", "fast") in whats and ("training", "pytorch/examples mnist") in whats
    assert {f"default, fed by torchvision, {n} workers" for n in (0, 2)} <= {
        what for table, what in whats if table == "training"
    }
    tables = {row["table"] for row in rows}
    assert {
        "augmentation",
        "floor of default",
        "floor of fast",
        "ceiling",
        "networks",
        "inference",
        "peak memory",
    } <= tables
    assert {row["what"] for row in rows if row["table"] == "inference"} == {
        "batches of 1",
        "batches of 32",
        "batches of 1024",
    }


def test_rows_hold_together(rows):
    assert all(list(row) == COLUMNS for row in rows)
    for row in rows:
        value, lowest, highest = (float(row[key]) for key in ("value", "lowest", "highest"))
        assert 0 < lowest <= value <= highest
        first = next(r for r in rows if r["table"] == row["table"])
        assert float(row["ratio"]) == pytest.approx(value / float(first["value"]), rel=1e-3)
        assert (
            row["hardware"]
            and row["versions"]
            and row["threads"] == torch.get_num_threads()
            and row["data"] == "digits"
        )


def test_the_printed_table_has_a_line_for_each_row(rows):
    text = speed.format_rows(rows)
    assert all(row["what"] in text for row in rows) and rows[0]["hardware"] in text.splitlines()[0]


def test_the_shipped_table_was_measured_on_mnist_by_this_bench(rows):
    shipped = read_rows(results_path("bench"))
    assert set(shipped[0]) == set(COLUMNS) and {row["data"] for row in shipped} == {"mnist"}
    assert {row["table"] for row in rows} <= {row["table"] for row in shipped}


def test_turns_are_taken():
    calls = []
    works = {name: lambda name=name: calls.append(name) or 1 for name in "abc"}
    rates = speed.interleaved(works, repeats=2)
    assert calls == list("abc") * 3 and {len(r) for r in rates.values()} == {2}


def test_the_floor_holds_the_arithmetic_of_a_step():
    "Counted by PyTorch on a real step: forwards and backwards, all convolutions, nothing else."
    from torch.utils.flop_counter import FlopCounterMode

    for place in (2, 3, 4, 5):
        model = DigitNet(pool_after=place)
        with FlopCounterMode(display=False) as counter:
            model(torch.rand(4, 1, 28, 28)).sum().backward()
        assert counter.get_total_flops() == pytest.approx(4 * 1e9 * speed.gigaflops(model))


def test_the_convolutions_are_timed_in_the_order_of_the_network():
    recorded = speed.recorded_convolutions(DigitNet(pool_after=3), torch.rand(2, 1, 28, 28))
    assert [tuple(c.x.shape[1:]) for c in recorded] == [
        (1, 28, 28), (8, 14, 14), (16, 14, 14), (16, 7, 7), (16, 7, 7), (16, 7, 7), (32, 1, 1),
    ]  # fmt: skip


def test_a_step_reads_no_value_back(digits, monkeypatch):
    "A GPU must not have to wait within a step: no number may be fetched from a tensor but at an epoch's end."

    def fetched(*_):
        raise AssertionError("a value was read back")

    run = start_run(PRESETS["fast"], digits.train)
    stream = speed.endless(run)
    next(stream)
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, fetched)
    for fetch in (bool, float, int, torch.Tensor.item, torch.Tensor.tolist, torch.Tensor.numpy):
        with pytest.raises(AssertionError, match="read back"):  # the trap snaps
            fetch(torch.ones(1))
    for _ in range(2):
        speed.train_step(run, *next(stream))
    monkeypatch.undo()


def test_the_untuned_step_is_what_it_says(digits):
    run = start_run(PRESETS["default"], digits.train)
    assert run.model.blocks.conv3.conv.weight.is_contiguous(memory_format=torch.channels_last)
    speed.untuned(run)
    assert (
        run.model.blocks.conv3.conv.weight.is_contiguous() and not run.model.blocks.conv3.activation.inplace
    )
    assert run.optimizer.param_groups[0]["params"][0] is next(run.model.parameters())


def test_without_a_compiler_there_is_one_sentence(digits, monkeypatch):
    monkeypatch.setattr(bench.shutil, "which", lambda name: None)
    monkeypatch.setattr(bench, "tables", lambda *_: pytest.fail("measured before it was refused"))
    with pytest.raises(InputError, match="C\\+\\+ compiler"):
        bench.run_bench(digits, 1, 8, with_compile=True)
