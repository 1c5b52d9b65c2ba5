"""The training benchmark as a command."""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fairseq_distil.benchmarks import training_command
from fairseq_distil.benchmarks.additions import ADDED
from fairseq_distil.benchmarks.training_case import TrainingCase
from fairseq_distil.benchmarks.training_command import parse_options, run
from fairseq_distil.errors import UserError

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_training.py"
TINY = shlex.split("--layers 2 --width 8 --heads 2 --vocab 20 --batch 2 --length 8 --steps 1 --device cpu")


def test_turns_with_a_peer(run_script: Callable) -> None:
    peer = {"peer": "a loop", "seconds_per_step": 1e6, "peak_mib": 1e6, "batch": 2, "length": 8, "bf16": False}
    command = shlex.join([sys.executable, "-c", f"print({json.dumps(peer)!r})"])
    result = run_script(SCRIPT, *TINY, "--peer", command, "--pairs", "1")
    assert result.returncode == 0, result.stderr
    ours, other, ratios = map(json.loads, result.stdout.splitlines())
    assert (ours["layers"], ours["batch"], ours["computed_in"], ours["loop"]) == (2, 2, "float32", "step")
    assert other == peer
    assert ratios["pairs"] == 1
    assert ratios["other_time_over_ours"]["median"] == pytest.approx(1e6 / ours["seconds_per_step"], rel=1e-3)
    assert ratios["our_memory_over_other"]["median"] == pytest.approx(ours["peak_mib"] / 1e6, abs=1e-4)
    assert result.stderr.startswith("pair 1 of 1: other's time / ours ")


def test_profile(capfd: pytest.CaptureFixture[str]) -> None:
    run(parse_options([*TINY, "--profile"]))
    stages, *tables = capfd.readouterr().out.splitlines()
    found = json.loads(stages)
    assert set(found["stages"]) == {
        "batch",
        "teacher forward",
        "student forward",
        "loss",
        "backward",
        "clipping",
        "optimizer",
    }
    assert tables[0].startswith("| ms of one step | batch | teacher forward |")
    assert any(line.startswith("| matrix products |") for line in tables)


def commands_that_fail(monkeypatch: pytest.MonkeyPatch, *failing: int | str) -> None:
    """Stands for the benchmark's processes, which take seconds to start; those of some batches or additions fail."""

    def command(case: TrainingCase) -> list[str]:
        record = {
            "seconds_per_step": 1.0,
            "peak_mib": 9,
            "limit_seconds": 0.5,
            "batch": case.batch,
            "added": case.added,
        }
        fail = "raise SystemExit('error: out of memory')"
        fails = case.batch in failing or case.added in failing
        return [sys.executable, "-c", fail if fails else f"print({json.dumps(record)!r})"]

    monkeypatch.setattr(training_command, "_command", command)


def test_a_case_that_fails_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    commands_that_fail(monkeypatch, 4)
    plot = tmp_path / "cost.png"
    run(parse_options([*TINY, "--sweep", "batch=3,4,5", "--plot", str(plot)]))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["sweep"], row["batch"], row.get("seconds_per_step")) for row in rows] == [
        ("batch", 3, 1.0),
        ("batch", 4, None),
        ("batch", 5, 1.0),
    ]
    assert rows[1]["failed"].endswith("failed with exit status 1: out of memory")
    with Image.open(plot) as image:
        image.load()


def test_a_sweep_of_which_all_cases_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    commands_that_fail(monkeypatch, 3, 4)
    with pytest.raises(UserError, match="none of the cases could be measured"):
        run(parse_options([*TINY, "--sweep", "batch=3,4", "--plot", str(tmp_path / "cost.png")]))
    assert capsys.readouterr().out.count("exit status 1: out of memory") == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sweep(run_script: Callable, tmp_path: Path) -> None:
    plot = tmp_path / "cost.png"
    result = run_script(SCRIPT, *TINY, "--sweep", "batch=1", "--sweep", "length=6", "--plot", str(plot))
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["sweep"], r["batch"], r["length"]) for r in records] == [
        ("batch", 1, 8),
        ("length", 2, 6),
    ]
    with Image.open(plot) as image:
        image.load()


@pytest.mark.slow
@pytest.mark.timeout(900)  # processes that import fairseq, one after the other, on a busy machine
@pytest.mark.parametrize("options", ["--against fairseq-train", "--objective masked_lm --against roberta"])
def test_against_fairseqs_own(run_script: Callable, options: str) -> None:
    result = run_script(SCRIPT, *TINY, *options.split(), "--pairs", "1")
    assert result.returncode == 0, result.stderr
    ours, other, _ = map(json.loads, result.stdout.splitlines())
    assert (ours["loop"], ours["encoder"]) == ("step", "distil_encoder")
    assert options.split()[-1] in (other["loop"], other["encoder"])


def test_each_record_of_the_cost_of_terms_is_printed_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands_that_fail(monkeypatch, "relations")
    with pytest.raises(UserError, match="failed with exit status 1: out of memory"):
        run(parse_options([*TINY, "--vocab", "65", "--cost-of-terms"]))
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["added"] for record in printed] == list(ADDED)[: list(ADDED).index("relations")]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cost_of_terms(run_script: Callable) -> None:
    sizes = [*TINY, "--width", "24", "--heads", "3", "--vocab", "65"]
    result = run_script(SCRIPT, *sizes, "--cost-of-terms", "--pairs", "1")
    assert result.returncode == 0, result.stderr
    *records, costs = map(json.loads, result.stdout.splitlines())
    assert [record["added"] for record in records] == list(ADDED)
    assert [record["added"] for record in records if "limit_seconds" in record] == ["none"]
    published, *others = (record["seconds_per_step"] for record in records)
    for cost, seconds in zip(costs["percent_of_published_step"].values(), others, strict=True):
        assert cost["median"] == pytest.approx(100 * (seconds / published - 1), abs=0.06)


def test_mistakes_are_one_line_and_status_2(run_script: Callable) -> None:
    result = run_script(SCRIPT, *TINY, "--peer", "absent-command --bf16")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: absent-command --bf16: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heads", "3"], "--heads 3 does not divide --width 8"),
        (["--peer", "true", "--pairs", "0"], "--pairs is 0, but must be at least 1"),
        (["--peer-timeout", "3"], "--peer-timeout is for the turns of a --peer"),
        (["--peer", "true", "--peer-timeout", "0"], "--peer-timeout is 0, but must be seconds, more than 0"),
        (["--peer", "true", "--peer-timeout", "nan"], "--peer-timeout is nan, but must be seconds, more than 0"),
        (["--peer", "true", "--peer-timeout", "1e7"], "--peer-timeout is 1e\\+07, but must be .* at most 1,000,000"),
        (["--batch", "16000000", "--length", "16000000"], "needs at least .* GiB"),
        (["--batch", "1000000000"], "--batch is 1000000000, but must be at most 16777216"),
        (["--batch", "-1"], "--batch is -1, but must be at least 1"),
        (["--plot", "cost.png"], "--plot draws --curves, or what --sweep measures"),
        (
            ["--sweep", "batch", "--loop", "fairseq-train", "--plot", "cost.png"],
            "--plot draws .* of the bare step",
        ),
        (["--sweep", "batch", "--added", "hidden", "--plot", "cost.png"], "--plot draws .* nothing --added"),
        (["--loop", "fairseq-train", "--against", "fairseq-train"], "--against fairseq-train is what is measured"),
        (["--pairs", "3"], "--pairs are turns with --peer, --against or --cost-of-terms"),
        (["--cost-of-terms"], "--added top-k needs at least 64 --vocab, found 20"),
        (["--cost-of-terms", "--objective", "masked_lm"], "--cost-of-terms is of the terms of distillation"),
        (["--sweep", "depth"], "--sweep depth: choose from"),
        (["--sweep", "batch=1", "--sweep", "batch=2"], "--sweep names must differ, found batch, batch"),
        (["--sweep", "batch", "--plot", "/dev/null/cost.png"], "--plot /dev/null/cost.png: cannot be written: "),
        (["--sweep", "batch", "--plot", "/"], "--plot /: cannot be written: it is a directory"),
        (["--profile", "--loop", "fairseq-train"], "--profile is of the bare step"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(parse_options([*TINY, *options]))
