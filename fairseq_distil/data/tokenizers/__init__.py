"""Tokenisers: SentencePiece, WordPiece and GPT-2's BPE behind one interface."""

from pathlib import Path

from fairseq_distil.data.tokenizers.base import SETTINGS_FILE, SPECIAL_SYMBOLS, Tokenizer
from fairseq_distil.data.tokenizers.gpt2_bpe import ENCODER_FILE, MERGES_FILE, GPT2BPETokenizer
from fairseq_distil.data.tokenizers.sentencepiece import MODEL_FILE, SentencePieceTokenizer
from fairseq_distil.data.tokenizers.wordpiece import VOCABULARY_FILE, WordPieceTokenizer
from fairseq_distil.errors import UserError
from fairseq_distil.json_file import read_json

__all__ = [
    "SPECIAL_SYMBOLS",
    "GPT2BPETokenizer",
    "SentencePieceTokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "load_tokenizer",
]

SETTING_TYPES: dict[str, dict[str, type]] = {
    SentencePieceTokenizer.kind: {},
    WordPieceTokenizer.kind: {"lowercase": bool},
    GPT2BPETokenizer.kind: {},
}


def load_tokenizer(directory: Path | str) -> Tokenizer:
    """The tokeniser that ``Tokenizer.save`` wrote into a directory.

    Raises:
        UserError: a file is missing, or is not what ``save`` writes
    """
    directory = Path(directory)
    settings = _read_settings(directory / SETTINGS_FILE)
    kind = settings.pop("kind")
    try:
        if kind == SentencePieceTokenizer.kind:
            return SentencePieceTokenizer(directory / MODEL_FILE)
        if kind == WordPieceTokenizer.kind:
            return WordPieceTokenizer(directory / VOCABULARY_FILE, **settings)
        return GPT2BPETokenizer(directory / ENCODER_FILE, directory / MERGES_FILE)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: not found, though {SETTINGS_FILE} there says {kind}") from None


def _read_settings(path: Path) -> dict:
    settings = read_json(path, "scripts/prepare_data.py writes it beside the data")
    kind = settings.get("kind") if isinstance(settings, dict) else None
    if not isinstance(kind, str) or kind not in SETTING_TYPES:
        raise UserError(f"{path}: kind is {kind!r}; expected one of {', '.join(SETTING_TYPES)}")
    found = {name: type(value) for name, value in settings.items() if name != "kind"}
    if found != SETTING_TYPES[kind]:
        raise UserError(f"{path}: expected the settings {_describe(SETTING_TYPES[kind])}, found {_describe(found)}")
    return settings


def _describe(types: dict[str, type]) -> str:
    return ", ".join(f"{name}: {type_.__name__}" for name, type_ in types.items()) or "(none)"
