"""A distillation run, from its log to the student that is loaded and validated without the teacher."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import torch
from fairseq import hub_utils

from fairseq_distil.models import DistilEncoderModel

from .commands import ForkedCommands, Run
from .conftest import STUDENT, Options

SCALARS = {
    "loss",
    "soft_target_loss",
    "mlm_loss",
    "cosine_loss",
    "mlm_ppl",
    "mlm_accuracy",
    "teacher_agreement",
}


@pytest.mark.parametrize(("tag", "prefix"), [("train_inner", ""), ("train", "train_"), ("valid", "valid_")])
def test_log_and_tensorboard_hold_every_scalar(student: Run, tag: str, prefix: str) -> None:
    scalars = student.scalars(tag)
    records = student.logged(tag)
    assert records and scalars.keys() >= SCALARS
    for record in records:
        update = int(record[f"{prefix}num_updates"])
        for name in SCALARS:
            assert float(record[prefix + name]) == pytest.approx(scalars[name][update], abs=0.006)


def test_every_update_is_logged_and_the_objective_falls(student: Run) -> None:
    losses = student.scalars("train_inner")["loss"]
    assert [*losses] == [*range(1, STUDENT["max_update"] + 1)]
    validation_losses = [*student.scalars("valid")["loss"].values()]
    assert validation_losses[-1] < validation_losses[0]


def test_checkpoint_and_optimizer_hold_the_student_alone(student: Run, teacher: Run) -> None:
    checkpoint = student.checkpoint()
    expected = {key for key in teacher.weights() if not key.startswith(("encoder.layers.2.", "encoder.layers.3."))}
    assert checkpoint["model"].keys() == expected
    assert len(checkpoint["last_optimizer_state"]["state"]) == len(expected)
    parameters = sum(tensor.numel() for tensor in checkpoint["model"].values())
    assert re.findall(r"num\. shared model params: (\S+) \(num\. trained: (\S+)\)", student.stdout) == [
        (f"{parameters:,}", f"{parameters:,}")
    ]


def test_teacher_file_is_untouched(student: Run, teacher_path: Path, teacher_digest: str) -> None:
    assert hashlib.sha256(teacher_path.read_bytes()).hexdigest() == teacher_digest


def test_student_loads_as_plain_encoder(student: Run, corpus: str) -> None:
    loaded = hub_utils.from_pretrained(str(student.save_dir), "checkpoint_last.pt", corpus, teacher=None)
    encoder = loaded["models"][0]
    assert type(encoder) is DistilEncoderModel
    torch.testing.assert_close(dict(encoder.state_dict()), student.weights(), rtol=0, atol=0)


def validation_options(checkpoint: Path, corpus: str, *more: str) -> list[str]:
    where = [corpus, "--path", str(checkpoint), "--user-dir", "fairseq_distil", "--cpu"]
    where += ["--task", "distil_masked_lm"]
    return [*where, "--batch-size", "4", "--required-batch-size-multiple", "1", "--log-format", "json", *more]


def test_validate_gives_the_losses_of_training(commands: ForkedCommands, student: Run, corpus: str) -> None:
    arguments = validation_options(student.save_dir / "checkpoint_last.pt", corpus)
    run = commands.run("fairseq-validate", *arguments, save_dir=student.save_dir).assert_succeeded()
    (validated,), trained = run.logged("valid"), student.logged("valid")[-1]
    assert {name: validated[f"valid_{name}"] for name in SCALARS} == {
        name: trained[f"valid_{name}"] for name in SCALARS
    }


NARROW = {"encoder_embed_dim": 8, "encoder_attention_heads": 1}


def test_validate_of_a_narrower_student(
    commands: ForkedCommands, distillation_options: Options, corpus: str, tmp_path: Path
) -> None:
    arguments = distillation_options(tmp_path, **NARROW, hidden_weight=1, max_update=4)
    trained = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded().logged("valid")[-1]
    arguments = validation_options(tmp_path / "checkpoint_last.pt", corpus)
    (validated,) = commands.run("fairseq-validate", *arguments, save_dir=tmp_path).assert_succeeded().logged("valid")
    for name in ("valid_loss", "valid_cosine_loss", "valid_hidden_loss"):
        assert validated[name] == trained[name]


def test_a_narrower_student_of_relations_alone_cannot_go_on_with_hidden_states(
    commands: ForkedCommands, distillation_options: Options, tmp_path: Path
) -> None:
    relations = {"cosine_weight": 0, "relation_weight": 1, "relation_heads": 2}
    arguments = distillation_options(tmp_path, **NARROW, **relations, max_update=2)
    commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    run = commands.run("fairseq-train", *distillation_options(tmp_path, **NARROW, max_update=3), save_dir=tmp_path)
    run.assert_one_error_line("checkpoint_last.pt: it has no projection of the student's hidden states", "--pretrained")
    started = {"pretrained": tmp_path / "checkpoint_last.pt", "max_update": 1}
    arguments = distillation_options(tmp_path / "new", **started)
    commands.run("fairseq-train", *arguments, save_dir=tmp_path / "new").assert_succeeded()


@pytest.fixture(scope="module")
def orphan(
    commands: ForkedCommands,
    distillation_options: Options,
    teacher_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """A student whose teacher has been deleted."""
    save_dir = tmp_path_factory.mktemp("orphan")
    mortal = shutil.copy(teacher_path, save_dir / "teacher.pt")
    arguments = distillation_options(save_dir, teacher=mortal, max_update=2)
    run = commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()
    mortal.unlink()
    return run


def test_without_its_teacher_a_student_validates_on_the_mlm_term(
    commands: ForkedCommands, orphan: Run, corpus: str, tmp_path: Path
) -> None:
    weights = ["--criterion", "distillation", "--soft-target-weight", "0", "--mlm-weight", "1", "--cosine-weight", "0"]
    arguments = validation_options(orphan.save_dir / "checkpoint_last.pt", corpus, *weights)
    run = commands.run("fairseq-validate", *arguments, save_dir=tmp_path).assert_succeeded()
    assert f"{orphan.save_dir}/teacher.pt: no such file; the student is loaded without it" in run.stdout
    (validated,), trained = run.logged("valid"), orphan.logged("valid")[-1]
    for name in ("mlm_loss", "mlm_ppl", "mlm_accuracy"):
        assert validated[f"valid_{name}"] == trained[f"valid_{name}"]
    assert validated["valid_loss"] == validated["valid_mlm_loss"]


def test_without_its_teacher_a_student_cannot_validate_on_the_soft_targets(
    commands: ForkedCommands, orphan: Run, corpus: str, tmp_path: Path
) -> None:
    arguments = validation_options(orphan.save_dir / "checkpoint_last.pt", corpus)
    run = commands.run("fairseq-validate", *arguments, save_dir=tmp_path)
    run.assert_one_error_line("soft_target_weight", "need a teacher")


def test_several_teachers(
    commands: ForkedCommands, distillation_options: Options, teacher_path: Path, student: Run, tmp_path: Path
) -> None:
    """The second is a student of the first; its likeliest words and any other are compared."""
    second = student.save_dir / "checkpoint_last.pt"
    mixed = {"teacher": f"{teacher_path}:{second}", "teacher_weights": "0.75,0.25", "soft_target_top_k": 8}
    arguments = distillation_options(tmp_path, **mixed, max_update=3)
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path).assert_succeeded()
    checkpoint = run.checkpoint()
    assert checkpoint["model"].keys() == student.weights().keys()
    assert checkpoint["cfg"]["model"]["teacher_weights"] == [0.75, 0.25]
    losses = run.scalars("train_inner")["soft_target_loss"]
    assert len(losses) == 3 and losses[3] > 0
