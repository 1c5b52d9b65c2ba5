"""The commands of examples/huggingface, one after the other, with a random BERT of twelve narrow layers."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

ROOT = Path(__file__).parents[2]
README = (ROOT / "examples" / "huggingface" / "README.md").read_text(encoding="utf-8")
WORDS = ["the", "capital", "of", "france", "is", "paris", "fox", "quick", "brown", "##s", ".", ",", "a"]
SMALLER = "--cpu --max-update 3 --total-num-update 3 --warmup-updates 1 --batch-size 8 --num-workers 0"


def code_blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", README)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the README begins with: a BERT, text, and this repository's files."""
    config = BertConfig(
        vocab_size=len(WORDS) + 5,
        num_hidden_layers=12,
        hidden_size=24,
        intermediate_size=48,
        num_attention_heads=12,
        max_position_embeddings=128,
    )
    bert = tmp_path / "bert-base-uncased"
    BertForMaskedLM(config).save_pretrained(bert)
    (bert / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer.from_pretrained(bert).save_pretrained(bert)
    (tmp_path / "corpus.txt").write_text("The quick brown foxes.\nThe capital of France is Paris, a fox.\n\n" * 90)
    (tmp_path / "valid.txt").write_text("A quick fox is the capital of France.\n\n" * 200)
    for name in ("scripts", "fairseq_distil"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_way(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    (block,) = code_blocks("bash")
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] != "source":
            words += shlex.split(SMALLER) if words[0] == "fairseq-train" else []
            words[0] = shutil.which(words[0])
            completed = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
            assert completed.returncode == 0, completed.stderr[-3000:]
    monkeypatch.chdir(folder)
    for block in code_blocks("python"):
        exec(block, {})  # noqa: S102
    *guesses, best = capsys.readouterr().out.splitlines()
    assert len(guesses) == 5 and best.count("'") == 10
    card = (folder / "student" / "README.md").read_text()
    assert "| model.teacher | bert-base-uncased |" in card and "6 layers of width 24" in card and "## Metrics" in card
