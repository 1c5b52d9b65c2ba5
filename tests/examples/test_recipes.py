"""Every recipe composes as fairseq-hydra-train composes it, and trains at a tiny size."""

import math
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fairseq import tasks
from fairseq.trainer import Trainer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

ROOT = Path(__file__).parents[2]
FILES = sorted(ROOT.glob("examples/*/config/*.yaml"))
TINY_TEACHER = {"encoder_layers": 12, "encoder_embed_dim": 12, "encoder_attention_heads": 4, "max_positions": 17}
TINY = [
    "common.cpu=true",
    "task.tokens_per_sample=17",
    "task.autocast_dtype=none",
    "++model.encoder_embed_dim=12",
    "++model.encoder_attention_heads=4",
    "++model.max_positions=17",
    "distributed_training.distributed_world_size=1",
    "optimization.update_freq=[1]",
]


def shared_files(path: Path) -> list[Path]:
    """The files that a recipe names in its defaults."""
    names = OmegaConf.load(path).get("defaults", [])
    return [path.with_name(f"{name}.yaml") for name in names if name != "_self_"]


def launch_lines(path: Path) -> list[str]:
    """The commands in the comment at the head of a recipe; a file that recipes share has none."""
    head = re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))[0]
    return re.findall(r"(?m)^ *(fairseq-hydra-train .*)$", re.sub(r"(?m)^# ?", "", head).replace("\\\n", " "))


RECIPES = [path for path in FILES if launch_lines(path) and path.parts[-3] != "glue"]  # see test_glue_recipes.py
every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys, with dots, and values of a configuration as its file has it."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def own_settings(path: Path) -> dict[str, Any]:
    settings = dict(leaves(OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
    settings.pop("defaults", None)
    return settings


def launch_line(path: Path) -> list[str]:
    """The command at the head of a recipe."""
    (command,) = launch_lines(path)
    return shlex.split(command)


def sets(recipe: Path, key: str) -> bool:
    return any(key in own_settings(path) for path in (recipe, *shared_files(recipe)))


PRETRAINING = [path for path in RECIPES if not sets(path, "model.pretrained")]  # fine-tuning has its own tests
pretraining_recipe = pytest.mark.parametrize("recipe", PRETRAINING, ids=lambda path: f"{path.parts[-3]}-{path.stem}")


@pytest.fixture(scope="module")
def tiny_teacher(setup_run: Callable, tmp_path_factory: pytest.TempPathFactory) -> str:
    """As deep as BERT-base."""
    path = tmp_path_factory.mktemp("deep_teacher") / "teacher.pt"
    return setup_run({"_name": "distil_encoder", **TINY_TEACHER}).save_checkpoint(path)


@pytest.fixture
def tiny_cfg(compose_recipe: Callable, data: str, tiny_teacher: str, tmp_path: Path, recipe: Path) -> DictConfig:
    """A recipe of pre-training at a tiny size."""
    teacher = [f"model.teacher={tiny_teacher}"] if sets(recipe, "model.teacher") else []
    return compose_recipe(recipe, f"task.data={data}", f"checkpoint.save_dir={tmp_path}", *teacher, *TINY)


def test_all_recipes_are_found() -> None:
    found = {f"{path.parts[-3]}/{path.stem}" for path in RECIPES}
    of_quickstart = {"quickstart/teacher", "quickstart/student", "quickstart/no_teacher"}
    assert found >= of_quickstart | {"distilbert/distilbert", "minilm/minilm", "squad/squad"}
    assert found >= {"distilbert/recommended", "distilbert/recommended_for_fine_tuning"}
    without_launch_line = {path for path in FILES if not launch_lines(path)}
    assert without_launch_line == {shared for path in FILES for shared in shared_files(path)} - set(RECIPES)


@pretraining_recipe
def test_trains_at_a_tiny_size(tiny_cfg: DictConfig) -> None:
    task = tasks.setup_task(tiny_cfg.task)
    model = task.build_model(tiny_cfg.model)
    trainer = Trainer(tiny_cfg, task, model, task.build_criterion(tiny_cfg.criterion))
    assert (model.config.width, model.config.vocabulary_size) == (12, 46)
    assert model.config.layers == (tiny_cfg.model.encoder_layers or 6)
    task.load_dataset("train")
    dataset = task.dataset("train")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer.lr_step_update()
    trainer.set_num_updates(1)
    logged = trainer.train_step([dataset.collater([dataset[index] for index in range(5)])])
    assert math.isfinite(logged["loss"])
    assert trainer.get_num_updates() == 2
    assert any(not before[name].equal(tensor) for name, tensor in model.state_dict().items())


@pretraining_recipe
def test_every_sample_is_in_a_batch(tiny_cfg: DictConfig) -> None:
    """fairseq leaves the last batch out where its size is no multiple of what is required, by default of 8."""
    task = tasks.setup_task(tiny_cfg.task)
    task.load_dataset("valid")
    dataset, settings = task.dataset("valid"), tiny_cfg.dataset
    sizes = (settings.max_tokens_valid, settings.batch_size_valid, None, False, settings.required_batch_size_multiple)
    batches = task.get_batch_iterator(dataset, *sizes).frozen_batches
    assert sum(map(len, batches)) == len(dataset) and len(dataset) % 8 > 0


@every_recipe
def test_launch_line_gives_all_that_the_recipe_leaves_open(compose_recipe: Callable, recipe: Path) -> None:
    command, *arguments = launch_line(recipe)
    assert command == "fairseq-hydra-train"
    folder = recipe.parent.relative_to(ROOT)
    assert arguments[:4] == ["--config-dir", str(folder), "--config-name", recipe.stem]
    cfg = compose_recipe(recipe, *arguments[4:])
    own = {key for path in (recipe, *shared_files(recipe)) for key in own_settings(path)}
    assert OmegaConf.missing_keys(cfg) & own == set()
    overridden = {override.split("=")[0] for override in arguments[4:]}
    left_open = {key for path in (recipe, *shared_files(recipe)) for key, v in own_settings(path).items() if v == "???"}
    assert left_open <= overridden <= own


@every_recipe
def test_settings_reach_the_composed_configuration(compose_recipe: Callable, recipe: Path) -> None:
    """fairseq's schema, which is merged in, has other defaults."""
    cfg = compose_recipe(recipe)
    for path in (recipe, *shared_files(recipe)):
        for key, value in own_settings(path).items():
            if not key.startswith("hydra.") and not str(value).startswith(("${", "???")):
                assert OmegaConf.select(cfg, key) == value, key


@every_recipe
def test_no_key_is_set_twice(recipe: Path) -> None:
    """What a recipe and the file that it shares both set, the latter would silently win."""
    for shared in shared_files(recipe):
        assert own_settings(recipe).keys() & own_settings(shared).keys() == set()


@pytest.mark.parametrize("group", ["common", "task", "model", "criterion", "optimizer", "lr_scheduler", "optimization"])
@every_recipe
def test_unknown_keys_are_refused(compose_recipe: Callable, tmp_path: Path, recipe: Path, group: str) -> None:
    """So a recipe that composes has none."""
    files = (recipe, *shared_files(recipe))
    for changed in files:
        for path in files:
            (tmp_path / path.name).write_bytes(path.read_bytes())
        settings = OmegaConf.load(changed)
        OmegaConf.update(settings, f"{group}.no_such_key", 1, force_add=True)
        (tmp_path / changed.name).write_text("# @package _global_\n" + OmegaConf.to_yaml(settings), encoding="utf-8")
        with pytest.raises((HydraException, OmegaConfBaseException)) as error:
            compose_recipe(tmp_path / recipe.name)
        assert "no_such_key" in f"{error.value} {error.value.__cause__}"


def test_changes_for_other_machines_keep_the_batch_of_4096(compose_recipe: Callable) -> None:
    folder = ROOT / "examples" / "distilbert"
    changes = re.findall(r"\| `([a-z_]+\.[^`]+)` \|", (folder / "README.md").read_text(encoding="utf-8"))
    for change in ["", *changes]:
        cfg = compose_recipe(folder / "config" / "distilbert.yaml", *change.split())
        gpus = cfg.distributed_training.distributed_world_size
        assert gpus * cfg.dataset.batch_size * cfg.optimization.update_freq[0] == 4096, change
