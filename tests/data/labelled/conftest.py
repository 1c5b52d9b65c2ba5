"""A directory as ``prepare_data.py`` leaves it, and the command on files that a test writes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from fairseq import tasks
from fairseq.data import Dictionary
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf

from fairseq_distil.data.labelled.prepare_command import main
from fairseq_distil.data.symbol_dictionary import build_dictionary
from fairseq_distil.data.tokenizers import Tokenizer, WordPieceTokenizer


class Result(NamedTuple):
    """What the command printed, and its status."""

    status: int
    stdout: str
    stderr: str


def save_pretraining_data(tokenizer: Tokenizer, directory: Path) -> Dictionary:
    """Write ``dict.txt`` and the tokeniser; return the dictionary as tasks have it."""
    directory.mkdir()
    dictionary = build_dictionary(tokenizer)
    dictionary.save(str(directory / "dict.txt"))
    tokenizer.save(directory)
    dictionary.add_symbol("<mask>")
    return dictionary


@pytest.fixture
def pretraining(wordpiece: WordPieceTokenizer, tmp_path: Path) -> Path:
    save_pretraining_data(wordpiece, tmp_path / "pretraining")
    return tmp_path / "pretraining"


@pytest.fixture
def prepare(pretraining: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> Callable[..., Result]:
    """Runs the command with ``tmp_path/out`` as the output."""

    def run(*arguments: str | Path, data: Path = pretraining) -> Result:
        common = ["--data", data, "--output", tmp_path / "out"]
        status = main([str(argument) for argument in (*common, *arguments)])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def load_task() -> Callable[..., FairseqTask]:
    """fairseq's own task for sentences on a prepared directory, as the recipes set it."""

    def load(data: Path, num_classes: int, regression: bool = False) -> FairseqTask:
        settings = {
            "task": {"_name": "sentence_prediction", "data": str(data), "num_classes": num_classes, "init_token": 0},
            "criterion": {"_name": "sentence_prediction", "regression_target": regression},
        }
        settings["task"]["no_shuffle"] = True
        cfg = OmegaConf.merge(OmegaConf.structured(FairseqConfig), settings)
        add_defaults(cfg)
        return tasks.setup_task(cfg.task)

    return load
