"""GPT-2's byte-level BPE, through the ``tokenizers`` library, under fairseq's names."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, pre_tokenizers

from fairseq_distil.data.tokenizers.base import Tokenizer
from fairseq_distil.data.tokenizers.offsets import Offsets, tight_offsets
from fairseq_distil.errors import UserError
from fairseq_distil.json_file import read_json

ENCODER_FILE = "encoder.json"
MERGES_FILE = "vocab.bpe"
SPACE = "\u0120"  # how byte-level BPE writes a space


class GPT2BPETokenizer(Tokenizer):
    """GPT-2's BPE. A symbol is the id of ``encoder.json`` in decimal digits, as in RoBERTa's ``dict.txt``.

    Args:
        encoder_json: path of the JSON object from piece to id
        vocab_bpe: path of the merges, one a line, most important first

    Raises:
        UserError: a file is malformed, or the two do not belong together
    """

    kind = "gpt2-bpe"

    def __init__(self, encoder_json: Path, vocab_bpe: Path) -> None:
        encoder = _read_encoder(encoder_json)
        merges = parse_merges(vocab_bpe, vocab_bpe.read_bytes())
        _check_merges(vocab_bpe, merges, encoder)
        files = {ENCODER_FILE: encoder_json.read_bytes(), MERGES_FILE: vocab_bpe.read_bytes()}
        super().__init__([str(index) for index in range(len(encoder))], files)
        self._piece_of_symbol = {str(index): piece for piece, index in encoder.items()}
        self._tokenizer = RustTokenizer(models.BPE(encoder, merges))
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._decoder = decoders.ByteLevel()

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, tight_offsets(text, encoding.offsets)

    def begins_word(self, symbol: str) -> bool:
        """Whether the symbol has a leading space, which the first word of a line lacks.

        Symbols that the tokeniser does not have, such as a dictionary's ``madeupword0000``, count as words.
        """
        return self._piece_of_symbol.get(symbol, SPACE).startswith(SPACE)

    def piece_of(self, symbol: str) -> str:
        """The piece of ``encoder.json`` with this number; a dictionary's filler has none, and stays as it is."""
        return self._piece_of_symbol.get(symbol, symbol)

    def decode_ordinary(self, symbols: Sequence[str]) -> str:
        return self._decoder.decode([self._piece_of_symbol[symbol] for symbol in symbols])


def _read_encoder(path: Path) -> dict[str, int]:
    encoder = read_json(path, "give GPT-2's encoder.json")
    if not isinstance(encoder, dict) or sorted(map(repr, encoder.values())) != sorted(map(repr, range(len(encoder)))):
        raise UserError(f"{path}: expected one JSON object from piece to id, with the ids 0, 1, 2, ... each used once")
    missing = set(pre_tokenizers.ByteLevel.alphabet()) - encoder.keys()
    if missing:
        raise UserError(f"{path}: lacks {len(missing)} of the 256 byte symbols; give GPT-2's encoder.json")
    return encoder


def parse_merges(path: Path | str, content: bytes) -> list[tuple[str, str]]:
    """The merges of a ``vocab.bpe``, in their order; ``path`` is for the messages.

    Raises:
        UserError: a line is not two pieces
    """
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not valid UTF-8; give GPT-2's vocab.bpe") from None
    merges = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#version"):
            continue
        pair = line.split()
        if len(pair) != 2:
            raise UserError(f"{path}, line {number}: expected two pieces to merge, found {len(pair)}")
        merges.append((pair[0], pair[1]))
    return merges


def _check_merges(path: Path, merges: Sequence[tuple[str, str]], encoder: dict[str, int]) -> None:
    for first, second in merges:
        for piece in (first, second, first + second):
            if piece not in encoder:
                raise UserError(
                    f"{path}: merge '{first} {second}' needs {piece!r}, which encoder.json lacks; "
                    "give two files of one tokeniser"
                )
