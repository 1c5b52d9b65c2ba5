"""A checkpoint that fairseq's own task for sentences fine-tuned, exported with the data of its pre-training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import tasks
from fairseq.dataclass.configs import FairseqConfig
from fairseq.dataclass.initialize import add_defaults
from fairseq.trainer import Trainer
from omegaconf import OmegaConf
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export_checkpoint
from fairseq_distil.checkpoints.exportable import load_exportable
from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.checkpoints.plugin_checkpoint import write_checkpoint
from fairseq_distil.errors import UserError

CLASSES = ["negative", "positive"]
HEAD = "sentence_classification_head"


@pytest.fixture(scope="module")
def fine_tuned(teacher_path: str, write_data: Callable, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the checkpoint after one update of fairseq's ``sentence_prediction``."""
    data = tmp_path_factory.mktemp("sentences")
    write_data(data / "input0", {"train": [[4, 5, 6], [7, 8]]})
    write_data(data / "label", {"train": [[4], [5]]}, CLASSES)
    task = {"data": str(data), "num_classes": 2, "init_token": 0, "max_positions": 19}
    settings = {
        "task": {"_name": "sentence_prediction", **task},
        "model": {"_name": "distil_encoder", "pretrained": teacher_path},
        "criterion": {"_name": "sentence_prediction", "classification_head_name": HEAD},
        "optimizer": {"_name": "adam"},
        "lr_scheduler": {"_name": "fixed"},
        "common": {"cpu": True},
    }
    cfg = OmegaConf.merge(OmegaConf.structured(FairseqConfig), settings)
    add_defaults(cfg)
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    task.load_dataset("train")
    trainer.train_step([task.datasets["train"].collater([task.datasets["train"][index] for index in (0, 1)])])
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(data / "checkpoint.pt"), {"epoch": 1})
    return str(data / "checkpoint.pt")


@pytest.mark.parametrize("format_", ["transformers", "onnx"])
def test_the_classifier(fine_tuned: str, data_with_tokenizer: Path, tmp_path: Path, format_: str) -> None:
    options = ExportOptions(format=format_, labels=CLASSES)
    (line,) = export_checkpoint(Path(fine_tuned), data_with_tokenizer, tmp_path / "out", options)
    assert "same" in line
    card = (tmp_path / "out" / "README.md").read_text()
    assert "A text classifier" in card and "| criterion | sentence_prediction |" in card and "1 updates" in card


def test_weights_go_there_and_back(fine_tuned: str, data_with_tokenizer: Path, tmp_path: Path) -> None:
    """Ours -> transformers -> ours: what somebody fine-tuned can be a teacher."""
    export_checkpoint(Path(fine_tuned), data_with_tokenizer, tmp_path / "out", ExportOptions(labels=CLASSES))
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert model.config.id2label == dict(enumerate(CLASSES))
    ours = load_exportable(Path(fine_tuned), data_with_tokenizer).model
    tokens = torch.tensor([[0, 4, 5, 6, 2]])
    inputs = AutoTokenizer.from_pretrained(tmp_path / "out")("word0 word1 word2", return_tensors="pt")
    expected = ours(tokens, classification_head_name=HEAD)[0]
    torch.testing.assert_close(model(**inputs).logits, expected, atol=1e-5, rtol=1e-5)

    write_checkpoint(import_checkpoint(tmp_path / "out", data=data_with_tokenizer), tmp_path / "back.pt")
    back = load_exportable(tmp_path / "back.pt", data_with_tokenizer)
    assert back.head.name == HEAD and back.model.masked_lm_head is None
    assert all(torch.equal(tensor, ours.state_dict()[name]) for name, tensor in back.model.state_dict().items())


@pytest.mark.parametrize("head", ["masked-lm", "encoder"])
def test_the_other_heads(fine_tuned: str, data_with_tokenizer: Path, tmp_path: Path, head: str) -> None:
    (line,) = export_checkpoint(Path(fine_tuned), data_with_tokenizer, tmp_path / "out", ExportOptions(head=head))
    expected = {"masked-lm": "BertForMaskedLM", "encoder": "BertModel"}[head]
    assert f"transformers loads it as {expected}, with the same ids and outputs" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "sst2"}, rf"it has no head 'sst2'; give --head one of {HEAD}, masked-lm, encoder$"),
        ({"labels": ["one"]}, f"--labels is one; head {HEAD} has 2 classes: name each once$"),
        ({"labels": ["a", "a"]}, f"--labels is a,a; head {HEAD} has 2 classes: name each once$"),
        ({"labels": CLASSES, "head": "masked-lm"}, "--labels names classes, but what is exported is masked-lm, which"),
    ],
)
def test_mistakes(fine_tuned: str, data_with_tokenizer: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"^{fine_tuned}: {message}"):
        export_checkpoint(Path(fine_tuned), data_with_tokenizer, tmp_path / "out", ExportOptions(**options))
    assert not (tmp_path / "out").exists()


def test_data_of_another_dictionary(fine_tuned: str, write_data: Callable, make_tokenizer: Callable, tmp_path) -> None:
    data = Path(write_data(tmp_path / "data", {}, ["other"]))
    make_tokenizer().save(data)
    with pytest.raises(UserError, match="another dictionary than the data's dict.txt: 46 and 6 symbols"):
        export_checkpoint(Path(fine_tuned), data, tmp_path / "out", ExportOptions())
