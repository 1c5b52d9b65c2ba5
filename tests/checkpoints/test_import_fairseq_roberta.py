"""fairseq's own RoBERTa against what its import gives."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.roberta import RobertaModel
from torch import Tensor

from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder

assert_close = partial(torch.testing.assert_close, atol=1e-5, rtol=1e-5)
# fairseq reads the Namespaces of old checkpoints through parts of Hydra that have been renamed since.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:hydra"),
    pytest.mark.filterwarnings("ignore:(?s).*ConfigStore:UserWarning"),
]
OPTIONS = {
    "encoder_layers": 3,
    "encoder_embed_dim": 12,
    "encoder_ffn_embed_dim": 20,
    "encoder_attention_heads": 4,
    "max_positions": 17,
}


@pytest.fixture
def dictionary() -> Dictionary:
    dictionary = Dictionary()
    for index in range(23):
        dictionary.add_symbol(str(100 - index), n=50 - index)
    return dictionary


@pytest.fixture
def make_roberta(dictionary: Dictionary, tmp_path: Path) -> Callable:
    """Builds a random RoBERTa, and saves it with its ``dict.txt``; tensors may be renamed on the way."""

    def make(rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict, **options: object):
        dictionary.save(str(tmp_path / "dict.txt"))
        with_mask = Dictionary.load(str(tmp_path / "dict.txt"))
        with_mask.add_symbol("<mask>")
        args = argparse.Namespace(_name="roberta", task="masked_lm", arch="roberta", **OPTIONS | options)
        task = argparse.Namespace(source_dictionary=with_mask)
        model = RobertaModel.build_model(argparse.Namespace(**vars(args)), task).eval()
        generator = torch.Generator().manual_seed(8)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        state = {"args": args, "model": rename(model.state_dict())}
        state |= {"optimizer_history": [{"lr_scheduler_state": {}}], "extra_state": {"train_iterator": None}}
        path = tmp_path / "model.pt"
        torch.save(state, path)
        return path, model, with_mask

    return make


def assert_same_logits_and_hidden_states(path: Path, theirs: RobertaModel, own: Dictionary, ours: Dictionary) -> None:
    stored = read_encoder(str(path), ours)
    teacher = DistilEncoderModel.restored(stored.config, stored.weights)
    rows = torch.tensor([own.index(symbol) for symbol in ours.symbols])
    tokens = torch.randint(4, len(ours), (3, 11), generator=torch.Generator().manual_seed(6))
    tokens[1, 8:] = tokens[2, 5:] = ours.pad()
    is_token = tokens.ne(ours.pad())
    expected, extra = theirs(rows[tokens], return_all_hiddens=True)
    logits, our_extra = teacher.eval()(tokens, return_all_hiddens=True)
    assert_close(logits[is_token], expected[is_token][:, rows])
    for our_hidden, their_hidden in zip(our_extra["inner_states"], extra["inner_states"], strict=True):
        assert_close(our_hidden[is_token], their_hidden.transpose(0, 1)[is_token])


def old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the published checkpoints: ``decoder``, ``emb_layer_norm``, and queries, keys and values in one tensor."""
    old = {}
    for name, tensor in weights.items():
        name = name.replace("layernorm_embedding", "emb_layer_norm").replace("encoder.", "decoder.", 1)
        if ".q_proj." in name:
            parts = [tensor, *(weights_of(weights, name, kind) for kind in "kv")]
            old[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            old[name] = tensor
    return old | {"decoder.sentence_encoder.embed_positions._float_tensor": torch.zeros(1)}


def weights_of(weights: dict[str, Tensor], name: str, kind: str) -> Tensor:
    return weights[name.replace("q_proj", f"{kind}_proj").replace("decoder.", "encoder.", 1)]


@pytest.mark.parametrize("rename", [dict, old_names])
@pytest.mark.parametrize("activation", ["gelu", "gelu_accurate", "relu"])
def test_parity(make_roberta: Callable, rename: Callable, activation: str) -> None:
    path, model, own = make_roberta(rename, activation_fn=activation)
    assert_same_logits_and_hidden_states(path, model, own, own)


def test_another_order_of_symbols(make_roberta: Callable) -> None:
    path, model, own = make_roberta()
    other = Dictionary()
    for symbol in [*sorted(own.symbols[4:-1]), "<mask>"]:
        other.add_symbol(symbol)
    assert_same_logits_and_hidden_states(path, model, own, other)


@pytest.mark.parametrize("option", ["encoder_normalize_before", "untie_weights_roberta"])
def test_variants_that_are_not_implemented(make_roberta: Callable, option: str) -> None:
    path = make_roberta(**{option: True})[0]
    with pytest.raises(UserError, match=f"model.pt: {option} is True, which this encoder does not implement"):
        import_checkpoint(path)


def test_classification_heads_are_left_out(make_roberta: Callable) -> None:
    path = make_roberta(lambda weights: {**weights, "classification_heads.x.dense.weight": torch.zeros(2, 2)})[0]
    assert "masked_lm_head.bias" in import_checkpoint(path)["model"]


def test_without_a_dictionary(make_roberta: Callable, tmp_path: Path) -> None:
    path = make_roberta()[0]
    (tmp_path / "dict.txt").unlink()
    with pytest.raises(UserError, match=r"model.pt: there is no dict.txt beside it"):
        import_checkpoint(path)


def test_symbols_that_it_lacks(make_roberta: Callable, dictionary: Dictionary, tmp_path: Path) -> None:
    path = make_roberta()[0]
    dictionary.add_symbol("777")
    (tmp_path / "data").mkdir()
    dictionary.save(str(tmp_path / "data" / "dict.txt"))
    with pytest.raises(UserError, match=r"lacks 1 of the 29 symbols of the data's dictionary, first '777' \(id 27\)"):
        import_checkpoint(path, data=tmp_path / "data")
