"""The recipes of question answering train at a tiny size, and tell the scores in validation."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq import tasks
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from omegaconf import DictConfig

FOLDER = Path(__file__).parents[2] / "examples" / "squad" / "config"
TINY = {"encoder_embed_dim": 12, "encoder_attention_heads": 4, "max_positions": 19}


@pytest.fixture(scope="module")
def fine_tuned_teacher(setup_run: Callable, squad_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = setup_run(
        {"_name": "distil_encoder", "encoder_layers": 2, **TINY},
        {"_name": "question_answering"},
        _name="question_answering",
        data=str(squad_data),
    )
    return run.save_checkpoint(tmp_path_factory.mktemp("teacher") / "fine_tuned.pt")


@pytest.fixture
def compose_tiny(
    compose_recipe: Callable, squad_data: Path, teacher_path: str, fine_tuned_teacher: str, tmp_path: Path
) -> Callable[[str], DictConfig]:
    def compose(name: str) -> DictConfig:
        teacher = [f"model.teacher={fine_tuned_teacher}"] if name == "squad_distillation" else []
        settings = {
            "task.data": squad_data,
            "task.autocast_dtype": "none",
            "model.pretrained": teacher_path,
            "checkpoint.save_dir": tmp_path,
            "common.cpu": True,
        }
        return compose_recipe(FOLDER / f"{name}.yaml", *(f"{key}={value}" for key, value in settings.items()), *teacher)

    return compose


@pytest.mark.parametrize("name", ["squad", "squad_distillation"])
def test_trains_at_a_tiny_size(compose_tiny: Callable, name: str) -> None:
    cfg = compose_tiny(name)
    assert (cfg.checkpoint.best_checkpoint_metric, cfg.checkpoint.maximize_best_checkpoint_metric) == ("f1", True)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    trainer = Trainer(cfg, task, model, task.build_criterion(cfg.criterion))
    assert model.masked_lm_head is None and model.config.layers == 3
    for split in ("train", "valid"):
        task.load_dataset(split)
    dataset = task.dataset("train")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    trainer.lr_step_update()
    trainer.set_num_updates(1)
    logged = trainer.train_step([dataset.collater([dataset[index] for index in range(5)])])
    assert math.isfinite(logged["loss"]) and ("soft_target_loss" in logged) == (name == "squad_distillation")
    assert all(not before[key].equal(tensor) for key, tensor in model.state_dict().items() if key.endswith("weight"))
    with metrics.aggregate(new_root=True) as scores:
        trainer.valid_step(dataset.collater([dataset[index] for index in range(5)]))
    assert 0 <= scores["exact_match"].fn(scores) <= scores["f1"].fn(scores) <= 100


def test_the_two_differ_in_the_teacher_alone(compose_tiny: Callable) -> None:
    plain, distilled = compose_tiny("squad"), compose_tiny("squad_distillation")
    for group in ("task", "dataset", "optimizer", "lr_scheduler", "optimization", "checkpoint"):
        assert plain[group] == distilled[group], group
