"""An encoder of this project as a directory that transformers loads."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fairseq_distil.checkpoints.conversion import to_their_weights
from fairseq_distil.checkpoints.export_tokenizer import id_of_piece, to_transformers_tokenizer
from fairseq_distil.checkpoints.families import BERT_FAMILY, DISTILBERT_FAMILY, ROBERTA_FAMILY
from fairseq_distil.data.atomic_directory import atomic_directory
from fairseq_distil.data.dictionary_check import MASK_SYMBOL
from fairseq_distil.data.tokenizers import WordPieceTokenizer
from fairseq_distil.data.tokenizers.wordpiece import VOCABULARY_FILE
from fairseq_distil.errors import UserError, naming
from fairseq_distil.models.distil_encoder_config import encoder_sizes

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from fairseq_distil.hub_interface import DistilEncoderHubInterface

ARCHITECTURES = {"distilbert": DISTILBERT_FAMILY, "bert": BERT_FAMILY, "roberta": ROBERTA_FAMILY}
TOLERANCE = 1e-5  # of logits, relative to the largest of them where that is above 1
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    f"The capital of France is {MASK_SYMBOL}.",
    f"In 1998, {MASK_SYMBOL} won 3-2; nobody had expected it!",
    "Ça déjà vu, naïve Ångström: 日本語と中文 😀, don't you think?",
    "",
)
"""What every export is compared on before it is reported to have succeeded."""


def export_transformers(
    interface: "DistilEncoderHubInterface", output: Path, architecture: str, model_card: str
) -> float:
    """Write ``config.json``, ``model.safetensors``, the tokeniser and a model card; all of it or nothing.

    Args:
        interface: the encoder with its tokeniser
        output: new directory
        architecture: a key of ``ARCHITECTURES``; the model is its ``...ForMaskedLM``
        model_card: content of README.md

    Returns:
        the largest difference between a logit of the encoder and of the model that transformers loads

    Raises:
        UserError: the output exists, the architecture cannot express the encoder, or what transformers loads differs
    """
    ids = id_of_piece(interface.tokenizer, interface.task.source_dictionary)
    tokenizer = to_transformers_tokenizer(interface.tokenizer, ids, interface.model.max_positions())
    with naming(f"--architecture {architecture}"):
        model = _model(interface, tokenizer, list(ids.values()), architecture)
    with atomic_directory(output) as directory:
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        if isinstance(interface.tokenizer, WordPieceTokenizer):
            (directory / VOCABULARY_FILE).write_bytes(interface.tokenizer.files[VOCABULARY_FILE])
        (directory / "README.md").write_text(model_card, encoding="utf-8")
        with naming(output):
            return verify(directory, interface, list(ids.values()))


def verify(directory: Path, interface: "DistilEncoderHubInterface", ids: Sequence[int]) -> float:
    """Load what was written with transformers, and compare ids and logits.

    Args:
        directory: to load
        interface: the encoder that was exported
        ids: our dictionary's id of each of their rows

    Returns:
        the largest difference of a logit

    Raises:
        UserError: ids or logits differ
    """
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = AutoModelForMaskedLM.from_pretrained(directory, local_files_only=True).eval()
    length = interface.model.max_positions()
    texts = [sentence.replace(MASK_SYMBOL, tokenizer.mask_token) for sentence in SENTENCES]
    batch = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    rows_to_ids = torch.tensor(ids)
    tokens = rows_to_ids[batch["input_ids"]]
    dictionary = interface.task.source_dictionary
    for sentence, attended, row in zip(SENTENCES, batch["attention_mask"].bool(), tokens, strict=True):
        ours = [dictionary.index(symbol) for symbol in interface.symbols(sentence)][: length - 2]
        if row[attended].tolist()[1:-1] != ours:
            raise UserError(f"transformers would split {sentence!r} otherwise than this project; nothing was written")
    return _require_same_logits(model, batch, interface.model, tokens, rows_to_ids)


@torch.inference_mode()
def _require_same_logits(
    theirs: "PreTrainedModel", batch: Any, ours: torch.nn.Module, tokens: Tensor, rows_to_ids: Tensor
) -> float:
    attended = batch["attention_mask"].bool()
    expected = ours(tokens)[0][attended][:, rows_to_ids]
    difference = (theirs(**batch).logits[attended] - expected).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
        raise UserError(f"the logits of transformers differ by {difference:.2g} from ours; nothing was written")
    return difference


def _model(
    interface: "DistilEncoderHubInterface", tokenizer: "PreTrainedTokenizerFast", ids: list[int], architecture: str
) -> "PreTrainedModel":
    from transformers import AutoConfig, AutoModelForMaskedLM

    family, config = ARCHITECTURES[architecture], interface.model.config
    sizes = family.config(encoder_sizes(config), tokenizer.pad_token_id)
    names = ("pad_token_id", "bos_token_id", "eos_token_id")
    tokens = {name: getattr(tokenizer, name) for name in names}
    their_config = AutoConfig.for_model(architecture, vocab_size=len(ids), **sizes, **tokens)
    model = AutoModelForMaskedLM.from_config(their_config)
    first_position = family.first_position({"pad_token_id": tokenizer.pad_token_id})
    weights = to_their_weights(interface.model.state_dict(), family.key_map, config.layers, ids, first_position)
    if family.key_map.token_types:
        types = model.state_dict()[family.key_map.token_types]
        weights[family.key_map.token_types] = torch.zeros_like(types)
    problems = model.load_state_dict(weights, strict=False)
    if problems.unexpected_keys or set(problems.missing_keys) - set(family.key_map.tied):
        raise RuntimeError(f"the key map does not fit this version of transformers: {problems}")
    return model.eval()
