"""A student beside a teacher whose outputs are stored, against one whose teacher runs at each step."""

import copy
import errno
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fairseq_distil.data.stored_outputs import HEADER_BYTES, write_outputs
from fairseq_distil.errors import UserError
from fairseq_distil.models import kept_outputs, teacher_outputs

from .losses_of_students import refuse_to_run, results

TINY = {"encoder_embed_dim": 12, "encoder_attention_heads": 4, "encoder_layers": 1, "max_positions": 19}
HEAD = {"classification_head_name": "sentence_classification_head"}
CLASSES = ("no", "yes", "maybe")
SENTENCES, NUMBERS, ANSWERS = "sentences", "numbers", "answers"


@pytest.fixture(scope="module")
def cached_run(
    setup_run: Callable, sentence_data: Callable, squad_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable:
    """A student of one layer beside a teacher of two for one of three kinds of task, with settings of the model."""
    criterions = {
        SENTENCES: {"_name": "sentence_prediction_distillation"},
        NUMBERS: {"_name": "sentence_prediction_distillation", "regression_target": True},
        ANSWERS: {"_name": "question_answering"},
    }
    teachers: dict[tuple[str, int], str] = {}

    def task_of(kind: str) -> dict[str, Any]:
        if kind == ANSWERS:
            return {"_name": "question_answering", "data": str(squad_data)}
        return sentence_data(*(CLASSES if kind == SENTENCES else ()))

    def teacher(kind: str, seed: int) -> str:
        if (kind, seed) not in teachers:
            stock = {"_name": "question_answering" if kind == ANSWERS else "sentence_prediction"}
            model = {"_name": "distil_encoder", **TINY, "encoder_layers": 2}
            criterion = {**criterions[kind], **stock}
            run = setup_run(model, criterion, **task_of(kind))
            with torch.no_grad():
                for parameter in run.model.parameters():
                    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
                    parameter.add_(0.3 * noise)
            teachers[kind, seed] = run.save_checkpoint(tmp_path_factory.mktemp("fine_tuned") / "teacher.pt")
        return teachers[kind, seed]

    def setup(kind: str = SENTENCES, seed: int = 3, task: dict[str, Any] | None = None, **model: Any):
        no_dropout = {"dropout": 0.0, "attention_dropout": 0.0, "student_init": "random"}
        settings = {"_name": "teacher_student", "teacher": teacher(kind, seed), **TINY, **no_dropout, **model}
        made = setup_run(settings, criterions[kind], **{**task_of(kind), **(task or {})})
        made.model.eval()
        return made

    return setup


@pytest.mark.parametrize("kind", [SENTENCES, NUMBERS, ANSWERS])
def test_the_loss_and_gradients_are_those_without(cached_run: Callable, tmp_path: Path, kind: str) -> None:
    """Batches of other items than those that the pass has put together, with padding."""
    plain, cached = cached_run(kind), cached_run(kind, teacher_cache=str(tmp_path))
    for split, items in (("train", [3, 0, 21, 7, 8]), ("valid", [5, 11]), ("train", [35])):
        expected, found = (results(run, run.batch(split, items)) for run in (plain, cached))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert sorted(os.listdir(tmp_path)) == ["train.teacher", "valid.teacher"]


def test_stored_values_are_the_teachers_bit_for_bit_where_batches_do_not_matter(
    cached_run: Callable, tmp_path: Path
) -> None:
    """All items in one batch, in the order of their lengths, as in the pass."""
    run = cached_run(teacher_cache=str(tmp_path))
    run.task.load_dataset("train")
    dataset = run.task.datasets["train"]
    lengths = np.array([dataset.num_tokens(item) for item in range(len(dataset))])
    sample = run.batch("train", np.argsort(lengths, kind="stable").tolist())
    found = run.model.task_teacher_logits(sample, **HEAD)
    assert torch.equal(found, run.model.teacher_logits(sample["net_input"], **HEAD))
    assert found.dtype == torch.float32 and found.shape == (64, 3)


@pytest.mark.parametrize(("kind", "count"), [(SENTENCES, 64 * 3), (NUMBERS, 64), (ANSWERS, None)])
def test_the_teacher_runs_once(
    cached_run: Callable, tmp_path: Path, told: Callable, monkeypatch: pytest.MonkeyPatch, kind: str, count: int | None
) -> None:
    run = cached_run(kind, teacher_cache=str(tmp_path))
    sample = run.batch("train", [4, 2])
    first = run.model.task_teacher_logits(sample, **head_of(kind))
    lines = told()
    path = tmp_path / "train.teacher"
    count = 2 * int(run.task.datasets["train"].sizes.sum()) if count is None else count
    assert path.stat().st_size == HEADER_BYTES + 4 * count
    assert lines[0].startswith(f"teacher outputs {path}: computed for ") and lines[-1].endswith("bytes written")
    assert "teacher outputs: 0 % computed" in lines
    again = cached_run(kind, teacher_cache=str(tmp_path))
    monkeypatch.setattr(again.model.teacher, "forward", refuse_to_run)
    monkeypatch.setattr(run.model.teacher, "forward", refuse_to_run)
    for same in (run, again):
        for _ in range(2):
            assert torch.equal(same.model.task_teacher_logits(same.batch("train", [4, 2]), **head_of(kind)), first)
        results(same, same.batch("train", [9, 30, 1]))
    assert told() == []


def head_of(kind: str) -> dict[str, Any]:
    return {"answer_logits": True} if kind == ANSWERS else HEAD


def test_batches_of_nothing(cached_run: Callable, tmp_path: Path) -> None:
    run = cached_run(ANSWERS, teacher_cache=str(tmp_path))
    run.batch("train")
    loss, sample_size, _ = run.criterion(run.model, run.task.datasets["train"].collater([]))
    assert (loss.item(), sample_size) == (0, 0)
    sentences = cached_run(teacher_cache=str(tmp_path / "sentences"))
    sentences.task.load_dataset("valid")
    assert sentences.task.datasets["valid"].collater([]) == {}


def test_what_makes_it_compute_again(cached_run: Callable, tmp_path: Path, told: Callable) -> None:
    def changed(seed: int = 3, dtype: torch.dtype | None = None, **settings: Any) -> list[str]:
        """The warnings of a run; a second one of the same kind must have none."""
        warnings = []
        for _ in range(2):
            run = cached_run(seed=seed, teacher_cache=str(tmp_path), **settings)
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                run.model.task_teacher_logits(run.batch("valid", [0, 1]), **HEAD)
            warnings.append([line for line in told() if line.endswith("they are computed again")])
        assert warnings[1] == []
        return [line.removeprefix(f"teacher outputs {tmp_path}/valid.teacher: of other ") for line in warnings[0]]

    assert changed() == []
    assert changed(seed=4) == ["teacher; they are computed again"]
    assert changed(seed=4, teacher_dtype="bfloat16") == ["teacher; they are computed again"]
    assert changed(seed=4) == ["teacher; they are computed again"]
    assert changed(seed=4, dtype=torch.bfloat16) == ["type of products; they are computed again"]
    shorter = {"shorten_method": "truncate", "max_positions": 7}
    assert changed(seed=4, task=shorter) == ["type of products and data; they are computed again"]
    assert changed(seed=4) == ["data; they are computed again"]


def test_another_head_of_the_same_teacher(cached_run: Callable, tmp_path: Path, told: Callable) -> None:
    def run_with_two_heads():
        run = cached_run(teacher_cache=str(tmp_path))
        heads = run.model.teacher.classification_heads
        heads["other"] = copy.deepcopy(heads[HEAD["classification_head_name"]])
        heads["other"].output.bias.data += 1
        return run, run.batch("valid", [0, 1])

    run, sample = run_with_two_heads()
    first = run.model.task_teacher_logits(sample, **HEAD)
    told()
    run, sample = run_with_two_heads()
    torch.testing.assert_close(run.model.task_teacher_logits(sample, classification_head_name="other"), first + 1)
    assert told()[0] == f"teacher outputs {tmp_path}/valid.teacher: of other head; they are computed again"


def test_a_damaged_file_is_computed_again(cached_run: Callable, tmp_path: Path, told: Callable) -> None:
    def logits() -> Tensor:
        run = cached_run(teacher_cache=str(tmp_path))
        return run.model.task_teacher_logits(run.batch("valid", [0, 1]), **HEAD)

    expected, path = logits(), tmp_path / "valid.teacher"
    whole = path.read_bytes()
    told()
    path.write_bytes(whole[:-4])
    assert torch.equal(logits(), expected) and path.read_bytes() == whole
    assert told()[0] == (
        f"teacher outputs {path}: damaged, for it has 4,368 bytes instead of 4,372; they are computed again"
    )
    path.write_bytes(bytes(HEADER_BYTES) + whole[HEADER_BYTES:])
    assert torch.equal(logits(), expected) and path.read_bytes() == whole
    assert told()[0] == (
        f"teacher outputs {path}: damaged, for it does not begin as it was written; they are computed again"
    )


def test_a_folder_that_cannot_be_written(cached_run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told before the teacher has run over all data, not after; what is whole in it can be read."""
    run = cached_run(teacher_cache=str(tmp_path))
    expected = run.model.task_teacher_logits(run.batch("valid", [0, 1]), **HEAD)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    run = cached_run(teacher_cache=str(tmp_path))
    monkeypatch.setattr(run.model.teacher, "forward", refuse_to_run)
    assert torch.equal(run.model.task_teacher_logits(run.batch("valid", [0, 1]), **HEAD), expected)
    message = "the teacher's outputs cannot be written there: Read-only file system; choose another folder$"
    with pytest.raises(UserError, match=message):
        run.model.task_teacher_logits(run.batch("train", [0, 1]), **HEAD)
    with pytest.raises(UserError, match=message):
        cached_run(teacher_cache=str(tmp_path / "new"))


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may not have more bytes than a header, as if the disk were full after it."""
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER_BYTES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_after_all(cached_run: Callable, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run = cached_run(teacher_cache=str(tmp_path))
    request.getfixturevalue("small_files")
    message = f"{tmp_path}: the teacher's outputs cannot be written there: File too large; choose another folder$"
    with pytest.raises(UserError, match=message):
        run.model.task_teacher_logits(run.batch("valid", [0, 1]), **HEAD)
    assert os.listdir(tmp_path) == []


def test_a_file_that_another_run_replaces_at_once(
    cached_run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cached_run(teacher_cache=str(tmp_path))

    def write(path: Path, description: dict[str, str], values: np.ndarray) -> None:
        write_outputs(path, description, values)
        write_outputs(path, {**description, "teacher": "another"}, values)

    monkeypatch.setattr(kept_outputs, "write_outputs", write)
    with pytest.raises(UserError, match="valid.teacher: not found by all workers, or replaced by another run; give"):
        run.model.task_teacher_logits(run.batch("valid", [0, 1]), **HEAD)


def test_a_folder_below_a_file(cached_run: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file/cache: the teacher's outputs cannot be written there: Not a directory"):
        cached_run(teacher_cache=str(tmp_path / "file" / "cache"))


def test_outputs_that_are_not_finite(cached_run: Callable, tmp_path: Path) -> None:
    run = cached_run(teacher_cache=str(tmp_path))
    head = run.model.teacher.classification_heads[HEAD["classification_head_name"]]
    head.output.bias.data[1] = float("nan")
    with pytest.raises(UserError, match="^the teacher's logits are not finite"):
        run.model.task_teacher_logits(run.batch("valid", [0, 1]), **HEAD)
    assert os.listdir(tmp_path) == []


def test_items_that_the_teacher_cannot_read_are_left_out(
    cached_run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fairseq's option to skip them leaves them in the data set; a pass in several batches."""
    run = cached_run(ANSWERS, teacher_cache=str(tmp_path))
    monkeypatch.setattr(run.model.teacher, "max_positions", lambda: 15)
    monkeypatch.setattr(teacher_outputs, "TOKENS_AT_A_TIME", 40)
    run.task.load_dataset("train")
    sizes = run.task.datasets["train"].sizes
    short, long = int(np.flatnonzero(sizes <= 15)[0]), int(np.flatnonzero(sizes > 15)[0])
    expected = run.model.teacher_logits(run.batch("train", [short])["net_input"], answer_logits=True)
    found = run.model.task_teacher_logits(run.batch("train", [short]), answer_logits=True)
    torch.testing.assert_close(found, expected.clone(), atol=1e-5, rtol=1e-5)
    assert run.model.task_teacher_logits(run.batch("train", [long]), answer_logits=True).isnan().all()


@pytest.fixture
def file_in_the_way(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "file"
    path.write_text("important")
    yield path
    assert path.read_text() == "important"


def test_mistakes(
    cached_run: Callable, setup_run: Callable, teacher_path: str, data: str, file_in_the_way: Path
) -> None:
    with pytest.raises(UserError, match=f"--teacher-cache .* {file_in_the_way}: not a folder"):
        cached_run(teacher_cache=str(file_in_the_way))
    foreign = file_in_the_way.rename(file_in_the_way.with_name("train.teacher"))
    with pytest.raises(UserError, match="train.teacher: not a file of stored outputs, and it is not overwritten"):
        cached_run(teacher_cache=str(foreign.parent))
    foreign.rename(file_in_the_way)
    with pytest.raises(UserError, match="another task.shorten_method than random_crop"):
        cached_run(teacher_cache=str(file_in_the_way.parent), task={"shorten_method": "random_crop"})
    with pytest.raises(UserError, match="the task sentence_prediction or question_answering, or distil_masked_lm"):
        setup_run(
            {"_name": "teacher_student", "teacher": teacher_path, "teacher_cache": "x"},
            _name="masked_lm",
            data=data,
            tokens_per_sample=17,
        )
