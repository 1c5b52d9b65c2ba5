import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_distil.data.tokenizers import WordPieceTokenizer
from fairseq_distil.errors import UserError
from fairseq_distil.evaluation import compare, evaluate_masked_lm

SENTENCE = "word3 <mask> word5"


def test_what_is_measured(
    checkpoints: dict[str, Path], data_with_tokenizer: Path, deep_run: Any, shallow_run: Any
) -> None:
    deep, shallow = compare(checkpoints, data_with_tokenizer, "valid", [SENTENCE], batch_size=7)
    models = [deep_run.model, shallow_run.model]
    expected = evaluate_masked_lm(models, [deep_run.batch("valid")])
    for report, model, result in zip((deep, shallow), models, expected, strict=True):
        assert tuple(report.masked_lm) == pytest.approx(tuple(result), rel=1e-5)
        assert report.parameters == sum(tensor.numel() for tensor in model.state_dict().values())
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        assert report.megabytes == pytest.approx(len(file.getvalue()) / 1e6)
        assert report.latency > 0
        assert list(report.fillings) == [SENTENCE] and len(report.fillings[SENTENCE]) == 5
    assert [(report.name, report.layers) for report in (deep, shallow)] == [("deep", 3), ("shallow", 1)]
    assert deep.masked_lm.reference_agreement == 1 > shallow.masked_lm.reference_agreement
    assert deep.fillings != shallow.fillings


def test_the_first_model_is_the_reference(checkpoints: dict[str, Path], data_with_tokenizer: Path) -> None:
    names = ["shallow", "deep"]
    shallow, deep = compare({name: checkpoints[name] for name in names}, data_with_tokenizer, "valid", [])
    assert [shallow.name, deep.name] == names
    assert shallow.masked_lm.reference_agreement == 1 > deep.masked_lm.reference_agreement
    assert shallow.fillings == {}


def test_data_below_the_parent_directory(
    checkpoints: dict[str, Path], data_with_tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fairseq's loading would look for what begins with a dot beside the checkpoint."""
    (data_with_tokenizer / "here").mkdir(exist_ok=True)
    monkeypatch.chdir(data_with_tokenizer / "here")
    (report,) = compare({"shallow": checkpoints["shallow"]}, Path("..", "..", "data"), "valid", [])
    assert report.masked_lm.reference_agreement == 1


def test_a_sentence_that_is_too_long_is_left_out(
    checkpoints: dict[str, Path], data_with_tokenizer: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its words may be rare in the text that the models were trained on; the measurements are not lost over it."""
    longest, too_long = "<mask>" + 14 * " word1", "<mask>" + 15 * " word1"
    reports = compare(checkpoints, data_with_tokenizer, "valid", [longest, too_long, SENTENCE])
    assert [list(report.fillings) for report in reports] == [[longest, SENTENCE]] * 2
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"left out, 18 tokens are more than 17 positions: {too_long}"
    ]


@pytest.fixture
def refusal(checkpoints: dict[str, Path], data_with_tokenizer: Path) -> Callable[..., str]:
    """The one line by which a comparison with something changed is refused."""

    def refuse(path: Path | None = None, **changed: Any) -> str:
        others = {} if path is None else {"other": path}
        settings = {"data": data_with_tokenizer, "split": "valid", "sentences": [], **changed}
        with pytest.raises(UserError) as error:
            compare({**checkpoints, **others}, **settings)
        assert "\n" not in str(error.value)
        return str(error.value)

    return refuse


def test_missing_checkpoint(refusal: Callable, tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.pt") == f"{tmp_path}/absent.pt: no such checkpoint"


@pytest.mark.parametrize("content", [b"text\n", b"PK\x03\x04", b""])
def test_file_that_is_no_checkpoint(refusal: Callable, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path}: not a checkpoint that can be loaded safely, or damaged")


def test_missing_data(refusal: Callable, tmp_path: Path) -> None:
    assert refusal(data=tmp_path / "absent").startswith(f"{tmp_path}/absent: no such directory; give the binarised")
    assert "no such file; prepare the data first" in refusal(data=tmp_path)


def test_missing_split(refusal: Callable) -> None:
    assert "test.idx: no such file" in refusal(split="test")


def test_data_without_a_tokenizer(refusal: Callable, data: str) -> None:
    assert "fairseq_distil_tokenizer.json: no such file" in refusal(data=Path(data))


def test_sentence_without_a_mask(refusal: Callable) -> None:
    assert refusal(sentences=[SENTENCE, "word3"]) == "'word3' has 0 <mask>, expected one"


def test_data_of_another_dictionary(refusal: Callable, write_data: Callable, tmp_path: Path) -> None:
    symbols = ["other", "symbols"]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *symbols]))
    data = Path(write_data(tmp_path / "data", {"valid": [[4, 5]]}, symbols))
    WordPieceTokenizer(tmp_path / "vocab.txt").save(data)
    assert "another dictionary than the data's dict.txt" in refusal(data=data)


def test_model_with_fewer_positions_than_the_first_ones_samples(
    refusal: Callable, setup_run: Callable, tmp_path: Path
) -> None:
    sizes = {"encoder_layers": 1, "encoder_embed_dim": 12, "max_positions": 9}
    run = setup_run({"_name": "distil_encoder", **sizes}, tokens_per_sample=9)
    path = Path(run.save_checkpoint(tmp_path / "narrow.pt"))
    assert refusal(path).startswith(f"{path}: has 9 positions, but the first model's samples have up to 17 tokens")
