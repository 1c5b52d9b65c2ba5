"""The script as its users meet it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_glue.py"


def test_a_task_and_a_mistake(
    run_script: Callable[..., subprocess.CompletedProcess[str]], data_with_tokenizer: Path, tmp_path: Path
) -> None:
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("sentence\tlabel\nword1 word2\t0\n\t1\n")
    options = ["--task", "SST-2", "--input", tmp_path, "--data", data_with_tokenizer, "--output", tmp_path / "out"]

    refused = run_script(SCRIPT, *options)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        f"error: {tmp_path}/train.tsv, line 3: the text in column 'sentence' is empty; mend the row, or leave such "
        "rows out: --skip-bad-rows\n"
    )

    completed = run_script(SCRIPT, *options, "--skip-bad-rows")
    assert (completed.returncode, completed.stderr) == (0, "")
    counts = "1 rows, 0 cut to 128 tokens, 1 bad rows left out"
    assert completed.stdout == f"{tmp_path}/out: 2 classes (0, 1) | train {counts} | valid {counts}\n"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("input0", "label", "dict.txt", "vocab.txt", "fairseq_distil_tokenizer.json")
    }
