"""From a checkpoint of fairseq's trainer to a directory of transformers, as users run it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from transformers import AutoModelForMaskedLM

ROOT = Path(__file__).parents[2]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{index}" for index in range(41))]


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "export_checkpoint.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_export(teacher_path: str, write_data: Callable, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", {"train": [[4, 5]]})
    (tmp_path / "data" / "fairseq_distil_tokenizer.json").write_text('{"kind": "wordpiece", "lowercase": true}')
    (tmp_path / "data" / "vocab.txt").write_text("\n".join(PIECES))
    (tmp_path / "report.md").write_text("perplexity 7")
    output = tmp_path / "exported"

    completed = run(teacher_path, "--data", data, "--output", output, "--report", tmp_path / "report.md")

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith(f"{output}: transformers loads it, with the same ids and logits (largest diff")
    assert AutoModelForMaskedLM.from_pretrained(output).config.n_layers == 3
    card = (output / "README.md").read_text()
    assert "| criterion | masked_lm |" in card and card.endswith("## Metrics\n\nperplexity 7\n")


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    completed = run(tmp_path / "absent.pt", "--data", tmp_path, "--output", tmp_path / "out")
    assert completed.returncode == 2
    assert completed.stderr == f"error: {tmp_path / 'absent.pt'}: no such checkpoint\n"
    assert list(tmp_path.iterdir()) == []
