"""From an encoder to a fine-tuned teacher, and to a student of it, by fairseq's commands."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export_checkpoint
from fairseq_distil.checkpoints.exportable import load_exportable

from .commands import ForkedCommands, Run

CLASSES = ("no", "yes")
RECIPES = Path(__file__).parents[2] / "examples" / "glue" / "config"
UPDATES = 40  # ten epochs
EPOCHS_BETWEEN_VALIDATIONS = 3


@pytest.fixture(scope="module")
def encoder(setup_run: Callable, data_with_tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An encoder that has learnt nothing, with large first weights, which learn fast."""
    sizes = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_attention_heads": 2, "initializer_range": 0.2}
    run = setup_run({"_name": "distil_encoder", **sizes, "max_positions": 19}, data=str(data_with_tokenizer))
    return run.save_checkpoint(tmp_path_factory.mktemp("encoder") / "encoder.pt")


@pytest.fixture(scope="module")
def fine_tune(
    commands: ForkedCommands,
    encoder: str,
    sentence_data: Callable,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Run]:
    """Runs fairseq-train on fairseq's task for sentences, with options by keyword, in one process or several."""

    def run(*classes: str, workers: int = 1, **changed: Any) -> Run:
        save_dir = tmp_path_factory.mktemp("fine_tuned")
        task = sentence_data(*classes)
        options = {
            "user_dir": "fairseq_distil",
            "task": "sentence_prediction",
            "num_classes": task["num_classes"],
            "init_token": 0,
            "arch": "distil_encoder",
            "pretrained": encoder,
            "optimizer": "fused_adamw",
            "lr": 0.01,
            "batch_size": 16,
            "required_batch_size_multiple": 1,
            "max_update": UPDATES,
            "num_workers": 0,
            "save_dir": save_dir,
            "no_epoch_checkpoints": True,
            "validate_interval": EPOCHS_BETWEEN_VALIDATIONS,
            "save_interval": EPOCHS_BETWEEN_VALIDATIONS,
            "maximize_best_checkpoint_metric": True,
            "regression_target": not classes,
            "cpu": True,
            "log_format": "json",
        }

        def as_arguments(**together: Any) -> list[str]:
            arguments = [task["data"]]
            for name, value in (options | changed | together).items():
                if value is not False:
                    arguments += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
            return arguments

        if workers > 1:
            return commands.run_workers(as_arguments, workers, save_dir).assert_succeeded()
        return commands.run("fairseq-train", *as_arguments(), save_dir=save_dir).assert_succeeded()

    return run


@pytest.fixture(scope="module")
def teacher(fine_tune: Callable[..., Run]) -> Run:
    return fine_tune(
        *CLASSES,
        criterion="sentence_prediction_metrics",
        report_acc_and_f1=True,
        best_checkpoint_metric="acc_and_f1",
    )


def test_an_encoder_learns_the_classes_and_its_best_checkpoint_is_the_best(teacher: Run) -> None:
    scores = [float(record["valid_acc_and_f1"]) for record in teacher.logged("valid")]
    assert len(scores) == 4  # the last after the last update
    assert max(scores) > 90
    best = teacher.checkpoint("checkpoint_best.pt")
    assert best["extra_state"]["best"] == pytest.approx(max(scores))
    assert best["task_state"]["classification"]["labels"] == list(CLASSES)


@pytest.fixture(scope="module")
def student(fine_tune: Callable[..., Run], teacher: Run) -> Run:
    teacher_path = teacher.save_dir / "checkpoint_best.pt"
    before = teacher_path.read_bytes()
    model = {"arch": "teacher_student", "teacher": teacher_path}
    terms = {"criterion": "sentence_prediction_distillation", "teacher_weight": 2, "soft_target_temperature": 3}
    run = fine_tune(*CLASSES, best_checkpoint_metric="accuracy", **model, **terms)
    assert teacher_path.read_bytes() == before
    return run


def test_a_student_learns_from_the_teacher(teacher: Run, student: Run) -> None:
    first, *_, last = student.logged("valid")
    assert float(last["valid_soft_target_loss"]) < float(first["valid_soft_target_loss"])
    assert float(last["valid_accuracy"]) > 90
    assert student.weights().keys() == teacher.weights().keys()


@pytest.fixture(scope="module")
def validate(commands: ForkedCommands, sentence_data: Callable) -> Callable[..., Run]:
    """Runs fairseq-validate with a criterion on the last checkpoint of a run for the classes."""

    def run(trained: Run, criterion: str) -> Run:
        checkpoint = trained.save_dir / "checkpoint_last.pt"
        arguments = [
            sentence_data(*CLASSES)["data"],
            "--path",
            str(checkpoint),
            "--user-dir",
            "fairseq_distil",
            "--cpu",
        ]
        arguments += ["--task", "sentence_prediction", "--criterion", criterion, "--log-format", "json"]
        arguments += ["--batch-size", "5", "--required-batch-size-multiple", "1"]
        return commands.run("fairseq-validate", *arguments, save_dir=trained.save_dir)

    return run


def assert_same_scores(validated: Run, trained: Run, *left_out: str) -> None:
    """As in the last validation of the training, but for how its batches were cut."""
    (found,), expected = validated.logged("valid"), trained.logged("valid")[-1]
    names = {name for name in expected if name.startswith("valid_")}
    left_out += ("wps", "wpb", "bsz", "num_updates", "best_accuracy", "best_acc_and_f1")
    names -= {f"valid_{name}" for name in left_out}
    assert len(names) > 1 and names <= found.keys()
    for name in names:
        assert float(found[name]) == pytest.approx(float(expected[name]), abs=0.002), name


@pytest.mark.parametrize(
    ("model", "criterion"),
    [
        ("teacher", "sentence_prediction_metrics"),
        ("student", "sentence_prediction_distillation"),
    ],
)
def test_validate_gives_the_scores_of_training(
    validate: Callable[..., Run], request: pytest.FixtureRequest, model: str, criterion: str
) -> None:
    trained = request.getfixturevalue(model)
    assert_same_scores(validate(trained, criterion).assert_succeeded(), trained)


def test_validate_without_the_teacher_of_a_student(
    validate: Callable[..., Run], student: Run, teacher: Run, tmp_path: Path
) -> None:
    path = teacher.save_dir / "checkpoint_best.pt"
    away = path.rename(tmp_path / "away.pt")
    try:
        run = validate(student, "sentence_prediction_distillation").assert_succeeded()
    finally:
        away.rename(path)
    assert f"teacher {path}: no such file; the student is loaded without it" in run.stdout
    assert_same_scores(run, student, "loss", "soft_target_loss")
    (found,) = run.logged("valid")
    assert found["valid_loss"] == found["valid_task_loss"] and "valid_soft_target_loss" not in found


def test_a_student_of_the_teacher_is_exported(student: Run, data_with_tokenizer: Path, tmp_path: Path) -> None:
    path = student.save_dir / "checkpoint_best.pt"
    (line,) = export_checkpoint(path, data_with_tokenizer, tmp_path / "exported", ExportOptions())
    assert "transformers loads it as DistilBertForSequenceClassification, with the same ids and outputs" in line
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported")
    assert theirs.config.id2label == dict(enumerate(CLASSES))
    pair = AutoTokenizer.from_pretrained(tmp_path / "exported")("word30 word4", "word9 word8", return_tensors="pt")
    ours = load_exportable(path, data_with_tokenizer).model
    symbols = [0, 34, 8, 2, 13, 12, 2]  # <s> word30 word4 </s> word9 word8 </s>
    expected = ours(torch.tensor([symbols]), classification_head_name="sentence_classification_head")[0]
    torch.testing.assert_close(theirs(**pair).logits, expected, atol=1e-5, rtol=1e-5)


def test_damaged_labels_are_told_in_one_line_by_each_command(
    commands: ForkedCommands, teacher: Run, encoder: str, sentence_data: Callable, tmp_path: Path
) -> None:
    data, save_dir = Path(shutil.copytree(sentence_data(*CLASSES)["data"], tmp_path / "data")), tmp_path / "run"
    labels = data / "label" / "valid.bin"
    labels.write_bytes(labels.read_bytes()[:-2])
    recipe = ["--config-dir", str(RECIPES), "--config-name", "rte", f"task.data={data}", f"model.pretrained={encoder}"]
    task = [str(data), "--user-dir", "fairseq_distil", "--task", "sentence_prediction", "--num-classes", "2", "--cpu"]
    task += ["--criterion", "sentence_prediction_metrics"]
    model = ["--arch", "distil_encoder", "--pretrained", encoder, "--save-dir", str(save_dir), "--optimizer", "adam"]
    for command, arguments in {
        "fairseq-train": [*task, *model, "--max-tokens", "100"],
        "fairseq-hydra-train": [*recipe, f"checkpoint.save_dir={save_dir}", "common.cpu=true"],
        "fairseq-validate": [*task, "--path", str(teacher.save_dir / "checkpoint_last.pt"), "--batch-size", "5"],
    }.items():
        run = commands.run(command, *arguments, save_dir=save_dir)
        assert run.exit_status > 0 and "Traceback" not in run.stdout + run.stderr
        (told,) = [line for line in run.stderr.splitlines() if str(labels) in line]  # which Hydra frames
        assert told.removeprefix("error: ").startswith(f"data {labels}: 90 bytes, but its index describes 92")


def test_regression_with_fairseqs_own_criterion(fine_tune: Callable[..., Run]) -> None:
    run = fine_tune(
        criterion="sentence_prediction",
        report_pearson_and_spearman=True,
        best_checkpoint_metric="pearson_and_spearman",
    )
    first, *_, last = run.logged("valid")
    assert float(last["valid_loss"]) < float(first["valid_loss"])
    assert float(last["valid_pearson"]) > 60


@pytest.mark.parametrize(
    ("classes", "report"), [(CLASSES, "report_acc_and_f1"), ((), "report_pearson_and_spearman")], ids=str
)
def test_metrics_of_several_workers_are_those_of_one(
    fine_tune: Callable[..., Run], classes: tuple[str, ...], report: str
) -> None:
    """23 rows in 5 batches: in the last step of validation one worker has none, and repeats its first."""
    options = {"criterion": "sentence_prediction_metrics", report: True, "best_checkpoint_metric": "loss"}
    options |= {"lr": 1e-9, "max_update": 1, "batch_size_valid": 5}
    alone, together = (fine_tune(*classes, workers=workers, **options).logged("valid")[0] for workers in (1, 2))
    names = {name for name in alone if name.startswith("valid_")} - {"valid_wps", "valid_wpb", "valid_bsz"}
    assert len(names) > 4
    for name in names:
        assert float(together[name]) == pytest.approx(float(alone[name]), abs=0.002), name


def test_regression_is_distilled_by_the_recipe(
    fine_tune: Callable[..., Run],
    commands: ForkedCommands,
    encoder: str,
    sentence_data: Callable,
    tmp_path: Path,
) -> None:
    teacher = fine_tune(criterion="sentence_prediction_metrics", best_checkpoint_metric="loss", max_update=20)
    arguments = ["--config-dir", str(RECIPES), "--config-name", "stsb", f"task.data={sentence_data()['data']}"]
    arguments += [f"model.pretrained={encoder}", f"checkpoint.save_dir={tmp_path}", "common.cpu=true"]
    arguments += ["model._name=teacher_student", f"+model.teacher={teacher.save_dir}/checkpoint_last.pt"]
    arguments += ["criterion._name=sentence_prediction_distillation", "+criterion.teacher_weight=1"]
    arguments += ["optimization.lr=[0.01]", "optimization.max_update=20", "lr_scheduler.warmup_updates=1"]
    arguments += [f"common.tensorboard_logdir={tmp_path}", "dataset.num_workers=0", "dataset.batch_size=16"]
    run = commands.run("fairseq-hydra-train", *arguments, save_dir=tmp_path).assert_succeeded()
    scalars = run.scalars("valid")
    assert {"pearson", "spearman", "pearson_and_spearman", "task_loss", "soft_target_loss"} <= scalars.keys()
    first, *_, last = scalars["soft_target_loss"].values()
    assert last < first
    assert run.checkpoint("checkpoint_best.pt")["task_state"]["classification"] == {"problem_type": "regression"}


@pytest.fixture(scope="module")
def cached_student(fine_tune: Callable[..., Run], teacher: Run, tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """Runs a student of the teacher without dropout, by two workers, with options by keyword."""

    def run(**changed: Any) -> Run:
        model = {"arch": "teacher_student", "teacher": teacher.save_dir / "checkpoint_best.pt"}
        options = {"criterion": "sentence_prediction_distillation", "best_checkpoint_metric": "accuracy"}
        options |= {"dropout": 0.0, "attention_dropout": 0.0, "max_update": 12, "log_interval": 1, "batch_size": 8}
        return fine_tune(*CLASSES, workers=2, **model, **options | changed)

    return run


def losses(*runs: Run) -> list[float]:
    """Of each update of runs that go on one from the other, and of the last validation."""
    updates = [record for run in runs for record in run.logged("train_inner")]
    names = ("num_updates", "loss", "task_loss", "soft_target_loss")
    validated = [runs[-1].logged("valid")[-1][f"valid_{name}"] for name in ("loss", "soft_target_loss")]
    return [float(value) for value in [*(record[name] for record in updates for name in names), *validated]]


@pytest.mark.slow
def test_stored_outputs_of_the_teacher_train_alike(cached_student: Callable[..., Run], tmp_path: Path) -> None:
    """Two workers with data workers compute them, and read them when they go on."""
    plain = cached_student()
    folder = {"teacher_cache": tmp_path / "outputs", "num_workers": 1}
    first = cached_student(max_update=8, **folder)
    assert first.stdout.count("bytes written") == 2
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["train.teacher", "valid.teacher"]
    rest = cached_student(save_dir=first.save_dir, **folder)
    assert "teacher outputs" not in rest.stdout
    assert len(losses(plain)) == 12 * 4 + 2
    assert losses(first, rest) == pytest.approx(losses(plain), abs=0.002)
