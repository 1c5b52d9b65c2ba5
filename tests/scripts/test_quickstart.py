"""scripts/quickstart.sh: what it refuses, and the whole of it on a small text."""

import hashlib
import json
import random
import subprocess
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "scripts" / "quickstart.sh"
NAMES = ["teacher", "student", "no_teacher"]


def run_quickstart(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(SCRIPT), *map(str, arguments)], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quick"], "unknown option --quick; see --help"),
        (["--fast", "-x"], "unknown option -x; see --help"),
        (["absent.txt"], "absent.txt: no such file, or it cannot be read"),
        (["text.txt", "absent.txt"], "absent.txt: no such file, or it cannot be read"),
        (["."], ".: no such file, or it cannot be read"),
        (["--seed", "one"], "--seed needs a number, found 'one'"),
        (["--seed", "-1"], "--seed needs a number, found '-1'"),
        (["--seed"], "--seed needs a number, found ''"),
        (["--output"], "--output needs a directory"),
    ],
)
def test_mistakes_are_one_line_before_any_work(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "text.txt").write_text("Some text.\n")
    result = run_quickstart("--output", "results", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"error: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_option(tmp_path: Path, option: str) -> None:
    result = run_quickstart(option, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Trains a small BERT on real text")
    for name in ("TEXT", "--fast", "--seed", "--output"):
        assert name in result.stdout
    assert "set -" not in result.stdout and "#" not in result.stdout


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Enough words of enough syllables for a vocabulary of 4,000, in documents, unevenly frequent as real ones."""
    generator = random.Random(7)
    syllables = [first + second for first in "bdfgklmnprstvz" for second in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(generator.choices(syllables, k=generator.randint(1, 5))) for _ in range(12000)]
    frequencies = [1 / rank for rank in range(1, len(words) + 1)]
    path = tmp_path / "text.txt"
    with open(path, "w") as file:
        for line in range(6000):
            sentence = " ".join(generator.choices(words, frequencies, k=generator.randint(8, 20)))
            file.write(sentence.capitalize() + ".\n" + ("\n" if line % 5 == 0 else ""))
    return path


def digests(output: Path) -> dict[str, str]:
    """Of the checkpoints that are compared."""
    paths = [output / name / "checkpoint_best.pt" for name in NAMES]
    return {path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_of_it_and_again(text: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    result = run_quickstart(text, "--fast", "--seed", "3", "--output", output, cwd=tmp_path)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]

    reports = json.loads((output / "report.json").read_text())
    teacher, student, no_teacher = reports
    assert [report["name"] for report in reports] == NAMES
    assert [report["layers"] for report in reports] == [4, 2, 2]
    assert student["parameters"] == no_teacher["parameters"] < teacher["parameters"]
    assert teacher["masked_lm"]["reference_agreement"] == 1
    assert all(1 < report["masked_lm"]["perplexity"] < 4000 for report in reports)
    sentences = (SCRIPT.parents[1] / "examples" / "quickstart" / "sentences.txt").read_text().splitlines()
    # In a language that is not English, the sentences come apart into many symbols.
    filled_in = [sentence for sentence in sentences if f"positions: {sentence}\n" not in result.stderr]
    assert filled_in
    assert all(list(report["fillings"]) == filled_in for report in reports)
    assert (output / "report.md").read_text() in result.stdout
    with Image.open(output / "curves.png") as curves:
        curves.load()
        assert curves.size == (5 * 550, 440)
    first = digests(output)
    assert len(set(first.values())) == 3

    again = run_quickstart(text, "--fast", "--seed", "3", "--output", output, cwd=tmp_path)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert digests(output) == first
    measured_again = json.loads((output / "report.json").read_text())
    assert [report["masked_lm"] for report in measured_again] == [report["masked_lm"] for report in reports]
    assert [report["fillings"] for report in measured_again] == [report["fillings"] for report in reports]
