"""What transformers loads from an export: ids, logits, and after a round trip the same tensors bit for bit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

from fairseq_distil.checkpoints.export_transformers import SENTENCES, export_transformers
from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.checkpoints.model_card import model_card
from fairseq_distil.checkpoints.plugin_checkpoint import write_checkpoint
from fairseq_distil.data.symbol_dictionary import build_dictionary
from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, Tokenizer, WordPieceTokenizer
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining
from fairseq_distil.errors import UserError
from fairseq_distil.hub_interface import DistilEncoderHubInterface
from fairseq_distil.models import DistilEncoderModel

TINY = {"encoder_layers": 2, "encoder_embed_dim": 12, "encoder_attention_heads": 4, "max_positions": 90}
TEXT = ["the quick brown fox jumps over a lazy dog", "while seven more foxes watch it from far away", "it, the fox."]
DIFFICULT = [
    "Ça déjà vu, naïve Ångström — ÉCOLE; the fox",
    "e\u0301te\u0301 中文和English混排。日本語 😀👍🏽",
    "",
    "   \t ",
    "nbsp\u00a0here ideographic\u3000space  two  spaces ",
    "don't WE'LL 3.14 a_b-c/d@e.com $5 ^~| madeupword0000",
]


def save_data(tokenizer: Tokenizer, directory: Path, order: Callable[[list[str]], list[str]] = list) -> Path:
    """A directory as ``prepare_data.py`` writes it, without any text."""
    directory.mkdir()
    symbols = build_dictionary(tokenizer).symbols[4:]
    dictionary = Dictionary()
    for symbol in order(symbols):
        dictionary.add_symbol(symbol, n=3)
    dictionary.save(str(directory / "dict.txt"))
    tokenizer.save(directory)
    return directory


@pytest.fixture
def make_tokenizer(tmp_path: Path, gpt2_encoder: dict[str, int]) -> Callable[[str], Tokenizer]:
    """A tiny tokeniser of a kind."""

    def make(kind: str) -> Tokenizer:
        if kind.startswith("wordpiece"):
            pieces = "[PAD] a [UNK] [CLS] [SEP] [MASK] the quick fox dog ##s it , . 日 é e t ##t"
            (tmp_path / "pieces.txt").write_text("\n".join(pieces.split()), encoding="utf-8")
            return WordPieceTokenizer(tmp_path / "pieces.txt", lowercase=kind == "wordpiece")
        if kind == "gpt2-bpe":
            (tmp_path / "encoder.json").write_text(json.dumps(gpt2_encoder))
            merges = [piece for piece in gpt2_encoder if piece not in ByteLevel.alphabet()]
            lines = "".join(f"{merge[:-1]} {merge[-1]}\n" if merge != "Ġthe" else "Ġt he\n" for merge in merges)
            (tmp_path / "vocab.bpe").write_text(lines)
            return GPT2BPETokenizer(tmp_path / "encoder.json", tmp_path / "vocab.bpe")
        training = SentencePieceTraining(vocabulary_size=41, model_type=kind.removeprefix("sentencepiece-"))
        training.train(TEXT * 30, tmp_path / "trained.model")
        return SentencePieceTokenizer(tmp_path / "trained.model")

    return make


@pytest.fixture
def make_interface(setup_run: Callable, tmp_path: Path) -> Callable[..., DistilEncoderHubInterface]:
    """An encoder with random weights, on the data of a tokeniser."""

    def make(tokenizer: Tokenizer, order: Callable[[list[str]], list[str]] = list, **sizes: object):
        data = save_data(tokenizer, tmp_path / "data", order)
        run = setup_run({"_name": "distil_encoder", **TINY, **sizes}, data=str(data))
        generator = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for parameter in run.model.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        return DistilEncoderHubInterface(run.task, run.model)

    return make


@pytest.mark.parametrize("architecture", ["distilbert", "bert", "roberta"])
@pytest.mark.parametrize(
    "kind", ["wordpiece", "wordpiece-cased", "gpt2-bpe", "sentencepiece-unigram", "sentencepiece-bpe"]
)
def test_ids_and_logits(
    make_tokenizer: Callable, make_interface: Callable, tmp_path: Path, kind: str, architecture: str
) -> None:
    interface = make_interface(make_tokenizer(kind), lambda symbols: sorted(symbols, key=hash_of) + ["madeupword0000"])
    output = tmp_path / "new" / "student"
    difference = export_transformers(interface, output, architecture, "# Card\n")
    assert difference <= 1e-5
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {p.name for p in output.iterdir()}
    assert [path.name for path in output.parent.iterdir()] == ["student"]

    tokenizer, model = AutoTokenizer.from_pretrained(output), AutoModelForMaskedLM.from_pretrained(output)
    assert model.config.model_type == architecture
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    for text in [*SENTENCES[:1], *TEXT, *DIFFICULT]:
        ids = tokenizer(text)["input_ids"]
        symbols = interface.tokenizer.encode(text)
        expected = [interface.tokenizer.piece_of(symbol) for symbol in symbols]
        unknown = tokenizer.unk_token
        assert [pieces[index] for index in ids[1:-1]] == [unknown if s == "<unk>" else s for s in expected], text
        logits = model(torch.tensor([ids])).logits[0, 0]
        dictionary = interface.task.source_dictionary
        tokens = torch.tensor([dictionary.bos(), *map(dictionary.index, symbols), dictionary.eos()])
        ours = interface.model(tokens[None])[0][0, 0]
        torch.testing.assert_close(logits.sort().values[-9:], ours.sort().values[-9:], atol=1e-5, rtol=1e-5)


def hash_of(symbol: str) -> int:
    """An order that is neither the tokeniser's nor the alphabet's."""
    return sum(map(ord, symbol)) * 7919 % 101


@pytest.mark.parametrize(
    ("family", "kind"), [("distilbert", "wordpiece"), ("bert", "wordpiece"), ("roberta", "gpt2-bpe")]
)
def test_round_trip_bit_for_bit(
    make_source: Callable,
    gpt2_encoder: dict[str, int],
    make_tokenizer: Callable,
    tmp_path: Path,
    family: str,
    kind: str,
) -> None:
    without_spare_rows = {"vocab_size": 29} if family == "bert" else {}
    directory, model, rows = make_source(family, **without_spare_rows)
    tokenizer = WordPieceTokenizer(directory / "vocab.txt") if kind == "wordpiece" else make_tokenizer(kind)
    in_source_order = sorted(tokenizer.symbols, key=rows.__getitem__)
    data = save_data(tokenizer, tmp_path / "data", lambda symbols: in_source_order)
    write_checkpoint(import_checkpoint(directory, data=data), tmp_path / "teacher.pt")
    interface = DistilEncoderModel.from_pretrained(str(tmp_path), "teacher.pt", str(data))
    export_transformers(interface, tmp_path / "back", family, "")

    back = AutoModelForMaskedLM.from_pretrained(tmp_path / "back").state_dict()
    expected = model.state_dict()
    assert back.keys() == expected.keys()
    folded = {name for name in expected if "token_type_embeddings" in name or "position_embeddings" in name}
    for name, tensor in expected.items():
        if name not in folded or family == "distilbert":
            assert torch.equal(back[name], tensor), name
    if family != "distilbert":
        types, positions = (f"{family}.embeddings.{kind}_embeddings.weight" for kind in ("token_type", "position"))
        first = 2 if family == "roberta" else 0
        assert torch.equal(back[positions][first:], (expected[positions] + expected[types][0])[first:])
        assert not back[positions][:first].any() and not back[types].any()


def test_fill_mask_pipeline(make_tokenizer: Callable, make_interface: Callable, tmp_path: Path) -> None:
    interface = make_interface(make_tokenizer("wordpiece"))
    export_transformers(interface, tmp_path / "student", "distilbert", "")
    best = pipeline("fill-mask", model=str(tmp_path / "student"))("the [MASK] fox", top_k=3)
    ours = interface.fill_mask("the <mask> fox", topk=3)
    assert [guess["score"] for guess in best] == pytest.approx([filling.probability for filling in ours], rel=1e-4)


@pytest.mark.parametrize(
    ("architecture", "sizes", "reason"),
    [
        ("distilbert", {"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05, and this architecture has 1e-12 only"),
        ("roberta", {"activation_fn": "relu"}, "activation_fn is relu, and this architecture has gelu only"),
    ],
)
def test_what_an_architecture_cannot_express(
    make_tokenizer: Callable, make_interface: Callable, tmp_path: Path, architecture: str, sizes: dict, reason: str
) -> None:
    interface = make_interface(make_tokenizer("wordpiece"), **sizes)
    with pytest.raises(UserError, match=f"--architecture {architecture}: {reason}; choose another"):
        export_transformers(interface, tmp_path / "student", architecture, "")
    assert not (tmp_path / "student").exists()
    export_transformers(interface, tmp_path / "student", "bert", "")


def test_an_existing_output_stays(make_tokenizer: Callable, make_interface: Callable, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    with pytest.raises(UserError, match="exists already"):
        export_transformers(make_interface(make_tokenizer("wordpiece")), tmp_path / "student", "bert", "")
    assert list((tmp_path / "student").iterdir()) == []


def test_a_difference_is_found(
    make_tokenizer: Callable, make_interface: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison itself: with another tolerance than numbers can meet, nothing is written."""
    monkeypatch.setattr("fairseq_distil.checkpoints.export_transformers.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="student: the logits of transformers differ by .* nothing was written"):
        export_transformers(make_interface(make_tokenizer("wordpiece")), tmp_path / "student", "bert", "")
    assert not any("student" in path.name for path in tmp_path.iterdir())


def test_model_card(teacher_path: str, teacher_run) -> None:
    checkpoint = checkpoint_utils.load_checkpoint_to_cpu(teacher_path)
    card = model_card("mini", teacher_run.model, checkpoint, "| perplexity |\n")
    assert "# mini\n" in card and "3 layers of width 12, 4 attention heads" in card
    assert "| criterion | masked_lm |" in card and "| task.data | binarised |" in card
    assert card.endswith("## Metrics\n\n| perplexity |\n")
