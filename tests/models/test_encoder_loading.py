"""Teachers that cannot be one: each gets one line that names the file and what is wrong with it."""

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fairseq_distil.errors import UserError


@pytest.fixture
def refuse(student_run: Callable) -> Callable[[Path], str]:
    """Uses a file as teacher, and returns why it is refused."""

    def refusal(path: Path | str) -> str:
        with pytest.raises(UserError) as error:
            student_run(teacher=str(path))
        assert str(error.value).startswith(f"teacher {path}")
        assert "\n" not in str(error.value)
        return str(error.value).removeprefix(f"teacher {path}")

    return refusal


class Arbitrary:
    """Unpickling it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.trace, "executed")


def test_missing(refuse: Callable, tmp_path: Path) -> None:
    assert refuse(tmp_path / "absent.pt").startswith(
        ": no such file; give --teacher (model.teacher) the path of a check"
    )
    assert refuse(tmp_path).startswith(": no such file")


@pytest.mark.parametrize("kept", [0, 1, 100, 3000, -1])
def test_truncated(refuse: Callable, teacher_path: str, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "truncated.pt"
    path.write_bytes(Path(teacher_path).read_bytes()[:kept])
    assert refuse(path).startswith(": not a checkpoint that can be loaded safely, or damaged")


@pytest.mark.parametrize("content", [b"not a checkpoint\n", b"\x80\x02", b"PK\x03\x04", bytes(range(256)), b"(dp0\n."])
def test_something_else(refuse: Callable, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    assert refuse(path).startswith(": not a ")


def test_arbitrary_objects_are_refused_and_not_executed(refuse: Callable, teacher_path: str, tmp_path: Path) -> None:
    state = torch.load(teacher_path)
    trace, path = tmp_path / "trace", tmp_path / "unsafe.pt"
    torch.save({**state, "extra_state": Arbitrary(trace)}, path)
    assert refuse(path).startswith(": holds objects that safe loading refuses, the first of them ")
    path.write_bytes(pickle.dumps(Arbitrary(trace)))
    assert refuse(path).startswith(": not a checkpoint that can be loaded safely, or damaged")
    assert not trace.exists()


@pytest.mark.parametrize(
    "state",
    [{"encoder.weight": torch.zeros(3)}, {}, [torch.zeros(3)], torch.zeros(3), 5, {"model": torch.zeros(3)}],
    ids=str,
)
def test_files_of_other_programs(refuse: Callable, tmp_path: Path, state: object) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(state, path)
    assert refuse(path).startswith(": not a ")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"_name": "transformer_lm"}, "transformer_lm"),
        (argparse.Namespace(_name="roberta_base"), "roberta_base"),  # roberta has no configuration class
        ({}, "unknown"),
    ],
)
def test_other_models(refuse: Callable, teacher_path: str, tmp_path: Path, model: object, name: str) -> None:
    state = torch.load(teacher_path)
    torch.save({**state, "cfg": {"model": model}}, tmp_path / "other.pt")
    assert refuse(tmp_path / "other.pt") == f": holds a model of kind {name}, expected a distil_encoder"


def test_weights_that_do_not_fit_their_configuration(refuse: Callable, teacher_path: str, tmp_path: Path) -> None:
    state = torch.load(teacher_path)
    del state["model"]["encoder.layers.2.output_layer_norm.bias"]
    torch.save(state, tmp_path / "incomplete.pt")
    assert "its weights do not fit its own configuration" in refuse(tmp_path / "incomplete.pt")
    del state["model"]["encoder.embeddings.word_embeddings.weight"]
    torch.save(state, tmp_path / "no_words.pt")
    assert "its weights do not fit its own configuration" in refuse(tmp_path / "no_words.pt")


def test_other_dictionary(setup_run: Callable, write_data: Callable, teacher_path: str, tmp_path: Path) -> None:
    symbols = [f"word{index}" for index in range(41)]
    symbols[7], symbols[8] = symbols[8], symbols[7]
    data = write_data(tmp_path / "swapped", {"train": [[5, 6]]}, symbols)
    with pytest.raises(UserError) as error:
        setup_run({"_name": "teacher_student", "teacher": teacher_path}, data=data)
    expected = (
        "another dictionary than the data's dict.txt: 46 and 46 symbols, and id 11 is 'word7' in the first, 'word8'"
    )
    assert str(error.value).startswith(f"teacher {teacher_path} has {expected} in the second")


def test_other_vocabulary_size(setup_run: Callable, write_data: Callable, teacher_path: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "smaller", {"train": [[5, 6]]}, [f"word{index}" for index in range(40)])
    with pytest.raises(
        UserError, match="46 and 45 symbols, and id 44 is 'word40' in the first, '<mask>' in the second"
    ):
        setup_run({"_name": "teacher_student", "teacher": teacher_path}, data=data)


def test_checkpoint_that_does_not_name_its_symbols(
    setup_run: Callable, write_data: Callable, teacher_path: str, tmp_path: Path
) -> None:
    """As one trained under fairseq's own task: the number of symbols, and a dict.txt beside it, are compared."""
    state = torch.load(teacher_path)
    state["task_state"] = {}
    anonymous = tmp_path / "anonymous.pt"
    torch.save(state, anonymous)
    model = {"_name": "teacher_student", "teacher": str(anonymous)}
    setup_run(model)
    data = write_data(tmp_path / "smaller", {"train": [[5, 6]]}, [f"word{index}" for index in range(40)])
    with pytest.raises(UserError, match="its vocabulary has 46 symbols, the data's dictionary 45"):
        setup_run(model, data=data)
    write_data(tmp_path / "renamed", {}, [f"name{index}" for index in range(41)])
    (tmp_path / "renamed" / "dict.txt").rename(tmp_path / "dict.txt")
    with pytest.raises(UserError, match="id 4 is 'name0' in the first, 'word0' in the second"):
        setup_run(model)
