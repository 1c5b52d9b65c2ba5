"""Where the symbols of a fairseq dictionary stand in a foreign model's vocabulary."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fairseq_distil.checkpoints.tokenizer_files import plain_tokenizer_files
from fairseq_distil.data.symbol_dictionary import FILLER_PREFIX
from fairseq_distil.data.tokenizers import SPECIAL_SYMBOLS
from fairseq_distil.data.tokenizers.base import BOS, EOS, MASK, PAD, UNKNOWN
from fairseq_distil.errors import UserError

SYMBOLS_IN_AN_ERROR = 3
BYTE_LEVEL_SPACE = "\u0120"
SPECIAL_TOKENS = {
    BOS: "cls_token",
    PAD: "pad_token",
    EOS: "sep_token",
    UNKNOWN: "unk_token",
    MASK: "mask_token",
}


def read_vocabulary(directory: Path) -> dict[str, int]:
    """Row of each piece in the word embeddings; special pieces under fairseq's names.

    Raises:
        UserError: a file of the tokeniser is damaged or a link elsewhere, or transformers finds no tokeniser there, or
            one without the special tokens of BERT
    """
    from transformers import AutoTokenizer  # importing it takes seconds, which only this needs

    with plain_tokenizer_files(directory) as files:
        try:
            tokenizer = AutoTokenizer.from_pretrained(files, local_files_only=True, trust_remote_code=False)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # from several libraries, one of which panics
            reason = " ".join(str(error).replace(str(files), str(directory)).split()) or type(error).__name__
            raise UserError(f"{directory}: transformers cannot load a tokeniser from it: {reason}") from error
    row_of_piece = tokenizer.get_vocab()
    specials = {symbol: getattr(tokenizer, name) for symbol, name in SPECIAL_TOKENS.items()}
    for symbol, piece in specials.items():
        if piece not in row_of_piece:
            raise UserError(f"{directory}: its tokeniser has no {SPECIAL_TOKENS[symbol]}, which stands for {symbol}")
    ordinary = {piece: row for piece, row in row_of_piece.items() if piece not in specials.values()}
    if not ordinary:  # transformers makes up a tokeniser of special tokens where it finds no files
        raise UserError(f"{directory}: has no files of a tokeniser, such as vocab.txt or tokenizer.json")
    return ordinary | {symbol: row_of_piece[piece] for symbol, piece in specials.items()}


def default_symbols(row_of_piece: Mapping[str, int]) -> list[str]:
    """The dictionary that ``prepare_data.py`` makes from the source's own tokeniser: its pieces in their order.

    Raises:
        UserError: it is a byte-level BPE, whose pieces fairseq's dictionaries know by numbers
    """
    if any(piece.startswith(BYTE_LEVEL_SPACE) for piece in row_of_piece):
        raise UserError(
            "its tokeniser is a byte-level BPE, whose pieces have numbers in a fairseq dictionary; give --data, a "
            "directory that was prepared with its encoder.json and vocab.bpe"
        )
    ordinary = sorted((piece for piece in row_of_piece if piece not in SPECIAL_SYMBOLS), key=row_of_piece.__getitem__)
    return [BOS, PAD, EOS, UNKNOWN, *ordinary, MASK]


def rows_of_symbols(
    symbols: Sequence[str], row_of_piece: Mapping[str, int], piece_of_symbol: Callable[[str], str]
) -> list[int]:
    """The row of each symbol; of one that only fills a dictionary up, the row of ``<unk>``.

    Args:
        symbols: of the fairseq dictionary, in the order of their ids
        row_of_piece: see :func:`read_vocabulary`
        piece_of_symbol: what the tokeniser calls a symbol that is not special

    Raises:
        UserError: the source lacks symbols; names the first of them
    """
    rows, unknown = [], []
    for index, symbol in enumerate(symbols):
        row = row_of_piece.get(symbol if symbol in SPECIAL_SYMBOLS else piece_of_symbol(symbol))
        if row is None and symbol.startswith(FILLER_PREFIX):
            row = row_of_piece[UNKNOWN]
        if row is None:
            unknown.append(f"{symbol!r} (id {index})")
        else:
            rows.append(row)
    if unknown:
        raise UserError(
            f"its vocabulary lacks {len(unknown):,} of the {len(symbols):,} symbols of the data's dictionary, first "
            f"{', '.join(unknown[:SYMBOLS_IN_AN_ERROR])}; prepare the data with its tokeniser"
        )
    return rows
