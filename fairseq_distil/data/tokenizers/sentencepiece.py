"""SentencePiece, through the library of that name."""

from collections.abc import Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from fairseq_distil.data.tokenizers.base import BOS, EOS, MASK, PAD, SPECIAL_SYMBOLS, UNKNOWN, Tokenizer
from fairseq_distil.data.tokenizers.offsets import Offsets, tight_offsets
from fairseq_distil.errors import UserError

MODEL_FILE = "sentencepiece.bpe.model"
WORD_START = "\u2581"

# Names under which models of others hold the special symbols, besides the ids that a model declares.
SPECIAL_NAMES = {
    **{symbol: symbol for symbol in SPECIAL_SYMBOLS},
    **{"[CLS]": BOS, "<cls>": BOS, "[PAD]": PAD, "[SEP]": EOS, "<sep>": EOS, "[UNK]": UNKNOWN, "[MASK]": MASK},
}


class SentencePieceTokenizer(Tokenizer):
    """A trained SentencePiece model.

    Args:
        model: path of the model file

    Raises:
        UserError: the file is not a SentencePiece model
    """

    kind = "sentencepiece"

    def __init__(self, model: Path) -> None:
        content = model.read_bytes()
        self._processor = _load_model(model, content)
        try:
            vocabulary = _vocabulary(self._processor)
        except UnicodeDecodeError:
            raise UserError(f"{model}: a SentencePiece model whose pieces are not text; it is damaged") from None
        super().__init__(vocabulary, {MODEL_FILE: content})

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        # One thread: callers that want more run this in several processes.
        return self._processor.encode(list(texts), out_type=int, num_threads=1)

    def encode_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        encoding = self._processor.encode(text, return_type="offset_mapping")
        return encoding["ids"], tight_offsets(text, encoding["offsets"])

    def begins_word(self, symbol: str) -> bool:
        return symbol.startswith(WORD_START) or symbol in SPECIAL_SYMBOLS

    def decode_ordinary(self, symbols: Sequence[str]) -> str:
        return self._processor.decode([self._processor.piece_to_id(symbol) for symbol in symbols])


def _load_model(path: Path, content: bytes) -> SentencePieceProcessor:
    processor = SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(content)
    except RuntimeError:
        raise UserError(f"{path}: not a SentencePiece model; give the .model file that its training wrote") from None
    if processor.get_piece_size() == 0:
        raise UserError(f"{path}: a SentencePiece model without pieces; give the .model file that its training wrote")
    return processor


def _vocabulary(processor: SentencePieceProcessor) -> list[str]:
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    symbols = [SPECIAL_NAMES.get(piece, piece) for piece in pieces]
    declared = {
        processor.bos_id(): BOS,
        processor.pad_id(): PAD,
        processor.eos_id(): EOS,
        processor.unk_id(): UNKNOWN,
    }
    for index, symbol in declared.items():
        if index >= 0:  # -1 where the model has no such piece
            symbols[index] = symbol
    return symbols
