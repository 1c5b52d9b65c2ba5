"""fairseq-train learns to answer 18 questions, and a student learns from it; both answer outside of training too."""

import json
import runpy
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export_checkpoint
from fairseq_distil.data.question_answering_dataset import load_windows
from fairseq_distil.evaluation.answer_prediction import predict_answers
from fairseq_distil.models import DistilEncoderModel

from .commands import ForkedCommands, Run
from .conftest import Options

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "task": "question_answering",
    "criterion": "question_answering",
    "sample_break_mode": None,
    "tokens_per_sample": None,
    "dropout": 0,
    "attention_dropout": 0,
    "batch_size": 18,
    "batch_size_valid": 7,
    "lr": 0.003,
    "max_update": 80,
    "validate_interval": 20,
    "save_interval": 20,
    "no_epoch_checkpoints": True,
    "best_checkpoint_metric": "f1",
    "maximize_best_checkpoint_metric": True,
}
TEACHER = {
    "arch": "distil_encoder",
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_attention_heads": 4,
    "max_positions": 16,
    "initializer_range": 0.1,
}


@pytest.fixture(scope="module")
def answer_options(options: Options, squad_data: Path) -> Options:
    return lambda save_dir, **changed: options(save_dir, data=squad_data, **SETTINGS | changed)


@pytest.fixture(scope="module")
def answering_teacher(
    commands: ForkedCommands, answer_options: Options, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    save_dir = tmp_path_factory.mktemp("answers_teacher")
    arguments = answer_options(save_dir, **TEACHER)
    return commands.run("fairseq-train", *arguments, save_dir=save_dir).assert_succeeded()


@pytest.fixture(scope="module")
def answering_student(
    commands: ForkedCommands,
    answer_options: Options,
    answering_teacher: Run,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Of one layer, from the best teacher."""
    save_dir = tmp_path_factory.mktemp("answers_student")
    teacher_path = save_dir / "teacher.pt"
    shutil.copy(answering_teacher.save_dir / "checkpoint_best.pt", teacher_path)
    settings = {"arch": "teacher_student", "teacher": teacher_path, "teacher_weight": 2, "soft_target_temperature": 1.5}
    run = commands.run("fairseq-train", *answer_options(save_dir, **settings), save_dir=save_dir)
    teacher_path.unlink()  # what follows must not need it
    return run.assert_succeeded()


@pytest.fixture
def best_student(answering_student: Run) -> Path:
    return answering_student.save_dir / "checkpoint_best.pt"


def scores(run: Run) -> list[float]:
    return [float(record["valid_f1"]) for record in run.logged("valid")]


def test_a_memorisable_set_is_learnt(answering_teacher: Run) -> None:
    f1 = scores(answering_teacher)
    assert f1[-1] > 95 and f1[-1] > f1[0]
    assert answering_teacher.checkpoint("checkpoint_best.pt")["extra_state"]["best"] == max(f1)
    assert "soft_target_loss" not in answering_teacher.logged("train_inner")[-1]


def test_the_student_learns_from_the_teacher(answering_student: Run) -> None:
    assert scores(answering_student)[-1] > 95
    divergences = [float(record["soft_target_loss"]) for record in answering_student.logged("train_inner")]
    assert divergences[-1] < divergences[0] / 2
    assert "teacher" not in " ".join(answering_student.weights())
    assert {name for name in answering_student.weights() if "layers" in name and "layers.0." not in name} == set()


def test_the_script_gives_the_scores_of_validation(
    answering_student: Run, best_student: Path, squad_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "predict_squad.py"))["main"]
    output, n_best = tmp_path / "new" / "predictions.json", tmp_path / "n_best.json"
    arguments = [best_student, "--data", squad_data, "--output", output, "--n-best-output", n_best, "--batch-size", 5]
    assert main([*map(str, arguments), "--cpu", "--n-best", "4"]) == 0
    printed = json.loads(capsys.readouterr().out)
    best = max(answering_student.logged("valid"), key=lambda record: float(record["valid_f1"]))
    assert printed["f1"] == pytest.approx(float(best["valid_f1"]), abs=1e-3)
    assert printed["exact_match"] == pytest.approx(float(best["valid_exact_match"]), abs=1e-3)
    predictions, candidates = json.loads(output.read_text()), json.loads(n_best.read_text())
    assert printed["questions"] == len(predictions) == 18 and predictions.keys() == candidates.keys()
    for identifier, listed in candidates.items():
        assert listed[0]["text"] == predictions[identifier] and 1 <= len(listed) <= 4
        assert sum(candidate["probability"] for candidate in listed) == pytest.approx(1)
        assert len({candidate["text"] for candidate in listed}) == len(listed)


def test_validate_gives_the_scores_of_training(
    commands: ForkedCommands, answering_student: Run, answering_teacher: Run, squad_data: Path
) -> None:
    """With its teacher gone, the student is scored on the answers alone."""
    for trained in (answering_teacher, answering_student):
        arguments = [str(squad_data), "--path", str(trained.save_dir / "checkpoint_last.pt"), "--cpu"]
        arguments += ["--user-dir", "fairseq_distil", "--task", "question_answering", "--log-format", "json"]
        arguments += ["--batch-size", "5", "--required-batch-size-multiple", "1"]
        run = commands.run("fairseq-validate", *arguments, save_dir=trained.save_dir).assert_succeeded()
        (found,), expected = run.logged("valid"), trained.logged("valid")[-1]
        for name in ("exact_match", "f1", "answer_loss"):
            assert float(found[f"valid_{name}"]) == pytest.approx(float(expected[f"valid_{name}"]), abs=0.002)


def test_mistakes_of_the_script(
    teacher_path: Path, best_student: Path, squad_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "predict_squad.py"))["main"]

    def error_of(*arguments: Any) -> str:
        assert main(["--cpu", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    missing = tmp_path / "missing.pt"
    assert error_of(missing, "--data", squad_data).startswith(f"error: checkpoint {missing}: no such file")
    assert "--n-best is 0" in error_of(best_student, "--data", squad_data, "--n-best", 0)
    assert "test.idx: no such file" in error_of(best_student, "--data", squad_data, "--split", "test")
    assert "another dictionary" in error_of(teacher_path, "--data", squad_data)


def test_a_checkpoint_without_a_head_answers_nothing(setup_run: Any, squad_data: Path, tmp_path: Path) -> None:
    model = {"_name": "distil_encoder", "encoder_layers": 1, "encoder_embed_dim": 12, "encoder_attention_heads": 4}
    path = tmp_path / "pretrained.pt"
    setup_run({**model, "max_positions": 17}).save_checkpoint(path)
    with pytest.raises(ValueError, match=f"^checkpoint {path}: it has no question-answering head"):
        predict_answers(path, squad_data)


def test_the_hub_loads_the_student_without_its_teacher(best_student: Path, squad_data: Path) -> None:
    interface = DistilEncoderModel.from_pretrained(str(best_student.parent), best_student.name, str(squad_data))
    assert type(interface.model) is DistilEncoderModel and interface.model.question_answering_head is not None


def test_transformers_gives_the_same_logits(best_student: Path, squad_data: Path, tmp_path: Path) -> None:
    (line,) = export_checkpoint(best_student, squad_data, tmp_path / "exported", ExportOptions())
    assert "ForQuestionAnswering" in line
    theirs = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "exported").eval()
    interface = DistilEncoderModel.from_pretrained(str(best_student.parent), best_student.name, str(squad_data))
    dataset = load_windows(str(squad_data / "valid"), "valid", 45, 1, 0)
    tokens = dataset.collater([dataset[index] for index in range(6)])["net_input"]["src_tokens"]
    # their ids are those of vocab.txt: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then the words
    their_id = torch.tensor([2, 0, 3, 1, *range(5, 5 + 41), 4])
    with torch.inference_mode():
        ours = interface.model(tokens, answer_logits=True)[0]
        output = theirs(input_ids=their_id[tokens], attention_mask=tokens.ne(1).long())
    is_token = tokens.ne(1)
    for logits, expected in ((output.start_logits, ours[..., 0]), (output.end_logits, ours[..., 1])):
        torch.testing.assert_close(logits[is_token], expected[is_token], rtol=1e-4, atol=1e-4)


def test_a_teacher_that_was_not_fine_tuned(
    commands: ForkedCommands, answer_options: Options, teacher_path: Path, tmp_path: Path
) -> None:
    arguments = answer_options(tmp_path / "run", arch="teacher_student", teacher=teacher_path)
    run = commands.run("fairseq-train", *arguments, save_dir=tmp_path / "run")
    run.assert_one_error_line(str(teacher_path), "another dictionary")


def test_two_workers_report_the_scores_of_one_and_go_on(
    commands: ForkedCommands, answer_options: Options, tmp_path: Path
) -> None:
    """After an update that changes next to nothing; batches of 5, of which one worker has fewer than the other."""

    def options_of(save_dir: Path, **changed: Any) -> list[str]:
        return answer_options(save_dir, **TEACHER | {"lr": 1e-9, "max_update": 1, "batch_size_valid": 5} | changed)

    alone, together = tmp_path / "alone", tmp_path / "together"
    one = commands.run("fairseq-train", *options_of(alone), save_dir=alone).assert_succeeded()
    two = commands.run_workers(partial(options_of, together), 2, together)
    assert scores(two) == pytest.approx(scores(one), abs=1e-3) and scores(one)[0] > 0
    resumed = commands.run_workers(partial(options_of, together, max_update=2), 2, together)
    assert [record["num_updates"] for record in resumed.logged("train_inner")] == ["2"]


@pytest.mark.slow
def test_stored_outputs_of_the_teacher_train_alike(
    commands: ForkedCommands, answer_options: Options, answering_teacher: Run, tmp_path: Path
) -> None:
    """Two workers, of which one has fewer batches than the other, compute them, and read them when they go on."""
    teacher = answering_teacher.save_dir / "checkpoint_best.pt"
    settings = {"arch": "teacher_student", "teacher": teacher, "max_update": 8, "batch_size": 5, "num_workers": 1}
    settings["validate_interval"] = settings["save_interval"] = 1

    def train(save_dir: Path, **changed: Any) -> Run:
        return commands.run_workers(partial(answer_options, save_dir, **settings | changed), 2, save_dir)

    def losses(*runs: Run) -> list[float]:
        records = [record for run in runs for record in run.logged("train_inner")]
        last = runs[-1].logged("valid")[-1]
        scores = [float(last[f"valid_{name}"]) for name in ("soft_target_loss", "exact_match", "f1")]
        return [float(record[name]) for record in records for name in ("loss", "soft_target_loss")] + scores

    plain = train(tmp_path / "plain")
    folder = {"teacher_cache": tmp_path / "outputs"}
    first = train(tmp_path / "cached", max_update=4, **folder)
    assert first.stdout.count("bytes written") == 2
    rest = train(tmp_path / "cached", **folder)
    assert "teacher outputs" not in rest.stdout
    assert len(losses(plain)) == 8 * 2 + 3
    assert losses(first, rest) == pytest.approx(losses(plain), abs=0.002)
