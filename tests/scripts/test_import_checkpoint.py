"""The script as its users meet it, and its output in fairseq's own loader."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import BertConfig, BertForMaskedLM

from fairseq_distil.models import DistilEncoderModel

SCRIPT = Path(__file__).parents[2] / "scripts" / "import_checkpoint.py"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "word2", "word0", "word1"]


def test_import(run_script: Callable, write_data: Callable, tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=8,
        num_hidden_layers=1,
        hidden_size=12,
        intermediate_size=20,
        num_attention_heads=4,
        max_position_embeddings=19,
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(PIECES))
    data = write_data(tmp_path / "data", {"train": [[4, 5]]}, ["word0", "word1", "word2"])
    (tmp_path / "data" / "fairseq_distil_tokenizer.json").write_text('{"kind": "wordpiece", "lowercase": true}')
    (tmp_path / "data" / "vocab.txt").write_text("\n".join(PIECES))
    output = tmp_path / "new" / "teacher.pt"

    completed = run_script(SCRIPT, tmp_path / "bert", "--output", output, "--data", data)

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == f"{output}: 1 layers of width 12, 8 symbols, 1,720 parameters\n"
    assert [path.name for path in output.parent.iterdir()] == ["teacher.pt"]
    loaded = DistilEncoderModel.from_pretrained(str(output.parent), output.name, data)
    assert loaded.encode("word2 <mask>").tolist() == [0, 6, 7, 2]
    words = torch.load(output)["model"]["encoder.embeddings.word_embeddings.weight"]
    assert torch.equal(loaded.model.encoder.embeddings.word_embeddings.weight, words)

    again = run_script(SCRIPT, tmp_path / "bert", "--output", output, "--data", data)
    assert (again.returncode, again.stderr) == (
        2,
        f"error: {output}: exists already; remove it, or choose another output\n",
    )


def test_a_mistake_is_one_line(run_script: Callable, tmp_path: Path) -> None:
    completed = run_script(SCRIPT, tmp_path, "--output", tmp_path / "teacher.pt")
    assert completed.returncode == 2
    assert completed.stderr.startswith(f"error: {tmp_path / 'config.json'}: no such file; ")
    assert completed.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
