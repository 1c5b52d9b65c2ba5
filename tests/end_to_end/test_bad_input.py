"""What is wrong with data, teacher or settings is told in one line, before anything is trained."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from .commands import ForkedCommands, Run, run_command
from .conftest import TEACHER, Options

PLAIN_ENCODER = {
    "arch": "distil_encoder",
    "teacher": None,
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_attention_heads": 2,
}


@pytest.fixture
def damaged_corpus(corpus: str, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(corpus, tmp_path / "damaged"))


@pytest.fixture
def assert_refused(commands: ForkedCommands, distillation_options: Options, tmp_path: Path) -> Callable[..., None]:
    """Distillation with changed settings ends with one line that holds the expected texts, and trains nothing."""

    def check(*expected: str, **changed: Any) -> None:
        save_dir = tmp_path / "checkpoints"
        arguments = distillation_options(save_dir, **changed)
        run = commands.run("fairseq-train", *arguments, save_dir=save_dir)
        run.assert_one_error_line(*expected)
        assert run.logged("train_inner") == []
        assert list(save_dir.glob("*.pt")) == []

    return check


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"encoder_layers": 5}, ["5 layers", "4 layers"]),
        ({"teacher_layer_map": "0,4"}, ["--teacher-layer-map", "'0,4'", "layer 4", "0 to 3"]),
        ({"mlm_weight": -1}, ["mlm_weight is -1", "not negative"]),
        (
            {"soft_target_weight": 0, "mlm_weight": 0, "cosine_weight": 0},
            ["mlm_weight, relation_weight, soft_target_weight", "all of"],
        ),
        ({"soft_target_temperature": 0}, ["soft_target_temperature is 0", "from 0.01 to 100"]),
        ({"tokens_per_sample": 17}, ["--tokens-per-sample", "17", "16 positions"]),
        (PLAIN_ENCODER, ["soft_target_weight", "need a teacher"]),
        ({"teacher": None}, ["--teacher", "checkpoint of a distil_encoder"]),
        ({"encoder_embed_dim": 24}, ["the student's width is 24", "the teacher's 16"]),
        ({"encoder_embed_dim": 24, "student_init": "random"}, ["cosine_weight", "24 wide", "which is 16"]),
        ({"autocast_dtype": "float16"}, ["float16", "--amp"]),
        ({"soft_target_top_k": 1000}, ["soft_target_top_k is 1000", "61 words"]),
        ({"teacher_weights": "0.7,0.3"}, ["--teacher-weights", "names one"]),
        ({"mask_prob_schedule": "linear:0.3"}, ["task.mask_prob_schedule", "'linear:0.3'", "constant:VALUE"]),
        ({"fp16": True}, ["--fp16 (common.fp16) needs a GPU", "--autocast-dtype bfloat16"]),
        ({"find_unused_parameters": True}, ["--find-unused-parameters", "the criterion distillation", "leave it out"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_impossible_setting(assert_refused: Callable[..., None], changed: dict[str, Any], expected: list[str]) -> None:
    assert_refused(*expected, **changed)


@pytest.mark.parametrize("file", ["train.bin", "train.idx", "valid.bin"])
def test_truncated_data(assert_refused: Callable[..., None], damaged_corpus: Path, file: str) -> None:
    path = damaged_corpus / file
    path.write_bytes(path.read_bytes()[:-7])
    assert_refused(str(path), "truncated", data=damaged_corpus)


@pytest.mark.parametrize("file", ["train.bin", "valid.idx", "dict.txt"])
def test_missing_data_file(assert_refused: Callable[..., None], damaged_corpus: Path, file: str) -> None:
    (damaged_corpus / file).unlink()
    assert_refused(str(damaged_corpus / file), "no such file", data=damaged_corpus)


def test_missing_shard(assert_refused: Callable[..., None], corpus: str, tmp_path: Path) -> None:
    assert_refused(f"data {tmp_path}/nowhere: no such directory", data=f"{corpus}:{tmp_path}/nowhere")


@pytest.mark.parametrize("break_mode", ["eos", "complete", "complete_doc"])
def test_lines_that_are_longer_than_a_sample(assert_refused: Callable[..., None], break_mode: str) -> None:
    expected = ["longer than", "8 tokens", "--shorten-method truncate"]
    assert_refused(*expected, sample_break_mode=break_mode, tokens_per_sample=8)


def test_a_save_dir_of_another_encoder(
    distillation_options: Options, commands: ForkedCommands, student: Run, tmp_path: Path
) -> None:
    shutil.copy(student.save_dir / "checkpoint_last.pt", tmp_path)
    arguments = distillation_options(tmp_path, encoder_layers=3)
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path)
    run.assert_one_error_line("not those of the encoder that the settings describe", "--save-dir")


def test_a_save_dir_of_another_optimizer(
    distillation_options: Options, commands: ForkedCommands, student: Run, tmp_path: Path
) -> None:
    shutil.copy(student.save_dir / "checkpoint_last.pt", tmp_path)
    run = commands.run("fairseq-train", *distillation_options(tmp_path, optimizer="adam"), save_dir=tmp_path)
    run.assert_one_error_line(
        "checkpoint_last.pt: is of a run with the optimizer FusedAdamW, but this one has FairseqAdam; go on with that,",
        "--reset-optimizer",
    )
    assert run.logged("train_inner") == []


def test_truncated_teacher(assert_refused: Callable[..., None], teacher_path: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "teacher.pt"
    truncated.write_bytes(teacher_path.read_bytes()[:5000])
    assert_refused(str(truncated), "damaged", teacher=truncated)


def test_several_teachers_one_of_which_is_missing(
    assert_refused: Callable[..., None], teacher_path: Path, tmp_path: Path
) -> None:
    assert_refused(f"teacher {tmp_path}/gone.pt: no such file", teacher=f"{teacher_path}:{tmp_path}/gone.pt")


def test_teacher_of_another_dictionary(
    assert_refused: Callable[..., None], damaged_corpus: Path, teacher_path: Path
) -> None:
    dictionary = damaged_corpus / "dict.txt"
    first, second, *others = dictionary.read_text().splitlines(keepends=True)
    dictionary.write_text("".join([second, first, *others]))
    assert_refused(str(teacher_path), "another dictionary", "'word1'", "'word0'", data=damaged_corpus)


def test_missing_data(commands: ForkedCommands, distillation_options: Options, tmp_path: Path) -> None:
    missing = tmp_path / "no-data"
    run = commands.run("fairseq-train", *distillation_options(tmp_path, data=missing), save_dir=tmp_path)
    run.assert_one_error_line(f"{missing}/dict.txt: no such file", "scripts/prepare_data.py")


def test_missing_teacher_through_fairseq_hydra_train(recipe: list[str], tmp_path: Path) -> None:
    missing = tmp_path / "no-teacher.pt"
    changed = [f"model.teacher={missing}", f"checkpoint.save_dir={tmp_path}"]
    run = run_command("fairseq-hydra-train", *recipe, *changed, save_dir=tmp_path)
    assert run.exit_status > 0
    assert "Traceback" not in run.stdout + run.stderr
    # Hydra frames a message with a line before and a line after it.
    before, message, after = [line for line in run.stderr.splitlines() if line][-3:]
    assert (before[:19], after[:28]) == ("Error executing job", "Set the environment variable")
    assert message.startswith(f"teacher {missing}: no such file; give --teacher (model.teacher)")


def test_checkpoint_of_another_dictionary_through_fairseq_validate(
    commands: ForkedCommands, teacher_path: Path, damaged_corpus: Path, tmp_path: Path
) -> None:
    with open(damaged_corpus / "dict.txt", "a") as file:
        file.write("another 1\n")
    arguments = [str(damaged_corpus), "--path", str(teacher_path), "--user-dir", "fairseq_distil", "--cpu"]
    arguments += ["--task", "distil_masked_lm", "--batch-size", "4"]
    run = commands.run("fairseq-validate", *arguments, save_dir=tmp_path)
    run.assert_one_error_line("the checkpoint has another dictionary", "'another'")


@pytest.mark.parametrize("option", ["--path", "--restore-file"])
def test_checkpoint_whose_settings_ask_for_a_giant(
    commands: ForkedCommands, options: Options, teacher_path: Path, corpus: str, tmp_path: Path, option: str
) -> None:
    """fairseq would build what the settings say before it looks at the weights."""
    state = torch.load(teacher_path)
    state["cfg"]["model"]["encoder_layers"] = 10**12
    giant = tmp_path / "giant.pt"
    torch.save(state, giant)
    if option == "--path":
        arguments = [corpus, "--user-dir", "fairseq_distil", "--cpu", "--task", "distil_masked_lm", "--batch-size", "4"]
        run = commands.run("fairseq-validate", *arguments, option, str(giant), save_dir=tmp_path)
    else:
        arguments = options(tmp_path / "runs", **TEACHER)
        run = commands.run("fairseq-train", *arguments, option, str(giant), save_dir=tmp_path)
    run.assert_one_error_line(str(giant), "layers is 1000000000000, but must be at most")


def test_split_that_fairseq_would_append(assert_refused: Callable[..., None], damaged_corpus: Path) -> None:
    for ending in ("bin", "idx"):
        shutil.copy(damaged_corpus / f"train.{ending}", damaged_corpus / f"train1.{ending}")
    (damaged_corpus / "train1.bin").write_bytes((damaged_corpus / "train.bin").read_bytes()[:-7])
    assert_refused(f"{damaged_corpus}/train1.bin", "truncated", data=damaged_corpus)
