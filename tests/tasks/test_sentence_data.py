"""fairseq's task for sentences reads data that is whole, or tells in one line what is not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fairseq import tasks
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from fairseq_distil.errors import UserError


@pytest.fixture
def load(tmp_path: Path, sentence_data: Callable[..., dict]) -> Callable[..., FairseqTask]:
    """Sets the task up and loads a split, of a copy that was damaged."""

    def load_damaged(
        damage: Callable[[Path], object], *classes: str, split: str = "train", combine: bool = True
    ) -> FairseqTask:
        task = sentence_data(*classes)
        data = Path(shutil.copytree(task["data"], tmp_path / "data"))
        damage(data)
        criterion = {"_name": "sentence_prediction_metrics", "regression_target": not classes}
        settings = {"task": {**task, "data": str(data)}, "criterion": criterion}
        cfg = OmegaConf.merge(OmegaConf.structured(FairseqConfig), settings)
        add_defaults(cfg)
        loaded = tasks.setup_task(cfg.task)
        loaded.load_dataset(split, combine=combine)
        return loaded

    return load_damaged


def with_bytes(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def with_ids(path: Path, place: int, value: int) -> None:
    ids = np.fromfile(path, np.uint16)
    ids[place] = value
    ids.tofile(path)


def copy_split(folder: Path, source: str, target: str) -> None:
    for ending in ("idx", "bin"):
        shutil.copy(folder / f"{source}.{ending}", folder / f"{target}.{ending}")


def fewer_rows(folder: Path) -> None:
    copy_split(folder, "valid", "train")


@pytest.mark.parametrize("split", ["train", "valid"])
@pytest.mark.parametrize("classes", [("no", "yes"), ()], ids=["classes", "numbers"])
def test_whole_data_are_loaded(load: Callable, split: str, classes: tuple[str, ...]) -> None:
    dataset = load(lambda data: None, *classes, split=split).dataset(split)
    assert len(dataset) == {"train": 64, "valid": 23}[split]
    batch = dataset.collater([dataset[3], dataset[5]])
    assert batch["net_input"]["src_tokens"][:, 0].tolist() == [0, 0] and len(batch["target"]) == 2


def test_a_split_without_labels_is_loaded(load: Callable) -> None:
    def remove_labels(data: Path) -> None:
        for path in (data / "label").glob("valid.*"):
            path.unlink()

    dataset = load(remove_labels, "no", "yes", split="valid").dataset("valid")
    assert "target" not in dataset[0] and len(dataset) == 23


def test_parts_of_a_split(load: Callable) -> None:
    def add_part(data: Path) -> None:
        for name in ("input0", "input1", "label"):
            copy_split(data / name, "valid", "train1")

    assert len(load(add_part, "no", "yes").dataset("train")) == 64 + 23


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: with_ids(data / "input0/train.bin", 3, 60000), "input0/train.bin: holds id 60000, but dict.txt"),
        (lambda data: with_ids(data / "input1/train.bin", 3, 60000), "input1/train.bin: holds id 60000, but dict.txt"),
        (lambda data: with_ids(data / "label/train.bin", 4, 50), "label/train.bin: holds id 50, but dict.txt"),
        (lambda data: with_ids(data / "label/train.bin", 4, 1), "the label of row 2 is '<pad>', which is not one of"),
        (lambda data: with_bytes(data / "input0/train.bin", lambda c: c[:-40]), "input0/train.bin: .* bytes, but its"),
        (lambda data: with_bytes(data / "input1/train.idx", lambda c: c[:-40]), "input1/train.idx: damaged or trunc"),
        (
            lambda data: with_bytes(data / "input0/train.idx", lambda c: c[:-8] + (10**12).to_bytes(8, "little")),
            "input0/train.idx: an item is empty, or not where",
        ),
        (lambda data: (data / "input1/train.bin").unlink(), "input1/train.bin: no such file"),
        (lambda data: (data / "label/train.idx").unlink(), "label/train.idx: no such file"),
        (lambda data: fewer_rows(data / "input1"), "train has 64 rows in input0, but 23 in input1"),
        (lambda data: fewer_rows(data / "label"), "train has 64 rows in input0, but 23 in label"),
        (
            lambda data: with_bytes(data / "input0/dict.txt", lambda c: c + c.splitlines(keepends=True)[0]),
            "input0/dict.txt: not a fairseq dictionary of 'symbol count' lines: Duplicate",
        ),
        (
            lambda data: (data / "label/dict.txt").write_bytes(b"a" * 10**7 + b" 1\nb\0 2\n"),
            "label/dict.txt: not a fairseq dictionary: a symbol has 1 to 1,000 characters",
        ),
        (lambda data: (data / "label/dict.txt").unlink(), "label/dict.txt: no such file"),
        (shutil.rmtree, "input0/dict.txt: no such file; prepare the data first"),
    ],
)
def test_what_is_wrong_with_the_data_is_told(load: Callable, damage: Callable, message: str) -> None:
    with pytest.raises(UserError, match=f"^data .*{message}") as found:
        load(damage, "no", "yes")
    assert len(str(found.value)) < 2000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content + b"1.5\n", "train has 64 rows in input0, but 65 in label"),
        (lambda content: content[:-2] + b"x\n", r"label/train.label: row 63: label '.*x' is not a finite number"),
        (lambda content: b"1 2\n" + content, "label/train.label: row 0 has 2 numbers, expected 1"),
    ],
)
def test_numbers_that_are_none(load: Callable, change: Callable, message: str) -> None:
    with pytest.raises(UserError, match=f"^data .*{message}"):
        load(lambda data: with_bytes(data / "label/train.label", change))
