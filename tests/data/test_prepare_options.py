from pathlib import Path

import pytest

from fairseq_distil.data.prepare_options import parse_options
from fairseq_distil.errors import UserError

SENTENCEPIECE = "--tokenizer sentencepiece"
WORDPIECE = "--tokenizer wordpiece --vocab vocab.txt"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("vocab.txt", "a.model", "dict.txt", "encoder.json", "vocab.bpe"):
        Path(name).touch()


def parse(text: str):
    return parse_options(["--input", "a.txt", "--output", "out", *text.split()])


def test_defaults() -> None:
    options = parse(f"{SENTENCEPIECE} --vocab-size 8000")
    assert (options.valid, options.valid_fraction, options.seed, options.vocab_size) == (None, 0.01, 0, 8000)
    assert options.workers >= 1
    assert parse(WORDPIECE).cased is None and parse(f"{WORDPIECE} --no-cased").cased is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SENTENCEPIECE, "needs --vocab-size, to train, or --sentencepiece-model"),
        (f"{SENTENCEPIECE} --vocab-size 9 --sentencepiece-model a.model", "--vocab-size is for training"),
        (
            f"{SENTENCEPIECE} --sentencepiece-model a.model --character-coverage 1",
            "--character-coverage is for training",
        ),
        (f"{SENTENCEPIECE} --vocab-size 9 --dictionary dict.txt", "--dictionary fits no tokeniser"),
        (f"{SENTENCEPIECE} --vocab-size 9 --vocab vocab.txt", "--vocab is for --tokenizer wordpiece"),
        (f"{SENTENCEPIECE} --vocab-size 9 --no-cased", "--cased is for --tokenizer wordpiece"),
        (f"{WORDPIECE} --vocab-size 9", "--vocab-size is for --tokenizer sentencepiece"),
        (f"{WORDPIECE} --encoder-json encoder.json", "--encoder-json is for --tokenizer gpt2-bpe"),
        ("--tokenizer wordpiece", "needs --vocab"),
        ("--tokenizer gpt2-bpe", "needs --encoder-json and --vocab-bpe"),
        ("--tokenizer gpt2-bpe --encoder-json encoder.json", "needs --vocab-bpe"),
        ("--tokenizer morse", "invalid choice: 'morse'"),
        ("--tokenizer wordpiece --vocab gone.txt", "--vocab: gone.txt: not found"),
        ("--tokenizer wordpiece --vocab .", "--vocab: .: not a file"),
        (f"{WORDPIECE} --valid v.txt --valid-fraction 0.1", "--valid and --valid-fraction exclude each other"),
        (f"{WORDPIECE} --valid-fraction 0", "found '0', expected a fraction above 0 and below 1"),
        (f"{WORDPIECE} --valid-fraction 1", "found '1', expected a fraction"),
        (f"{WORDPIECE} --valid-fraction nan", "found 'nan', expected a fraction"),
        (f"{WORDPIECE} --valid v.txt --valid-fraction 2", "found '2', expected a fraction"),
        (f"{WORDPIECE} --valid ./a.txt", "--valid a.txt: is in --input too"),
        (f"{WORDPIECE} --test a.txt", "--test a.txt: is in --input too"),
        (f"{WORDPIECE} --workers 0", "--workers: found '0', expected a whole number of at least 1"),
        (f"{WORDPIECE} --seed -1", "--seed: found '-1'"),
        (f"{SENTENCEPIECE} --vocab-size many", "--vocab-size: found 'many'"),
        (f"{SENTENCEPIECE} --vocab-size 9 --character-coverage 1.1", "at most 1"),
        (f"{SENTENCEPIECE} --vocab 9", "--vocab"),
    ],
)
def test_what_is_wrong_or_contradictory_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        parse(text)
    assert "\n" not in str(raised.value)
