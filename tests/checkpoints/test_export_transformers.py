"""What transformers loads from an export: ids, logits, and after a round trip the same tensors bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertTokenizer, pipeline

from fairseq_distil.checkpoints.export_check import SENTENCES
from fairseq_distil.checkpoints.export_checkpoint import ExportOptions, export
from fairseq_distil.checkpoints.export_transformers import ARCHITECTURES, default_architecture, their_tokenizer
from fairseq_distil.checkpoints.exportable import Exportable, load_exportable
from fairseq_distil.checkpoints.import_checkpoint import import_checkpoint
from fairseq_distil.checkpoints.plugin_checkpoint import write_checkpoint
from fairseq_distil.data.tokenizers import WordPieceTokenizer
from fairseq_distil.errors import UserError

from .exportables import TEXT, save_data

DIFFICULT = [
    "Ça déjà vu, naïve Ångström — ÉCOLE; the fox",
    "e\u0301te\u0301 中文和English混排。日本語 😀👍🏽",
    "",
    "   \t ",
    "nbsp\u00a0here ideographic\u3000space  two  spaces ",
    "don't WE'LL 3.14 a_b-c/d@e.com $5 ^~| madeupword0000",
]


def written(exportable: Exportable, output: Path, architecture: str | None = None) -> Path:
    export(exportable, output, ExportOptions(architecture=architecture))
    return output


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    "kind", ["wordpiece", "wordpiece-cased", "gpt2-bpe", "sentencepiece-unigram", "sentencepiece-bpe"]
)
def test_ids_and_logits(
    make_tokenizer: Callable, make_exportable: Callable, tmp_path: Path, kind: str, architecture: str
) -> None:
    encoder = make_exportable(make_tokenizer(kind), lambda names: [*sorted(names, key=hash_of), "madeupword0000"])
    output = written(encoder, tmp_path / "new" / "student", architecture)
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= {p.name for p in output.iterdir()}
    assert [path.name for path in output.parent.iterdir()] == ["student"]
    assert len({path.stat().st_mode for path in output.iterdir()}) == 1

    tokenizer, model = AutoTokenizer.from_pretrained(output), AutoModelForMaskedLM.from_pretrained(output)
    assert model.config.model_type == architecture
    pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    for text in [*SENTENCES[:1], *TEXT, *DIFFICULT]:
        ids = tokenizer(text)["input_ids"]
        symbols = encoder.tokenizer.encode(text)
        expected = [encoder.tokenizer.piece_of(symbol) for symbol in symbols]
        unknown = tokenizer.unk_token
        assert [pieces[index] for index in ids[1:-1]] == [unknown if s == "<unk>" else s for s in expected], text
        logits = model(torch.tensor([ids])).logits[0, 0]
        dictionary = encoder.dictionary
        tokens = torch.tensor([dictionary.bos(), *map(dictionary.index, symbols), dictionary.eos()])
        ours = encoder.model(tokens[None])[0][0, 0]
        torch.testing.assert_close(logits.sort().values[-9:], ours.sort().values[-9:], atol=1e-5, rtol=1e-5)


def hash_of(symbol: str) -> int:
    """An order that is neither the tokeniser's nor the alphabet's."""
    return sum(map(ord, symbol)) * 7919 % 101


@pytest.mark.parametrize("name", ["bert-base-uncased", "bert-base-cased"])
def test_published_vocabularies_give_the_ids_of_berts_own_tokeniser(
    make_exportable: Callable, published_vocabularies: Path, difficult_texts: list[str], name: str
) -> None:
    path = published_vocabularies / f"{name}-vocab.txt"
    ours = their_tokenizer(make_exportable(WordPieceTokenizer(path), lambda symbols: symbols[::-1]))
    theirs = BertTokenizer(str(path), do_lower_case=name.endswith("uncased"))
    assert ours(difficult_texts)["input_ids"] == theirs(difficult_texts)["input_ids"]
    pairs = [difficult_texts[0], ""], ["Some other text.", difficult_texts[2]]
    assert ours(*pairs)["input_ids"] == theirs(*pairs)["input_ids"]


@pytest.mark.parametrize(
    ("family", "head"),
    [
        *((family, head) for family in ARCHITECTURES for head in ("masked-lm", "encoder", "question-answering")),
        ("distilbert", "classification"),  # the others' is built otherwise
    ],
)
def test_round_trip_bit_for_bit(
    make_source: Callable, make_tokenizer: Callable, tmp_path: Path, family: str, head: str
) -> None:
    """From transformers and back, for every head of every family."""
    without_spare_rows = {"vocab_size": 29} if family == "bert" else {}
    directory, model, rows = make_source(family, head=head, **without_spare_rows)
    is_roberta = family == "roberta"
    tokenizer = make_tokenizer("gpt2-bpe") if is_roberta else WordPieceTokenizer(directory / "vocab.txt")
    data = save_data(tokenizer, tmp_path / "data", lambda symbols: sorted(symbols, key=rows.__getitem__))
    write_checkpoint(import_checkpoint(directory, data=data), tmp_path / "teacher.pt")
    back = written(load_exportable(tmp_path / "teacher.pt", data), tmp_path / "back", family)
    assert_same_weights(type(model).from_pretrained(back).state_dict(), model.state_dict(), family)


def assert_same_weights(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], family: str) -> None:
    """Bit for bit; but token types are folded into positions, and a pooler is nobody's."""
    expected = {name: tensor for name, tensor in expected.items() if "pooler" not in name}
    assert expected.keys() == {name for name in found if "pooler" not in name}
    folded = {kind: [name for name in expected if f"{kind}_embeddings" in name] for kind in ("token_type", "position")}
    for name, tensor in expected.items():
        if family == "distilbert" or name not in sum(folded.values(), []):
            assert torch.equal(found[name], tensor), name
    if family != "distilbert":
        (types,), (positions,) = folded.values()
        first = 2 if family == "roberta" else 0
        assert torch.equal(found[positions][first:], (expected[positions] + expected[types][0])[first:])
        assert not found[positions][:first].any() and not found[types].any()


def test_fill_mask_pipeline(make_exportable: Callable, tmp_path: Path) -> None:
    encoder = make_exportable()
    student = written(encoder, tmp_path / "student", "distilbert")
    best = pipeline("fill-mask", model=str(student))("the [MASK] fox", top_k=3)
    symbols = ["<s>", "the", "<mask>", "fox", "</s>"]
    logits = encoder.model(torch.tensor([[encoder.dictionary.index(symbol) for symbol in symbols]]))[0]
    ours = logits[0, 2].softmax(-1).topk(3).values.tolist()
    assert [guess["score"] for guess in best] == pytest.approx(ours, rel=1e-4)


@pytest.mark.parametrize(
    ("trained_as", "heads", "sizes", "expected"),
    [
        ("teacher_student", {}, {}, "distilbert"),
        ("teacher_student_base", {}, {}, "distilbert"),
        ("distilbert_base", {}, {}, "distilbert"),
        ("distil_encoder", {}, {}, "bert"),
        ("distil_encoder_base", {"head": "encoder"}, {}, "bert"),
        ("teacher_student", {}, {"layer_norm_epsilon": 1e-5}, "bert"),
        ("distil_encoder", {"answers": True}, {}, "distilbert"),
        ("distil_encoder", {"answers": True}, {"layer_norm_epsilon": 1e-5}, "bert"),
        ("distil_encoder", {"classes": {"x": 2}}, {}, "distilbert"),
        ("distil_encoder", {"classes": {"x": 2}}, {"layer_norm_epsilon": 1e-5}, "distilbert"),
    ],
)
def test_default_architecture(
    make_exportable: Callable, trained_as: str, heads: dict, sizes: dict, expected: str
) -> None:
    assert default_architecture(make_exportable(trained_as=trained_as, **heads, **sizes)) == expected


@pytest.mark.parametrize(
    ("architecture", "sizes", "reason"),
    [
        ("distilbert", {"layer_norm_epsilon": 1e-5}, "layer_norm_eps is 1e-05, and this architecture has 1e-12 only"),
        ("roberta", {"activation": "relu"}, "activation_fn is relu, and this architecture has gelu only"),
    ],
)
def test_what_an_architecture_cannot_express(
    make_exportable: Callable, tmp_path: Path, architecture: str, sizes: dict, reason: str
) -> None:
    encoder = make_exportable(**sizes)
    with pytest.raises(UserError, match=f"--architecture {architecture}: {reason}; choose another"):
        written(encoder, tmp_path / "student", architecture)
    assert not (tmp_path / "student").exists()
    written(encoder, tmp_path / "student", "bert")


def test_an_existing_output_stays(make_exportable: Callable, tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    with pytest.raises(UserError, match="exists already"):
        written(make_exportable(), tmp_path / "student")
    assert list((tmp_path / "student").iterdir()) == []


def test_a_difference_is_found(make_exportable: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself: with another tolerance than numbers can meet, nothing is written."""
    monkeypatch.setattr("fairseq_distil.checkpoints.export_check.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="student: the outputs of transformers differ by .* nothing was written"):
        written(make_exportable(), tmp_path / "student")
    assert not any("student" in path.name for path in tmp_path.iterdir())
