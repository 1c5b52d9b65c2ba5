"""Directories of transformers: settings, weights and tokenisers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models

from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.checkpoints.source_vocabulary import read_vocabulary
from fairseq_distil.checkpoints.transformers_directory import read_weights

from .conftest import Fuzz
from .mutations import changed_bytes, changed_checkpoint, changed_tree, saved


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
