"""A trained encoder for use, loaded from its checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils

from fairseq_distil.errors import UserError
from fairseq_distil.hub_interface import DistilEncoderHubInterface
from fairseq_distil.models import DistilEncoderModel, TeacherStudentModel

MASK = 45
UNKNOWN = 3


def word(index: int) -> int:
    """The id of one of the tiny data's symbols."""
    return 4 + index


@pytest.fixture(scope="module")
def encoder(teacher_path: str, data_with_tokenizer: Path) -> DistilEncoderHubInterface:
    path = Path(teacher_path)
    return DistilEncoderModel.from_pretrained(str(path.parent), path.name, str(data_with_tokenizer))


def test_weights_are_the_checkpoints(encoder: DistilEncoderHubInterface, teacher_path: str) -> None:
    expected = torch.load(teacher_path)["model"]
    found = encoder.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not encoder.model.training


@pytest.mark.parametrize("teacher_is_there", [True, False])
def test_the_student_of_a_teacher_student_is_a_plain_encoder(
    setup_run: Callable, teacher_path: str, data_with_tokenizer: Path, tmp_path: Path, teacher_is_there: bool
) -> None:
    teacher = tmp_path / "teacher.pt"
    teacher.write_bytes(Path(teacher_path).read_bytes())
    run = setup_run({"_name": "teacher_student", "teacher": str(teacher)}, {"_name": "distillation"})
    run.save_checkpoint(tmp_path / "student.pt")
    if not teacher_is_there:
        teacher.unlink()
    student = DistilEncoderModel.from_pretrained(str(tmp_path), "student.pt", str(data_with_tokenizer)).model
    assert isinstance(student, DistilEncoderModel) and not isinstance(student, TeacherStudentModel)
    run.model.eval()
    tokens = torch.tensor([[0, 7, 9, MASK, 2]])
    torch.testing.assert_close(student(tokens)[0], run.model(tokens)[0], rtol=0, atol=0)


def test_data_beside_the_checkpoint(teacher_path: str, data_with_tokenizer: Path, tmp_path: Path) -> None:
    for path in (Path(teacher_path), *data_with_tokenizer.glob("*.txt"), *data_with_tokenizer.glob("*.json")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    interface = DistilEncoderModel.from_pretrained(str(tmp_path), Path(teacher_path).name)
    assert interface.encode("word0").tolist() == [0, word(0), 2]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("word3 word11", [word(3), word(11)]),
        ("word3 <mask> word11", [word(3), MASK, word(11)]),
        ("<mask>word3", [MASK, word(3)]),
        ("<mask> and <mask>", [MASK, UNKNOWN, MASK]),
        ("", []),
    ],
)
def test_encode(encoder: DistilEncoderHubInterface, sentence: str, expected: list[int]) -> None:
    assert encoder.encode(sentence).tolist() == [0, *expected, 2]


def test_longest_sentence(encoder: DistilEncoderHubInterface) -> None:
    assert len(encoder.encode(17 * "word1 ")) == 19  # the positions
    with pytest.raises(UserError, match="the sentence has 20 tokens; the model takes 19"):
        encoder.encode(18 * "word1 ")


def test_extract_features(encoder: DistilEncoderHubInterface) -> None:
    tokens = encoder.encode("word3 word4 word5")
    features = encoder.extract_features(tokens)
    assert features.shape == (1, 5, 12)
    batch = torch.stack([encoder.encode("word0 word1 word2"), tokens])
    torch.testing.assert_close(encoder.extract_features(batch)[1], features[0], rtol=1e-5, atol=1e-6)
    hidden = encoder.model(tokens[None], return_all_hiddens=True)[1]["inner_states"][-1]
    torch.testing.assert_close(features, hidden, rtol=0, atol=0)


def test_fill_mask(encoder: DistilEncoderHubInterface) -> None:
    tokens = torch.tensor([[0, word(3), MASK, word(5), 2]])
    probabilities = encoder.model(tokens)[0][0, 2].detach().exp()
    probabilities /= probabilities.sum()
    expected = sorted(range(46), key=lambda index: -probabilities[index])[:3]
    fillings = encoder.fill_mask("word3 <mask> word5", topk=3)
    symbols = [encoder.task.source_dictionary[index] for index in expected]
    assert [filling.token for filling in fillings] == symbols
    assert [filling.probability for filling in fillings] == pytest.approx(probabilities[expected].tolist(), rel=1e-5)
    assert [filling.sentence for filling in fillings] == [f"word3 {symbol} word5" for symbol in symbols]


@pytest.mark.parametrize(("sentence", "count"), [("word1", 0), ("<mask> word1 <mask>", 2), ("", 0)])
def test_fill_mask_needs_one_mask(encoder: DistilEncoderHubInterface, sentence: str, count: int) -> None:
    with pytest.raises(UserError) as error:
        encoder.fill_mask(sentence)
    assert str(error.value) == f"{sentence!r} has {count} <mask>, expected one"


def test_fill_mask_in_a_sentence_that_is_too_long(encoder: DistilEncoderHubInterface) -> None:
    with pytest.raises(UserError, match="the sentence has 22 tokens; the model takes 19"):
        encoder.fill_mask("<mask> " + 19 * "word1 ")


def test_data_of_another_dictionary(write_data: Callable, teacher_path: str, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", {}, ["other"])
    path = Path(teacher_path)
    with pytest.raises(UserError, match="the checkpoint has another dictionary than the data's dict.txt"):
        DistilEncoderModel.from_pretrained(str(path.parent), path.name, data)


@pytest.mark.parametrize("name", ["archive.tar.gz", "absent", "https://localhost/model.tar.gz"])
def test_what_is_no_directory_is_neither_fetched_nor_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / "archive.tar.gz").write_bytes(b"")
    path = name if "//" in name else str(tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: no such directory; give that of the checkpoint"):
        DistilEncoderModel.from_pretrained(path)


def test_files_that_a_checkpoint_names_are_not_read(
    teacher_path: str, data_with_tokenizer: Path, tmp_path: Path
) -> None:
    state = torch.load(teacher_path)
    state["cfg"]["model"]["pretrained"] = str(tmp_path / "secret")
    torch.save(state, tmp_path / "naming.pt")
    encoder = DistilEncoderModel.from_pretrained(str(tmp_path), "naming.pt", str(data_with_tokenizer))
    assert encoder.model.config.layers == 3


@pytest.mark.parametrize(
    "task",
    [
        {"_name": "hubert_pretraining", "labels": ["x"], "fine_tuning": False, "sample_rate": 1},
        {"_name": "translation", "source_lang": "a", "target_lang": "b"},
        {"_name": "language_modeling"},
        {"_name": "x\x1b[2J"},
        {"_name": ["distil_masked_lm"]},
        {},
    ],
)
def test_tasks_that_read_other_files(teacher_path: str, data_with_tokenizer: Path, tmp_path: Path, task: dict) -> None:
    state = torch.load(teacher_path)
    state["cfg"]["task"] = {**task, "data": str(data_with_tokenizer), "label_dir": str(tmp_path)}
    torch.save(state, tmp_path / "other.pt")
    expected = (
        r"other.pt: is of the task .*, expected one of distil_masked_lm, question_answering, sentence_prediction$"
    )
    with pytest.raises(UserError, match=expected) as found:
        DistilEncoderModel.from_pretrained(str(tmp_path), "other.pt", str(data_with_tokenizer))
    assert str(found.value).isprintable()


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent.pt: no such file"):
        DistilEncoderModel.from_pretrained(str(tmp_path), "absent.pt")


def test_a_hostile_name_of_a_teacher_is_told_in_one_line(
    setup_run: Callable, teacher_path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = setup_run({"_name": "teacher_student", "teacher": teacher_path}, {"_name": "distillation"})
    run.save_checkpoint(tmp_path / "student.pt")
    state = torch.load(tmp_path / "student.pt")
    state["cfg"]["model"]["teacher"] = "\x1b[2Jnowhere\nerror " + "x" * 5000
    torch.save(state, tmp_path / "student.pt")
    checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "student.pt")])
    (message,) = [record.getMessage() for record in caplog.records if "the student is loaded" in record.getMessage()]
    assert message.startswith(r"teacher \x1b[2Jnowhere\nerror xxx") and message.isprintable()
    assert len(message) < 1200
