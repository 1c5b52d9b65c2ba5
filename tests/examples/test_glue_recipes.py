"""Every recipe of examples/glue fine-tunes a tiny encoder, and chooses its checkpoint by the task's own metric."""

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq import tasks
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from fairseq_distil.data.labelled.glue import GLUE_TASKS

from .test_recipes import launch_line, own_settings

FOLDER = Path(__file__).parents[2] / "examples" / "glue" / "config"
METRICS = {
    "CoLA": "mcc",
    "SST-2": "accuracy",
    "MRPC": "acc_and_f1",
    "STS-B": "pearson_and_spearman",
    "QQP": "acc_and_f1",
    "MNLI": "accuracy",
    "QNLI": "accuracy",
    "RTE": "accuracy",
    "WNLI": "accuracy",
}


def recipe_of(task: str) -> Path:
    return FOLDER / f"{task.lower().replace('-', '')}.yaml"


def test_every_task_has_a_recipe() -> None:
    others = {FOLDER / "own.yaml", FOLDER / "shared.yaml"}
    assert {recipe_of(task) for task in GLUE_TASKS} | others == set(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize(
    ("task", "distil"), [*((task, False) for task in GLUE_TASKS), *((task, True) for task in ("STS-B", "RTE", "MNLI"))]
)
def test_trains_at_a_tiny_size(
    compose_recipe: Callable,
    sentence_data: Callable,
    setup_run: Callable,
    teacher_path: str,
    tmp_path: Path,
    task: str,
    distil: bool,
) -> None:
    data = sentence_data(*(GLUE_TASKS[task].classes or ()))
    overrides = ["common.cpu=true", f"model.pretrained={teacher_path}", f"checkpoint.save_dir={tmp_path}"]
    if distil:
        criterion = {"_name": "sentence_prediction", "regression_target": GLUE_TASKS[task].classes is None}
        teacher = setup_run({"_name": "distil_encoder", "pretrained": teacher_path}, criterion, **data)
        path = teacher.save_checkpoint(tmp_path / "teacher.pt")
        overrides += ["model._name=teacher_student", f"+model.teacher={path}"]
        overrides += ["criterion._name=sentence_prediction_distillation", "+criterion.teacher_weight=0.5"]
    recipe = recipe_of(task)
    command, *arguments = launch_line(recipe)
    assert command == "fairseq-hydra-train"
    assert arguments[:4] == ["--config-dir", "examples/glue/config", "--config-name", recipe.stem]
    cfg = compose_recipe(recipe, *arguments[4:], f"task.data={data['data']}", *overrides)
    changed = {override.lstrip("+").split("=")[0] for override in [*arguments[4:], *overrides]}
    for path in (recipe, FOLDER / "shared.yaml"):
        for key, value in own_settings(path).items():
            if key not in changed and not key.startswith("hydra.") and not str(value).startswith("${"):
                assert OmegaConf.select(cfg, key) == value, key
    fairseq_task = tasks.setup_task(cfg.task)
    model = fairseq_task.build_model(cfg.model)
    trainer = Trainer(cfg, fairseq_task, model, fairseq_task.build_criterion(cfg.criterion))
    for split in ("train", "valid"):
        fairseq_task.load_dataset(split)
    dataset = fairseq_task.dataset("valid")
    sample = dataset.collater([dataset[index] for index in range(23)])
    trainer.lr_step_update()
    assert math.isfinite(trainer.train_step([sample])["loss"])
    with metrics.aggregate(new_root=True) as aggregator:
        trainer.valid_step(sample)
    assert cfg.checkpoint.best_checkpoint_metric == METRICS[task]
    assert METRICS[task] in aggregator.get_smoothed_values()
    assert cfg.checkpoint.maximize_best_checkpoint_metric
    assert model.masked_lm_head is None and model.max_positions() == 19


@pytest.mark.parametrize("task", GLUE_TASKS)
def test_updates_are_whole_epochs_after_a_warm_up_of_6_percent(task: str) -> None:
    own, shared = own_settings(recipe_of(task)), own_settings(FOLDER / "shared.yaml")
    assert own.keys() & shared.keys() == set()  # what both set, the shared file would silently win
    comment = re.search(r"(\d) epochs of ([\d,]+) updates, for ([\d,]+) rows", recipe_of(task).read_text())
    epochs, updates, rows = (int(number.replace(",", "")) for number in comment.groups())
    assert updates == math.ceil(rows / shared["dataset.batch_size"])
    assert own["optimization.max_update"] == epochs * updates
    assert shared["lr_scheduler.total_num_update"] == "${optimization.max_update}"
    assert own["lr_scheduler.warmup_updates"] == pytest.approx(0.06 * epochs * updates, abs=0.6)


def test_mnli_is_validated_on_both_development_sets() -> None:
    splits = [split for split, _ in GLUE_TASKS["MNLI"].files if split.startswith("valid")]
    assert own_settings(recipe_of("MNLI"))["dataset.valid_subset"].split(",") == splits == ["valid", "valid_mismatched"]
