"""BERT's WordPiece, through the ``tokenizers`` library."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers

from fairseq_distil.data.tokenizers.base import BOS, EOS, MASK, PAD, SPECIAL_SYMBOLS, UNKNOWN, Tokenizer
from fairseq_distil.data.tokenizers.offsets import Offsets, tight_offsets
from fairseq_distil.errors import UserError

VOCABULARY_FILE = "vocab.txt"
CONTINUATION = "##"
SPECIAL_NAMES = {"[PAD]": PAD, "[UNK]": UNKNOWN, "[CLS]": BOS, "[SEP]": EOS, "[MASK]": MASK}


class WordPieceTokenizer(Tokenizer):
    """BERT's normalisation, its split at white space and punctuation, and WordPiece within words.

    Args:
        vocabulary_file: BERT's ``vocab.txt``, one piece a line
        lowercase: whether text is lower-cased and stripped of accents; by default when no piece of the
            vocabulary, ``[...]`` ones aside, holds an upper-case letter

    Raises:
        UserError: the vocabulary lacks a special piece, repeats a piece, has an empty line, or holds one of
            fairseq's special symbols
    """

    kind = "wordpiece"

    def __init__(self, vocabulary_file: Path, lowercase: bool | None = None) -> None:
        content = vocabulary_file.read_bytes()
        pieces = _parse_vocabulary(vocabulary_file, content)
        super().__init__([SPECIAL_NAMES.get(piece, piece) for piece in pieces], {VOCABULARY_FILE: content})
        self.lowercase = not _has_upper_case(pieces) if lowercase is None else lowercase
        # None of the pieces is declared special to the library: it would then find them in the text.
        model = models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]")
        self._tokenizer = RustTokenizer(model)
        self._tokenizer.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        self._tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        self._decoder = decoders.WordPiece(prefix=CONTINUATION)

    @property
    def settings(self) -> dict[str, bool]:
        return {"lowercase": self.lowercase}

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, tight_offsets(text, encoding.offsets)

    def begins_word(self, symbol: str) -> bool:
        return not symbol.startswith(CONTINUATION)

    def decode_ordinary(self, symbols: Sequence[str]) -> str:
        return self._decoder.decode(list(symbols))


def _parse_vocabulary(path: Path, content: bytes) -> list[str]:
    try:
        pieces = content.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not valid UTF-8; give BERT's vocab.txt") from None
    line_of_piece: dict[str, int] = {}
    for number, piece in enumerate(pieces, start=1):
        if not piece:
            raise UserError(f"{path}, line {number}: empty; expected one WordPiece a line")
        if piece in SPECIAL_SYMBOLS:
            raise UserError(f"{path}, line {number}: {piece} is fairseq's own symbol; rename or remove the piece")
        if piece in line_of_piece:
            raise UserError(
                f"{path}, line {number}: {piece!r} is on line {line_of_piece[piece]} already; remove one of the two"
            )
        line_of_piece[piece] = number
    missing = [piece for piece in SPECIAL_NAMES if piece not in line_of_piece]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; BERT's vocab.txt has all of {', '.join(SPECIAL_NAMES)}")
    return pieces


def _has_upper_case(pieces: Sequence[str]) -> bool:
    return any("A" <= character <= "Z" for piece in pieces if not piece.startswith("[") for character in piece)
