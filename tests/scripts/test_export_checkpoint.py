"""From a checkpoint of fairseq's trainer to a directory of transformers or ONNX Runtime, as users run it."""

import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

SCRIPT = Path(__file__).parents[2] / "scripts" / "export_checkpoint.py"


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(run_script: Run) -> Run:
    return partial(run_script, SCRIPT)


def test_transformers(run: Run, teacher_path: str, data_with_tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("perplexity 7")
    output = tmp_path / "exported"

    completed = run(teacher_path, "--data", data_with_tokenizer, "--output", output, "--report", tmp_path / "report.md")

    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.startswith(
        f"{output / 'model.safetensors'}: transformers loads it as BertForMaskedLM, with the same ids and outputs "
        "(largest difference "
    )
    assert completed.stdout.count("\n") == 1 and completed.stderr == ""
    assert AutoModelForMaskedLM.from_pretrained(output).config.num_hidden_layers == 3
    card = (output / "README.md").read_text()
    assert "| criterion | masked_lm |" in card and card.endswith("## Metrics\n\nperplexity 7\n")


def test_the_projection_of_a_narrower_student_stays_behind(
    run: Run, setup_run: Callable, teacher_path: str, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    student = {"_name": "teacher_student", "teacher": teacher_path, "student_init": "random", "encoder_layers": 2}
    trained = setup_run(student | {"encoder_embed_dim": 8}, {"_name": "distillation", "hidden_weight": 1.0})
    checkpoint, output = trained.save_checkpoint(tmp_path / "student.pt"), tmp_path / "exported"
    assert torch.load(checkpoint)["criterion"]["width_projection.weight"].shape == (12, 8)

    completed = run(checkpoint, "--data", data_with_tokenizer, "--output", output)

    assert completed.returncode == 0, completed.stderr
    exported = load_file(output / "model.safetensors")
    loaded = AutoModelForMaskedLM.from_pretrained(output)
    assert loaded.config.hidden_size == 8 and exported.keys() <= loaded.state_dict().keys()
    assert not {(12, 8), (8, 12)} & {tuple(tensor.shape) for tensor in exported.values()}


def test_onnx(run: Run, teacher_path: str, data_with_tokenizer: Path, tmp_path: Path) -> None:
    output, options = tmp_path / "exported", ("--format", "onnx", "--quantize", "int8", "--head", "encoder")
    completed = run(teacher_path, "--data", data_with_tokenizer, "--output", output, *options)
    assert completed.returncode == 0, completed.stderr
    first, second = completed.stdout.splitlines()
    assert first.startswith(f"{output / 'model.onnx'}: ONNX Runtime gives the same outputs (largest difference ")
    assert re.match(
        rf"{output / 'model.int8.onnx'}: int8 against float32: cosine of the outputs (0\.99\d\d|1\.0000)$", second
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "{checkpoint}: no such checkpoint"),
        (
            ["--quantize", "int8"],
            "--quantize is for --format onnx, not transformers; add --format onnx, or leave it out",
        ),
    ],
)
def test_a_mistake_is_one_line(run: Run, tmp_path: Path, options: list[str], message: str) -> None:
    completed = run(tmp_path / "absent.pt", "--data", tmp_path, "--output", tmp_path / "out", *options)
    assert completed.returncode == 2
    assert completed.stderr == f"error: {message.format(checkpoint=tmp_path / 'absent.pt')}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_found_before_any_work(run: Run, tmp_path: Path) -> None:
    completed = run(tmp_path / "absent.pt", "--data", tmp_path, "--output", tmp_path)
    assert completed.stderr == f"error: {tmp_path}: exists already; remove it, or choose another output\n"


def test_a_tokeniser_that_cannot_be_exported(
    run: Run, teacher_path: str, write_data: Callable, character_model: Path, tmp_path: Path
) -> None:
    data = Path(write_data(tmp_path / "data", {}))
    (data / "fairseq_distil_tokenizer.json").write_text('{"kind": "sentencepiece"}')
    (data / "sentencepiece.bpe.model").write_bytes(character_model.read_bytes())
    completed = run(teacher_path, "--data", data, "--output", tmp_path / "out")
    assert completed.returncode == 2
    reason = "the SentencePiece model is neither unigram nor BPE; it cannot be exported"
    assert completed.stderr == f"error: sentencepiece.bpe.model: {reason}\n"
    assert not (tmp_path / "out").exists()


@pytest.fixture
def character_model(tmp_path: Path) -> Path:
    """A SentencePiece model whose pieces are characters."""
    import sentencepiece

    with (tmp_path / "character.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the quick brown fox"] * 9),
            model_writer=file,
            model_type="char",
            vocab_size=20,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    return tmp_path / "character.model"
