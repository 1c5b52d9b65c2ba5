"""Which characters of the original text each tokeniser's tokens stand for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, Tokenizer, WordPieceTokenizer
from fairseq_distil.data.tokenizers.offsets import tight_offsets
from fairseq_distil.data.tokenizers.sentencepiece_training import SentencePieceTraining

TEXT = "Ça  déjà e\u0301te\u0301 vu:  中文和日本語   (ok) 😀👩\u200d👩 soft\u00adhy, Ⅷ ﬁne  fin.\u0301 "
ANSWERS = [
    "Ça",
    "déjà e\u0301te\u0301",
    "e\u0301te\u0301",
    "vu",
    "ok",
    "soft\u00adhy",
    "fin",
    "déjà e\u0301te\u0301 vu",
]
OF_CHARACTERS = ["中文", "文和日", "本語"]  # in the vocabularies here, each of these characters is a token
WORDPIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] ca de ##ja et ##e vu : 中 文 和 日 本 語 ( ok ) soft ##hy , fin fi ##ne ."


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Tokenizer]]:
    directory = tmp_path_factory.mktemp("tokenizers")

    def wordpiece() -> Tokenizer:
        path = directory / "pieces.txt"
        path.write_text("\n".join(WORDPIECES.split()), encoding="utf-8")
        return WordPieceTokenizer(path)

    def sentencepiece() -> Tokenizer:
        lines = ["Ça déjà été vu: 中 文 和 日 本 語 ( ok ) soft hy, fine fin."] * 20
        SentencePieceTraining(vocabulary_size=36, character_coverage=1.0).train(lines, directory / "model")
        return SentencePieceTokenizer(directory / "model")

    return {"wordpiece": wordpiece, "sentencepiece": sentencepiece}


@pytest.fixture(params=["wordpiece", "sentencepiece", "gpt2"])
def tokenizer(request: pytest.FixtureRequest, make: dict, gpt2_files: tuple[Path, Path]) -> Tokenizer:
    return GPT2BPETokenizer(*gpt2_files) if request.param == "gpt2" else make[request.param]()


def text_of_answer(tokenizer: Tokenizer, answer: str) -> str:
    """What its tokens' characters give: those of the first token to those of the last."""
    begin = TEXT.index(answer)
    _, offsets = tokenizer.encode_with_offsets(TEXT)
    inside = [index for index, (first, last) in enumerate(offsets) if first < begin + len(answer) and last > begin]
    return TEXT[offsets[inside[0]][0] : offsets[inside[-1]][1]]


@pytest.mark.parametrize("answer", ANSWERS + OF_CHARACTERS)
def test_the_tokens_of_an_answer_give_its_text(tokenizer: Tokenizer, answer: str) -> None:
    assert text_of_answer(tokenizer, answer) == answer


def test_emoji(tokenizer: Tokenizer) -> None:
    assert text_of_answer(tokenizer, "😀👩\u200d👩") == "😀👩\u200d👩"


def test_ids_are_those_without_offsets(tokenizer: Tokenizer, difficult_texts: list[str]) -> None:
    for text in [TEXT, *difficult_texts]:
        ids, offsets = tokenizer.encode_with_offsets(text)
        assert ids == tokenizer.encode_ids([text])[0]
        assert len(ids) == len(offsets)


def test_offsets_are_in_order_and_hold_every_visible_character(tokenizer: Tokenizer) -> None:
    _, offsets = tokenizer.encode_with_offsets(TEXT)
    assert offsets == sorted(offsets)
    covered = {index for begin, end in offsets for index in range(begin, end)}
    # the accent after the full stop follows it, as any combining character does
    assert covered == {index for index, character in enumerate(TEXT) if not character.isspace()}
    assert all(TEXT[begin:end].strip() == TEXT[begin:end] for begin, end in offsets)


@pytest.mark.parametrize(
    ("text", "offsets", "expected"),
    [
        ("", [], []),
        (" a  b ", [(0, 2), (2, 5)], [(1, 2), (4, 5)]),  # spaces belong to what follows
        ("a   b", [(0, 1), (1, 3), (3, 5)], [(0, 1), (3, 3), (4, 5)]),  # a token of spaces is empty
        ("e\u0301 e\u0301", [(0, 1), (3, 4)], [(0, 2), (3, 5)]),  # what normalisation dropped
        ("😀x", [(0, 1), (0, 1), (1, 2)], [(0, 1), (0, 1), (1, 2)]),  # bytes of one character
        ("a \u200b b", [(0, 1), (4, 5)], [(0, 1), (4, 5)]),  # dropped, and not beside a token
    ],
)
def test_tight_offsets(text: str, offsets: list, expected: list) -> None:
    assert tight_offsets(text, offsets) == expected
