import json
from pathlib import Path

import pytest

from fairseq_distil.data.tokenizers import Tokenizer, WordPieceTokenizer, load_tokenizer
from fairseq_distil.data.tokenizers.base import SETTINGS_FILE
from fairseq_distil.errors import UserError


@pytest.mark.parametrize(
    ("fixture", "files"),
    [
        ("sentencepiece", {"sentencepiece.bpe.model"}),
        ("wordpiece", {"vocab.txt"}),
        ("gpt2", {"encoder.json", "vocab.bpe"}),
    ],
)
def test_what_was_saved_loads_as_the_same_tokenizer(
    fixture: str, files: set[str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(fixture)
    directory = tmp_path / "saved"
    directory.mkdir()
    tokenizer.save(directory)
    loaded = load_tokenizer(directory)
    assert {path.name for path in directory.iterdir()} == files | {SETTINGS_FILE}
    assert type(loaded) is type(tokenizer)
    assert loaded.vocabulary == tokenizer.vocabulary
    assert loaded.encode("The quick fox, été") == tokenizer.encode("The quick fox, été")


def test_case_is_remembered(wordpiece_file: Path, tmp_path: Path) -> None:
    WordPieceTokenizer(wordpiece_file, lowercase=False).save(tmp_path)
    assert load_tokenizer(tmp_path).encode("the The") == ["the", "<unk>"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "kind is None"),
        ({"kind": "morse"}, "kind is 'morse'; expected one of sentencepiece, wordpiece, gpt2-bpe"),
        ({"kind": ["wordpiece"]}, "kind is"),
        ({"kind": "wordpiece"}, r"expected the settings lowercase: bool, found \(none\)"),
        ({"kind": "wordpiece", "lowercase": 1}, "found lowercase: int"),
        ({"kind": "wordpiece", "lowercase": True, "vocab": "/etc/passwd"}, "found lowercase: bool, vocab: str"),
    ],
)
def test_settings_are_checked(settings, message: str, wordpiece: WordPieceTokenizer, tmp_path: Path) -> None:
    wordpiece.save(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text(settings if isinstance(settings, str) else json.dumps(settings))
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path)


def test_missing_files_are_named(wordpiece: WordPieceTokenizer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{SETTINGS_FILE}: no such file"):
        load_tokenizer(tmp_path)
    wordpiece.save(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(UserError, match="vocab.txt: not found"):
        load_tokenizer(tmp_path)
