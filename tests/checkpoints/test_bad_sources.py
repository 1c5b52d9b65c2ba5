"""Sources that cannot be imported: each gets one line that names the file and what is wrong with it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.errors import UserError


@pytest.fixture
def refuse() -> Callable[..., str]:
    """Imports, and returns why that is refused."""

    def refusal(source: Path, **options: Path) -> str:
        with pytest.raises(UserError) as error:
            import_checkpoint(source, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    return refusal


def change_config(directory: Path, **changed: object) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


class Arbitrary:
    """Unpickling it would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.write_text, (self.trace, "executed")


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_unsafe_pickles_are_not_executed(
    make_source: Callable, refuse: Callable, tmp_path: Path, write: Callable
) -> None:
    directory, trace = make_source("bert", lambda model, directory: None).directory, tmp_path / "trace"
    write({"weight": Arbitrary(trace)}, directory / "pytorch_model.bin")
    message = refuse(directory)
    assert message.startswith(f"{directory / 'pytorch_model.bin'}: ")
    assert "holds objects that safe loading refuses" in message or "can be loaded safely" in message
    assert not trace.exists()


def test_a_pickle_of_something_else(make_source: Callable, refuse: Callable) -> None:
    directory = make_source("bert", lambda model, directory: None).directory
    torch.save([torch.zeros(2)], directory / "pytorch_model.bin")
    assert refuse(directory) == f"{directory / 'pytorch_model.bin'}: not a state dict of tensors"


def test_damaged_safetensors(make_source: Callable, refuse: Callable) -> None:
    path = make_source("bert").directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert refuse(path.parent).startswith(f"{path}: not a safetensors file, or damaged: ")


def test_missing_shard(make_source: Callable, refuse: Callable) -> None:
    directory = make_source("bert", lambda model, path: model.save_pretrained(path, max_shard_size="3KB")).directory
    shard = sorted(directory.glob("model-*.safetensors"))[1]
    shard.unlink()
    assert refuse(directory) == (
        f"{shard}: no such file, though model.safetensors.index.json names it; give all shards"
    )


def test_no_weights(make_source: Callable, refuse: Callable) -> None:
    directory = make_source("bert", lambda model, directory: None).directory
    assert refuse(directory).startswith(f"{directory}: has neither model.safetensors nor pytorch_model.bin")


def test_no_configuration(refuse: Callable, tmp_path: Path) -> None:
    assert refuse(tmp_path).startswith(f"{tmp_path / 'config.json'}: no such file; give a directory that")
    assert refuse(tmp_path / "absent") == f"{tmp_path / 'absent'}: no such file or directory"
    (tmp_path / "config.json").write_text("{")
    assert refuse(tmp_path).startswith(f"{tmp_path / 'config.json'}: not valid JSON")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"model_type": "gpt2"}, "model_type is 'gpt2'; expected one of bert, distilbert, roberta, xlm-roberta, "),
        (
            {"position_embedding_type": "relative_key"},
            "position_embedding_type is 'relative_key'; this encoder implements 'absolute' only",
        ),
        ({"is_decoder": True}, "is_decoder is True; this encoder implements False only"),
        ({"hidden_act": "mish"}, "its activation is 'mish'; this encoder implements gelu, "),
        ({"hidden_size": "wide"}, "hidden_size is 'wide', expected a positive whole number"),
    ],
)
def test_other_architectures(make_source: Callable, refuse: Callable, changed: dict, reason: str) -> None:
    directory = make_source("bert").directory
    change_config(directory, **changed)
    assert refuse(directory).startswith(f"{directory / 'config.json'}: {reason}")


def test_a_configuration_that_lacks_a_size(make_source: Callable, refuse: Callable) -> None:
    path = make_source("bert").directory / "config.json"
    content = json.loads(path.read_text())
    del content["hidden_size"]
    path.write_text(json.dumps(content))
    assert refuse(path.parent) == f"{path}: it lacks hidden_size"


def test_two_activations(make_source: Callable, refuse: Callable) -> None:
    directory = make_source("xlm-roberta", hidden_act="relu").directory
    assert "its feed-forward blocks use relu, its masked-LM head gelu" in refuse(directory)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"num_hidden_layers": 2}, "it has parameters that the encoder does not implement: bert.encoder.layer.2."),
        ({"num_hidden_layers": 4}, "it lacks bert.encoder.layer.3.attention.output.LayerNorm.bias, "),
        ({"intermediate_size": 9}, "encoder.layers.0.feed_forward_in.weight is (20, 12), but its configuration asks"),
        ({"num_attention_heads": 5}, "5 attention heads do not divide the width 12"),
    ],
)
def test_weights_of_another_shape(make_source: Callable, refuse: Callable, changed: dict, reason: str) -> None:
    directory = make_source("bert").directory
    change_config(directory, **changed)
    assert refuse(directory).startswith(f"{directory}: {reason}")


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("bert.encoder.layer.0.attention.self.key.weight", (12, 8), "which does not go with bert.encoder.layer.0."),
        ("bert.embeddings.token_type_embeddings.weight", (2, 8), "but must be as wide as the positions"),
        ("bert.encoder.layer.1.output.dense.bias", (), "which does not go with"),
    ],
)
def test_a_parameter_of_another_shape(
    make_source: Callable, refuse: Callable, name: str, shape: tuple, reason: str
) -> None:
    def save(model, directory: Path) -> None:
        torch.save(model.state_dict() | {name: torch.zeros(shape)}, directory / "pytorch_model.bin")

    directory = make_source("bert", save).directory
    assert refuse(directory).startswith(f"{directory}: {name} is {shape}, {reason}")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"pad_token_id": None}, "pad_token_id is None, expected a whole number"),
        ({"model_type": ["roberta"]}, "model_type is ['roberta']; expected one of"),
        ({"num_hidden_layers": 2.5}, "num_hidden_layers is 2.5, expected a positive whole number"),
        ({"hidden_size": True}, "hidden_size is True, expected a positive whole number"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps is 'small', expected a number from 0 to 1"),
    ],
)
def test_settings_of_another_type(make_source: Callable, refuse: Callable, changed: dict, reason: str) -> None:
    directory = make_source("xlm-roberta").directory
    change_config(directory, **changed)
    assert refuse(directory).startswith(f"{directory / 'config.json'}: {reason}")


def test_half_a_head(make_source: Callable, refuse: Callable) -> None:
    def save(model, directory: Path) -> None:
        tensors = {name: tensor for name, tensor in model.state_dict().items() if "transform.dense" not in name}
        torch.save(tensors, directory / "pytorch_model.bin")

    directory = make_source("bert", save).directory
    lacking = "cls.predictions.transform.dense.bias, cls.predictions.transform.dense.weight"
    assert refuse(directory) == f"{directory}: it lacks {lacking}"


def test_an_untied_head(make_source: Callable, refuse: Callable) -> None:
    def save(model, directory: Path) -> None:
        tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        tensors["cls.predictions.decoder.weight"] += 1
        torch.save(tensors, directory / "pytorch_model.bin")

    directory = make_source("bert", save).directory
    assert refuse(directory) == (
        f"{directory}: cls.predictions.decoder.weight differs from bert.embeddings.word_embeddings.weight; "
        "this encoder's masked-LM head ties them"
    )


def test_another_vocabulary(make_source: Callable, refuse: Callable, tmp_path: Path) -> None:
    directory = make_source("bert").directory
    file = tmp_path / "dict.txt"
    file.write_text("the 5\nFox 4\nquick 3\nJumps 2\nDog 1\nCat 1\n")
    assert refuse(directory, dictionary_file=file) == (
        f"{directory}: its vocabulary lacks 4 of the 11 symbols of the data's dictionary, first 'Fox' (id 5), "
        "'Jumps' (id 7), 'Dog' (id 8); prepare the data with its tokeniser"
    )


def test_more_pieces_than_embeddings(make_source: Callable, refuse: Callable) -> None:
    directory = make_source("distilbert", vocab_size=9).directory
    assert refuse(directory) == f"{directory}: its tokeniser has 29 pieces, its embeddings 9 rows"


def test_no_tokenizer(make_source: Callable, refuse: Callable) -> None:
    directory = make_source("bert").directory
    for path in (*directory.glob("*token*"), directory / "vocab.txt"):
        path.unlink()
    assert refuse(directory) == f"{directory}: has no files of a tokeniser, such as vocab.txt or tokenizer.json"


def test_checkpoints_of_this_plugin_and_other_files(refuse: Callable, teacher_path: str, tmp_path: Path) -> None:
    assert refuse(Path(teacher_path)).endswith("a checkpoint of this plugin needs no import")
    (tmp_path / "x.pt").write_bytes(b"nothing")
    assert refuse(tmp_path / "x.pt").startswith(f"{tmp_path / 'x.pt'}: not a checkpoint that can be loaded safely")


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "", "..", "a/b", "x\0y", "x" * 300])
def test_shards_that_lie_elsewhere(make_source: Callable, refuse: Callable, name: str) -> None:
    directory = make_source("bert", lambda model, directory: None).directory
    index = directory / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    message = refuse(directory)
    assert "must lie beside it" in message or "no such file, though model.safetensors.index.json names it" in message


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"num_hidden_layers": 10**12}, "it has 57 parameters, too few for 1,000,000,000,000 layers"),
        ({"hidden_size": 10**12}, "width is 1000000000000, but must be at most 16777216"),
        ({"intermediate_size": 10**7}, "feed_forward_in.weight is (20, 12), but its configuration asks for (10000000"),
        ({"max_position_embeddings": 10**30}, "max_positions is 1000000000000000000000000000000, but must be at most"),
    ],
)
def test_sizes_beyond_all_reason(make_source: Callable, refuse: Callable, changed: dict, reason: str) -> None:
    directory = make_source("bert").directory
    change_config(directory, **changed)
    assert reason in refuse(directory)


@pytest.mark.parametrize("epsilon", [float("nan"), float("inf"), -1e-5, True, 2])
def test_a_constant_that_is_no_small_number(make_source: Callable, refuse: Callable, epsilon: float) -> None:
    directory = make_source("bert").directory
    change_config(directory, layer_norm_eps=epsilon)
    assert f"layer_norm_eps is {epsilon!r}, expected a number from 0 to 1" in refuse(directory)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool])
def test_weights_of_another_type(make_source: Callable, refuse: Callable, dtype: torch.dtype) -> None:
    name = "bert.encoder.layer.0.output.dense.bias"

    def save(model, directory: Path) -> None:
        torch.save(model.state_dict() | {name: torch.zeros(12).to(dtype)}, directory / "pytorch_model.bin")

    directory = make_source("bert", save).directory
    assert refuse(directory) == f"{directory}: {name} is of {dtype}, but must be of floating point, in 16 bits or more"


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.complex64, "torch.ComplexFloatStorage"), (torch.float8_e4m3fn, "torch._utils._rebuild_tensor_v3")],
)
def test_weights_of_a_type_that_no_checkpoint_has(
    make_source: Callable, refuse: Callable, dtype: torch.dtype, name: str
) -> None:
    directory = make_source("bert", lambda model, directory: None).directory
    path = directory / "pytorch_model.bin"
    torch.save({"bias": torch.zeros(12).to(dtype)}, path)
    assert refuse(directory).startswith(f"{path}: holds objects that safe loading refuses, the first of them {name}")


def test_a_view_that_claims_more_than_the_file_holds(make_source: Callable, refuse: Callable) -> None:
    def save(model, directory: Path) -> None:
        huge = torch.zeros(1).expand(10**12)
        torch.save(
            model.state_dict() | {"bert.embeddings.word_embeddings.weight": huge}, directory / "pytorch_model.bin"
        )

    directory = make_source("bert", save).directory
    assert refuse(directory).startswith(f"{directory / 'pytorch_model.bin'}: not a checkpoint")
