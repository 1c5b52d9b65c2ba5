"""Models of transformers against what their import gives: logits and all hidden states, in float32 to 1e-5."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary
from safetensors.torch import save_file
from torch import Tensor
from transformers import BertModel, PreTrainedModel

from fairseq_distil.checkpoints.import_transformers import import_transformers
from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder

assert_close = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)


def shuffled_dictionary(row_of_symbol: Mapping[str, int]) -> Dictionary:
    """The symbols in another order than the source's, as fairseq's tasks have them."""
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    ordinary = sorted((symbol for symbol in row_of_symbol if symbol not in special), key=lambda symbol: symbol[::-1])
    dictionary = Dictionary()
    for symbol in [*ordinary, "<mask>"]:
        dictionary.add_symbol(symbol)
    return dictionary


def assert_same_encoder(
    ours: DistilEncoderModel, theirs: PreTrainedModel, dictionary: Dictionary, row_of_symbol: Mapping[str, int]
) -> None:
    """Compare on batches with and without padding."""
    rows = torch.tensor([row_of_symbol[symbol] for symbol in dictionary.symbols])
    tokens = torch.randint(4, len(rows), (3, 11), generator=torch.Generator().manual_seed(6))
    tokens[:, 0] = dictionary.bos()
    tokens[1, 8:] = dictionary.pad()
    tokens[2, 5:] = dictionary.pad()
    for batch in (tokens, tokens[:1]):
        is_token = batch.ne(dictionary.pad())
        expected = theirs(rows[batch], attention_mask=is_token.long(), output_hidden_states=True)
        logits, extra = ours.eval()(batch, return_all_hiddens=True)
        for our_hidden, their_hidden in zip(extra["inner_states"], expected.hidden_states, strict=True):
            assert_close(our_hidden[is_token], their_hidden[is_token])
        assert_close(logits[is_token], expected.logits[is_token][:, rows])


def imported(directory: Path, dictionary: Dictionary, gpt2_encoder: dict[str, int]) -> DistilEncoderModel:
    """What ``--teacher`` gives for the directory; the pieces of RoBERTa go by GPT-2's numbers."""
    piece_of_number = {str(number): piece for piece, number in gpt2_encoder.items()}
    state = import_transformers(directory, dictionary.symbols, lambda symbol: piece_of_number.get(symbol, symbol))
    path = directory / "imported.pt"
    torch.save(state, path)
    stored = read_encoder(str(path), dictionary)
    return DistilEncoderModel.restored(stored.config, stored.weights)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta", "camembert"])
def test_families(make_source: Callable, gpt2_encoder: dict[str, int], family: str) -> None:
    directory, model, rows = make_source(family)
    dictionary = shuffled_dictionary(rows)
    assert_same_encoder(imported(directory, dictionary, gpt2_encoder), model, dictionary, rows)


@pytest.mark.parametrize(
    ("family", "changed"),
    [
        ("bert", {"hidden_act": "gelu_new", "layer_norm_eps": 1e-3}),
        ("bert", {"hidden_act": "gelu_pytorch_tanh", "hidden_size": 15, "num_attention_heads": 5}),
        ("bert", {"hidden_act": "relu", "num_hidden_layers": 1, "intermediate_size": 7}),
        ("bert", {"hidden_act": "silu", "type_vocab_size": 1}),
        ("distilbert", {"activation": "relu", "sinusoidal_pos_embds": True}),
        ("xlm-roberta", {"layer_norm_eps": 1e-3}),
    ],
)
def test_variants(make_source: Callable, gpt2_encoder: dict[str, int], family: str, changed: dict) -> None:
    directory, model, rows = make_source(family, **changed)
    dictionary = shuffled_dictionary(rows)
    assert_same_encoder(imported(directory, dictionary, gpt2_encoder), model, dictionary, rows)


def shards(model: PreTrainedModel, directory: Path) -> None:
    model.save_pretrained(directory, max_shard_size="3KB")
    assert (directory / "model.safetensors.index.json").is_file()


def pickle(model: PreTrainedModel, directory: Path) -> None:
    torch.save(model.state_dict(), directory / "pytorch_model.bin")


def half_precision(model: PreTrainedModel, directory: Path) -> None:
    model.half().save_pretrained(directory)
    model.float()


def old_names(model: PreTrainedModel, directory: Path) -> None:
    """As the first BERT checkpoints: TensorFlow's LayerNorms, both pre-training heads, the pooler, buffers."""
    bert, tensors = BertModel(model.config), {}
    for name, tensor in model.state_dict().items():
        tensors[name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")] = (
            tensor
        )
    tensors |= {f"bert.pooler.{name}": tensor for name, tensor in bert.pooler.state_dict().items()}
    tensors |= {"cls.seq_relationship.weight": torch.ones(2, 12), "cls.seq_relationship.bias": torch.ones(2)}
    tensors |= {"bert.embeddings.position_ids": torch.arange(19)}
    del tensors["cls.predictions.decoder.bias"]
    torch.save(tensors, directory / "pytorch_model.bin")


def no_prefix(model: PreTrainedModel, directory: Path) -> None:
    tensors = {name.removeprefix("bert."): tensor.clone() for name, tensor in model.state_dict().items()}
    save_file(tensors, directory / "model.safetensors")


@pytest.mark.parametrize("save", [shards, pickle, half_precision, old_names, no_prefix])
def test_ways_to_store_weights(make_source: Callable, gpt2_encoder: dict[str, int], save: Callable) -> None:
    directory, model, rows = make_source("bert", save)
    dictionary = shuffled_dictionary(rows)
    assert_same_encoder(imported(directory, dictionary, gpt2_encoder), model, dictionary, rows)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_the_sources_own_order_without_a_dictionary(make_source: Callable, family: str) -> None:
    directory, model, rows = make_source(family)
    state = import_transformers(directory, None)
    symbols = state["task_state"]["dictionary_symbols"]
    assert symbols[:4] == ["<s>", "<pad>", "</s>", "<unk>"] and symbols[-1] == "<mask>"
    assert sorted(symbols) == sorted(rows)
    ordinary = [rows[symbol] for symbol in symbols[4:-1]]
    assert ordinary == sorted(ordinary)
    words = getattr(model, model.base_model_prefix).embeddings.word_embeddings.weight
    assert torch.equal(state["model"]["encoder.embeddings.word_embeddings.weight"], words[[rows[s] for s in symbols]])


def test_a_filler_of_the_dictionary_has_the_weights_of_the_unknown_symbol(make_source: Callable) -> None:
    directory, _, rows = make_source("bert")
    state = import_transformers(directory, ["<s>", "<pad>", "</s>", "<unk>", "fox", "madeupword0000", "<mask>"])
    words: Tensor = state["model"]["encoder.embeddings.word_embeddings.weight"]
    assert torch.equal(words[5], words[3]) and not torch.equal(words[4], words[3])


def test_a_directory_as_teacher(
    make_source: Callable, setup_run: Callable, write_data: Callable, tmp_path: Path
) -> None:
    directory, model, rows = make_source("bert")
    dictionary = shuffled_dictionary(rows)
    data = write_data(tmp_path / "data", {"train": [[5, 6]]}, dictionary.symbols[4:-1])
    run = setup_run({"_name": "teacher_student", "teacher": str(directory)}, data=data)
    assert run.model.config.layers == 1
    assert_same_encoder(run.model.teacher, model, dictionary, rows)


def bare(model: PreTrainedModel, directory: Path) -> None:
    getattr(model, model.base_model_prefix).save_pretrained(directory)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta", "camembert"])
def test_an_encoder_without_a_masked_lm_head(make_source: Callable, gpt2_encoder: dict[str, int], family: str) -> None:
    directory, model, rows = make_source(family, bare)
    dictionary = shuffled_dictionary(rows)
    ours = imported(directory, dictionary, gpt2_encoder).eval()
    assert ours.masked_lm_head is None
    tokens = torch.tensor([[0, 7, 5, 9, 6, 2], [0, 8, 4, 2, 1, 1]])
    is_token = tokens.ne(dictionary.pad())
    row_of_id = torch.tensor([rows[symbol] for symbol in dictionary.symbols])
    with torch.no_grad():
        body = getattr(model, model.base_model_prefix)
        expected = body(row_of_id[tokens], attention_mask=is_token.long()).last_hidden_state
        assert_close(ours(tokens, features_only=True)[0][is_token], expected[is_token])
    with pytest.raises(UserError, match="the encoder has no masked-LM head"):
        ours(tokens)


def test_byte_level_pieces_need_the_data(make_source: Callable) -> None:
    directory = make_source("roberta").directory
    with pytest.raises(UserError, match="its tokeniser is a byte-level BPE, .* give --data"):
        import_transformers(directory, None)
