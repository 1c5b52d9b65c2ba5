"""Checkpoints of this plugin and of fairseq's RoBERTa."""

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from torch import Tensor

from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder

from ..checkpoints.crafted import zipped
from .conftest import Fuzz
from .mutations import TENSORS, changed_bytes, changed_checkpoint, changed_opcodes, saved

WORDS = "encoder.embeddings.word_embeddings.weight"
HALVES = [f"classification_heads.{name}.dense.weight" for name in ("a.b", "", "keys", "../x")]


@pytest.fixture
def checkpoint(teacher_path: str) -> dict[str, Any]:
    """A checkpoint without what only fairseq's trainer reads."""
    state = torch.load(teacher_path)
    cfg = {name: state["cfg"][name] for name in ("model", "task")}
    return {**state, "cfg": cfg, "last_optimizer_state": None}


def with_model_setting(checkpoint: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    cfg = checkpoint["cfg"]
    return {**checkpoint, "cfg": {**cfg, "model": {**cfg["model"], name: value}}}


def with_weight(checkpoint: dict[str, Any], name: Any, value: Any) -> dict[str, Any]:
    return {**checkpoint, "model": {**checkpoint["model"], name: value}}


def doubling(levels: int) -> dict[str, Any]:
    part: dict[str, Any] = {"x": 1}
    for _ in range(levels):
        part = {"a": part, "b": part}
    return part


def once_failed(checkpoint: dict[str, Any]) -> list[bytes]:
    sizes = ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "max_positions")
    aliases = "a: &a0 [x]\n" + "".join(f"b{i}: &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 9))
    return [
        *(saved(with_model_setting(checkpoint, name, size)) for name in sizes for size in (10**7, 10**12, 10**30)),
        *(saved(with_model_setting(checkpoint, "encoder_layers", value)) for value in (1.5, "x", [1], float("nan"))),
        saved(with_model_setting(checkpoint, "layer_norm_eps", float("nan"))),
        saved(with_model_setting(checkpoint, "layer_norm_eps", 10**400)),
        saved(with_model_setting(checkpoint, "initializer_range", -1.0)),
        saved(with_model_setting(checkpoint, "_name", 5)),
        saved(with_model_setting(checkpoint, "encoder_layers", "${oc.env:HOME}")),
        *(saved({**checkpoint, "task_state": value}) for value in (5, [1], "x", {"dictionary_symbols": 5})),
        *(saved({**checkpoint, "cfg": value}) for value in ([1], aliases, {"extra": doubling(30)})),
        *(saved(with_weight(checkpoint, name, torch.zeros(12, 12))) for name in (5, (1, 2), *HALVES)),
        *(saved(with_weight(checkpoint, WORDS, value)) for value in (5, *TENSORS)),
        saved(checkpoint, _use_new_zipfile_serialization=False),
    ]


@pytest.fixture
def read_as_teacher(teacher_run: Any, tmp_path: Path) -> Callable[[bytes], None]:
    dictionary: Dictionary = teacher_run.task.source_dictionary

    def read(content: bytes) -> None:
        path = tmp_path / "teacher.pt"
        path.write_bytes(content)
        stored = read_encoder(str(path), dictionary, role="teacher")
        model = DistilEncoderModel.restored(stored.config, stored.weights)
        assert all(parameter.is_floating_point() for parameter in model.parameters())

    return read


def test_checkpoint(fuzz: Fuzz, checkpoint: dict[str, Any], read_as_teacher: Callable[[bytes], None]) -> None:
    fuzz(read_as_teacher, changed_checkpoint(checkpoint), once_failed(checkpoint))


@pytest.mark.parametrize("is_zip", [True, False])
def test_bytes_of_a_checkpoint(
    fuzz: Fuzz, checkpoint: dict[str, Any], read_as_teacher: Callable[[bytes], None], is_zip: bool
) -> None:
    fuzz(read_as_teacher, changed_bytes([saved(checkpoint, _use_new_zipfile_serialization=is_zip)]))


def test_opcodes_of_a_checkpoint(
    fuzz: Fuzz, checkpoint: dict[str, Any], read_as_teacher: Callable[[bytes], None]
) -> None:
    reader = torch._C.PyTorchFileReader(io.BytesIO(saved(checkpoint)))
    names = [name.removeprefix("data/") for name in reader.get_all_records() if name.startswith("data/")]
    values = {name: reader.get_record(f"data/{name}") for name in names}
    read_as_teacher(zipped(seed := reader.get_record("data.pkl"), values))
    fuzz(read_as_teacher, changed_opcodes(seed).map(lambda pickle: zipped(pickle, values)))


def test_checkpoint_that_fairseq_reads(fuzz: Fuzz, checkpoint: dict[str, Any], tmp_path: Path) -> None:
    def read(content: bytes) -> None:
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(content)
        checkpoint_utils.load_checkpoint_to_cpu(str(path), {"pretrained": None})

    fuzz(read, changed_checkpoint(checkpoint), once_failed(checkpoint))


@pytest.fixture
def roberta() -> dict[str, Any]:
    options = {"encoder_layers": 1, "encoder_embed_dim": 4, "encoder_ffn_embed_dim": 6, "encoder_attention_heads": 2}
    body = "encoder.sentence_encoder."
    layer = f"{body}layers.0."
    shapes = {
        f"{body}embed_tokens.weight": (7, 4),
        f"{body}embed_positions.weight": (9, 4),
        f"{body}emb_layer_norm.weight": (4,),
        f"{body}emb_layer_norm.bias": (4,),
        f"{layer}self_attn.in_proj_weight": (12, 4),
        f"{layer}self_attn.in_proj_bias": (12,),
        f"{layer}self_attn.out_proj.weight": (4, 4),
        f"{layer}self_attn.out_proj.bias": (4,),
        f"{layer}self_attn_layer_norm.weight": (4,),
        f"{layer}self_attn_layer_norm.bias": (4,),
        f"{layer}fc1.weight": (6, 4),
        f"{layer}fc1.bias": (6,),
        f"{layer}fc2.weight": (4, 6),
        f"{layer}fc2.bias": (4,),
        f"{layer}final_layer_norm.weight": (4,),
        f"{layer}final_layer_norm.bias": (4,),
    }
    weights: dict[str, Tensor] = {name: torch.ones(shape) for name, shape in shapes.items()}
    model = {"_name": "roberta", "max_positions": 7, "activation_fn": "gelu", **options}
    return {
        "args": None,
        "cfg": {"model": model},
        "model": weights,
        "optimizer_history": [{"optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 0}],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def test_roberta_is_what_the_reader_takes(roberta: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("a 1\nb 1\n")
    torch.save(roberta, tmp_path / "model.pt")
    assert import_checkpoint(tmp_path / "model.pt")["cfg"]["model"]["encoder_layers"] == 1


def test_fairseq_roberta(fuzz: Fuzz, roberta: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "dict.txt").write_text("a 1\nb 1\n")

    def read(content: bytes) -> None:
        (tmp_path / "model.pt").write_bytes(content)
        import_checkpoint(tmp_path / "model.pt")

    attention = "encoder.sentence_encoder.layers.0.self_attn.in_proj_weight"
    once = [
        *(saved(with_model_setting(roberta, "encoder_layers", value)) for value in ("1", 10**12, 2.0)),
        *(saved(with_weight(roberta, attention, tensor)) for tensor in (torch.zeros(2, 4), torch.zeros(()))),
        saved({**roberta, "cfg": None, "args": argparse.Namespace(x=doubling(30))}),
    ]
    fuzz(read, changed_checkpoint(roberta), once)
