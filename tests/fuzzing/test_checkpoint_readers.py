"""Checkpoints of this plugin and of fairseq's RoBERTa, and directories of transformers."""

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from torch import Tensor

from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.checkpoints.source_vocabulary import read_vocabulary
from fairseq_distil.checkpoints.transformers_directory import read_weights
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder

from ..checkpoints.crafted import zipped
from .conftest import Fuzz
from .mutations import VALUES, changed_bytes, changed_opcodes, changed_tree

TENSORS = (
    torch.zeros(1).expand(10**12),
    torch.zeros(1, 1).expand(10**9, 12),
    torch.zeros(46, 12).to_sparse(),
    torch.zeros(46, 12, device="meta"),
    torch.zeros(46, 12, dtype=torch.complex64),
    torch.zeros(46, 12, dtype=torch.int64),
    torch.zeros(()),
    torch.zeros(0, 12),
    torch.nn.Parameter(torch.ones(12)),
)
WORDS = "encoder.embeddings.word_embeddings.weight"
HALVES = [f"classification_heads.{name}.dense.weight" for name in ("a.b", "", "keys", "../x")]


def saved(tree: Any, **settings: bool) -> bytes:
    file = io.BytesIO()
    torch.save(tree, file, **settings)
    return file.getvalue()


def changed_checkpoint(seed: Any) -> st.SearchStrategy[bytes]:
    return changed_tree(seed, (*VALUES, *TENSORS)).map(saved)


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


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of transformers."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizer

    directory = tmp_path_factory.mktemp("bert")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s"]
    (directory / "vocab.txt").write_text("\n".join(pieces) + "\n")
    BertTokenizer.from_pretrained(directory).save_pretrained(directory)
    sizes = {"num_hidden_layers": 1, "hidden_size": 4, "intermediate_size": 6, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(vocab_size=8, max_position_embeddings=9, **sizes)).save_pretrained(directory)
    return directory


@pytest.fixture
def directory(bert: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def rewriting(path: Path, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    def read_written(content: bytes) -> None:
        path.write_bytes(content)
        read(path.parent)

    return read_written


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def test_configuration(fuzz: Fuzz, directory: Path) -> None:
    path = directory / "config.json"
    seed = json.loads(path.read_bytes())
    names = ("num_hidden_layers", "hidden_size", "intermediate_size", "max_position_embeddings", "layer_norm_eps")
    changed = [as_json({**seed, name: size}) for name in names for size in (10**12, 10**30, float("nan"))]
    fuzz(rewriting(path, import_checkpoint), changed_tree(seed).map(as_json), [b"[" * 100_000, *changed])


def test_safetensors(fuzz: Fuzz, directory: Path) -> None:
    path = directory / "model.safetensors"
    fuzz(rewriting(path, import_checkpoint), changed_bytes([path.read_bytes()]))


def test_header_of_safetensors(fuzz: Fuzz, directory: Path) -> None:
    path = directory / "model.safetensors"
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")

    def with_header(tree: Any) -> bytes:
        header = as_json(tree)
        return len(header).to_bytes(8, "little") + header + content[end:]

    sizes = (-1, 0, 10**12, 2**63, 2**64, "F4", "F8_E4M3", "BOOL", "C64", [2**62, 4], [0, 2**63], None)
    fuzz(rewriting(path, read_weights), changed_tree(json.loads(content[8:end]), sizes).map(with_header))


def test_index_of_shards(fuzz: Fuzz, directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "part.safetensors")
    path = directory / "model.safetensors.index.json"
    seed = {"metadata": {}, "weight_map": {"bert.embeddings.word_embeddings.weight": "part.safetensors"}}
    fuzz(rewriting(path, read_weights), changed_tree(seed).map(as_json), [as_json({"weight_map": {"a": "x\0y"}})])


def test_pickle_of_tensors(fuzz: Fuzz, directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    path = directory / "pytorch_model.bin"
    seed = {"bert.embeddings.word_embeddings.weight": torch.zeros(8, 4), "x": torch.zeros(3)}
    fuzz(rewriting(path, read_weights), changed_checkpoint(seed) | changed_bytes([saved(seed)]))


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "vocab.txt"])
def test_tokenizer_of_transformers(fuzz: Fuzz, directory: Path, name: str) -> None:
    if name == "vocab.txt":
        (directory / "tokenizer.json").unlink()
        strategy = changed_bytes([(directory / name).read_bytes()])
    else:
        strategy = changed_tree(json.loads((directory / name).read_bytes())).map(as_json)
    fuzz(rewriting(directory / name, read_vocabulary), strategy)


def test_byte_pairs_of_transformers(fuzz: Fuzz, directory: Path) -> None:
    byte_pairs = json.loads(Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).to_str())
    strategy = changed_tree(byte_pairs).map(as_json)
    fuzz(rewriting(directory / "tokenizer.json", read_vocabulary), strategy)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
def test_files_that_a_tokenizer_names(fuzz: Fuzz, directory: Path, name: str) -> None:
    """Their lines are not pieces."""
    secret = directory / "secret.txt"
    secret.write_text((directory / "vocab.txt").read_text() + "top-secret\n")
    names = ("vocab", "vocab_file", "tokenizer_file", "merges", "init_inputs", "name_or_path", "fast_tokenizer_files")
    seed = {"tokenizer_class": "BertTokenizer", **dict.fromkeys(names, "")}
    if name == "tokenizer.json":
        seed = json.loads((directory / name).read_bytes())
    else:
        (directory / "tokenizer.json").unlink()
        (directory / "vocab.txt").unlink()

    def read(folder: Path) -> None:
        assert "top-secret" not in read_vocabulary(folder)

    values = (str(secret), [str(secret)], {"vocab": str(secret)})
    fuzz(rewriting(directory / name, read), changed_tree(seed, values).map(as_json))
