"""Data in preparation, killed at any moment: there is nothing or all of it, and the same command makes it again."""

import random
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ..forked_processes import ROOT, SIGNALLED

WORDS = ["the", "quick", "brown", "fox"]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("kills", "seed"), [(4, 1), pytest.param(60, 2, marks=pytest.mark.slow)])
def test_killed_at_random_moments(kills: int, seed: int, run_script: Callable, tmp_path: Path) -> None:
    generator = random.Random(seed)
    vocabulary, corpus, held_out = (tmp_path / name for name in ("vocab.txt", "corpus.txt", "held-out.txt"))
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    for path, documents in ((corpus, 300), (held_out, 7)):
        path.write_text("".join(" ".join(generator.choices(WORDS, k=9)) + "\n\n" for _ in range(documents)))

    def prepare(output: Path, moment: int) -> tuple[int, str]:
        command = [ROOT / "scripts" / "prepare_data.py", "--input", corpus, "--valid", held_out, "--workers", 1]
        command += ["--tokenizer", "wordpiece", "--vocab", vocabulary, "--output", output]
        ended = run_script(SIGNALLED, "SIGKILL", "call", moment, *command)
        return ended.returncode, ended.stderr

    status, told = prepare(tmp_path / "undisturbed", 0)
    assert status == 0, told
    expected, calls = contents(tmp_path / "undisturbed"), int(re.search(r"calls: (\d+)", told)[1])
    killed = 0
    for number in range(kills):
        output = tmp_path / f"data{number}"
        status, told = prepare(output, generator.randint(1, calls))
        assert status in (0, -signal.SIGKILL), told
        killed += status != 0
        if not output.exists():
            status, told = prepare(output, 0)
            assert status == 0, told
        assert contents(output) == expected
        assert list(tmp_path.glob(".*.partial-*")) == []
    assert killed > kills * 0.8
    print(f"{killed} kills survived")
