"""Tasks of one's own: what their data decide, and data that do not fit."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_distil.errors import UserError
from fairseq_distil.evaluation.retention import find_tasks, own_task
from fairseq_distil.evaluation.retention.downstream_tasks import EXAMPLES
from fairseq_distil.evaluation.retention.own_tasks import sample_sizes
from fairseq_distil.evaluation.retention.prepared_tasks import prepare_task, sample_limits


def test_classes_and_updates(sentence_data: Callable) -> None:
    """64 rows are 2 batches of 32, 13 of 5; 3 epochs, a warm-up over 6 %."""
    data = Path(sentence_data("bad", "fair", "good")["data"])
    task = own_task("reviews", data, ["optimization.lr=[1e-3]"])
    assert (task.name, task.metric, task.paper, task.data) == ("reviews", "accuracy", None, data)
    updates = ("optimization.max_update=6", "lr_scheduler.warmup_updates=0")
    assert task.settings == ("task.num_classes=3", *updates)
    changes = ["dataset.batch_size=5", "optimization.max_epoch=2"]
    updates = ("optimization.max_update=26", "lr_scheduler.warmup_updates=2")
    assert own_task("reviews", data, changes).settings == ("task.num_classes=3", *updates)


@pytest.mark.parametrize(
    ("changes", "updates"),
    [
        (["optimization.update_freq=[2]"], 3),  # of 2 batches each
        (["dataset.batch_size=5", "optimization.update_freq=[4]"], 12),  # 4 updates an epoch, the last of 1 batch
        (["++dataset.batch_size=5", "+optimization.update_freq=[4]"], 12),
        (["dataset.batch_size=5", "optimization.update_freq=[1,2]", "optimization.max_epoch=4"], 13 + 3 * 7),
        (["dataset.batch_size=5", "dataset.batch_size=64"], 3),  # the last wins
        (["dataset.batch_size_valid=5"], 6),
    ],
)
def test_what_decides_the_updates(sentence_data: Callable, changes: list[str], updates: int) -> None:
    task = own_task("reviews", Path(sentence_data("bad", "fair", "good")["data"]), changes)
    assert task.settings[1] == f"optimization.max_update={updates}"


@pytest.mark.parametrize(
    "change",
    [
        "dataset.batch_size=0",
        "optimization.max_epoch=x",
        "optimization.max_epoch=0",
        "optimization.max_epoch=1.5",
        "optimization.update_freq=2",
        "optimization.update_freq=[0]",
    ],
)
def test_updates_that_cannot_be_counted(sentence_data: Callable, change: str) -> None:
    data = Path(sentence_data("bad", "good")["data"])
    with pytest.raises(UserError) as raised:
        own_task("reviews", data, ["optimization.lr=[1]", change])
    assert str(raised.value) == f"--override {change}: expected whole numbers of at least 1"


def test_numbers(sentence_data: Callable) -> None:
    task = own_task("ratings", Path(sentence_data()["data"]), [])
    assert (task.metric, task.details) == ("pearson_and_spearman", ("pearson", "spearman"))
    assert task.settings[:4] == (
        "task.num_classes=1",
        "criterion.regression_target=true",
        "criterion.report_pearson_and_spearman=true",
        "checkpoint.best_checkpoint_metric=pearson_and_spearman",
    )


@pytest.mark.parametrize("classes", [("bad", "good"), ()], ids=["classes", "numbers"])
def test_the_recipe_composes(compose_recipe: Callable, sentence_data: Callable, classes: tuple[str, ...]) -> None:
    data = sentence_data(*classes)
    task = own_task("mine", Path(data["data"]), [])
    rest = [f"task.data={task.data}", "model.pretrained=x", "checkpoint.save_dir=x"]
    cfg = compose_recipe(EXAMPLES / task.recipe, *task.settings, *rest)
    assert (cfg.task.num_classes, cfg.criterion.regression_target) == (data["num_classes"], not classes)
    assert cfg.checkpoint.best_checkpoint_metric == task.metric
    assert cfg.criterion.report_pearson_and_spearman == (not classes)
    assert cfg.lr_scheduler.total_num_update == cfg.optimization.max_update == 6


def test_its_data_are_used_where_they_are(sentence_data: Callable, data_with_tokenizer: Path, tmp_path: Path) -> None:
    task = own_task("mine", Path(sentence_data("bad", "good")["data"]), [])
    assert prepare_task(task, None, None, data_with_tokenizer, tmp_path, positions=19) == task.data
    assert list(tmp_path.iterdir()) == []


def test_samples_longer_than_the_shortest_encoder(
    sentence_data: Callable, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    """Texts of 2 to 6 and of 2 words, with <s> and two </s>."""
    task = own_task("mine", Path(sentence_data("bad", "good")["data"]), [])
    assert sample_sizes(task.data, "train").max() == 11
    assert sample_limits(task, positions=19) == {"longest_sample": 11}
    prepare_task(task, None, None, data_with_tokenizer, tmp_path, positions=11)
    message = f"--own mine={task.data}: a sample of train has 11 tokens, .* 10 positions; .* --max-tokens 10"
    with pytest.raises(UserError, match=message):
        prepare_task(task, None, None, data_with_tokenizer, tmp_path, positions=10)


def test_another_vocabulary(sentence_data: Callable, write_data: Callable, tmp_path: Path) -> None:
    task = own_task("mine", Path(sentence_data("bad", "good")["data"]), [])
    other = Path(write_data(tmp_path / "other", {}, ["word1", "word0"]))
    with pytest.raises(UserError, match=f"--own mine={task.data} has another dictionary than the encoders' data"):
        prepare_task(task, None, None, other, tmp_path, positions=19)


def test_which_tasks(glue: Path, sentence_data: Callable) -> None:
    task = own_task("mine", Path(sentence_data("bad", "good")["data"]), [])
    assert [found.name for found in find_tasks(glue, None, None, [task])] == ["RTE", "mine"]
    assert find_tasks(None, None, None, [task]) == find_tasks(glue, None, ["mine"], [task]) == [task]
    with pytest.raises(UserError, match="--tasks: no task other; choose from CoLA, .*, SQuAD, mine"):
        find_tasks(None, None, ["other"], [task])


def test_a_name_of_the_paper_is_taken(sentence_data: Callable) -> None:
    with pytest.raises(UserError, match="RTE is a task of the paper; choose another name"):
        own_task("RTE", Path(sentence_data("bad", "good")["data"]), [])


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("label", "not a directory that scripts/prepare_glue.py wrote; prepare it first"),
        ("input1/train.bin", "input1/train.bin: no such file"),
    ],
)
def test_data_that_are_not_prepared(sentence_data: Callable, tmp_path: Path, missing: str, message: str) -> None:
    data = shutil.copytree(sentence_data("bad", "good")["data"], tmp_path / "mine")
    path = data / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message):
        own_task("mine", data, [])
