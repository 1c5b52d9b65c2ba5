"""A tokeniser of this project as one that ``AutoTokenizer`` of transformers loads."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from fairseq.data import Dictionary
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from fairseq_distil.checkpoints.source_vocabulary import SPECIAL_TOKENS
from fairseq_distil.data.symbol_dictionary import FILLER_PREFIX
from fairseq_distil.data.tokenizers import GPT2BPETokenizer, SentencePieceTokenizer, Tokenizer, WordPieceTokenizer
from fairseq_distil.data.tokenizers.base import BOS, EOS, MASK, PAD, SPECIAL_SYMBOLS, UNKNOWN
from fairseq_distil.data.tokenizers.gpt2_bpe import MERGES_FILE, parse_merges
from fairseq_distil.data.tokenizers.sentencepiece import MODEL_FILE, WORD_START
from fairseq_distil.data.tokenizers.wordpiece import CONTINUATION, SPECIAL_NAMES
from fairseq_distil.errors import UserError, naming

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

UNIGRAM, BPE = 1, 2  # model types of SentencePiece
ID_OF_PIECE = dict[str, int]


def id_of_piece(tokenizer: Tokenizer, dictionary: Dictionary) -> ID_OF_PIECE:
    """Our dictionary's id of every piece, in the order in which the export numbers the pieces.

    A WordPiece vocabulary keeps its order, the others take the dictionary's. Pieces that the dictionary lacks have the
    id of ``<unk>``, which is what they mean to the model.
    """
    if isinstance(tokenizer, WordPieceTokenizer):
        special = {symbol: piece for piece, symbol in SPECIAL_NAMES.items()}
        return {special.get(symbol, symbol): dictionary.index(symbol) for symbol in tokenizer.vocabulary}
    ids: ID_OF_PIECE = {symbol: dictionary.index(symbol) for symbol in (BOS, PAD, EOS, UNKNOWN)}
    for index in range(dictionary.nspecial, len(dictionary)):
        symbol = dictionary[index]
        piece = tokenizer.piece_of(symbol)
        # A vocabulary with special pieces of its own, which text never yields, keeps their rows under another name.
        ids[f"{FILLER_PREFIX}-{symbol}" if piece in ids else piece] = index
    missing = (tokenizer.piece_of(symbol) for symbol in tokenizer.symbols)
    return ids | {piece: dictionary.unk() for piece in missing if piece not in ids}


def to_transformers_tokenizer(
    tokenizer: Tokenizer, id_of_piece: ID_OF_PIECE, max_positions: int
) -> "PreTrainedTokenizerFast":
    """A tokeniser with the same pieces for any text in which no special piece is spelled out.

    Args:
        tokenizer: of the data
        id_of_piece: see :func:`id_of_piece`
        max_positions: tokens that the model takes at most

    Raises:
        UserError: a SentencePiece model that splits otherwise than at spaces, or is neither unigram nor BPE
    """
    from transformers import PreTrainedTokenizerFast  # importing it takes seconds, which only this needs

    rows = {piece: row for row, piece in enumerate(id_of_piece)}
    rust = CONVERTERS[type(tokenizer)](tokenizer, rows)
    names = {symbol: symbol for symbol in SPECIAL_SYMBOLS}
    if isinstance(tokenizer, WordPieceTokenizer):
        names = {symbol: piece for piece, symbol in SPECIAL_NAMES.items()}
    bos, eos = names[BOS], names[EOS]
    rust.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} $B {eos}",
        special_tokens=[(bos, rows[bos]), (eos, rows[eos])],
    )
    tokens: dict[str, str | AddedToken] = {name: names[symbol] for symbol, name in SPECIAL_TOKENS.items()}
    tokens |= {"bos_token": bos, "eos_token": eos}
    tokens["mask_token"] = AddedToken(names[MASK], lstrip=True, special=True, normalized=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=rust,
        model_max_length=max_positions,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **tokens,
    )


def _from_wordpiece(tokenizer: WordPieceTokenizer, rows: dict[str, int]) -> RustTokenizer:
    rust = RustTokenizer(models.WordPiece(rows, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer(lowercase=tokenizer.lowercase)
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.decoder = decoders.WordPiece(prefix=CONTINUATION)
    return rust


def _from_gpt2_bpe(tokenizer: GPT2BPETokenizer, rows: dict[str, int]) -> RustTokenizer:
    rust = RustTokenizer(models.BPE(rows, parse_merges(MERGES_FILE, tokenizer.files[MERGES_FILE])))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    return rust


def _from_sentencepiece(tokenizer: SentencePieceTokenizer, rows: dict[str, int]) -> RustTokenizer:
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(tokenizer.files[MODEL_FILE])
    with naming(MODEL_FILE):
        _require_words(proto)
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == piece.NORMAL}
    if proto.trainer_spec.model_type == UNIGRAM:
        # The unknown piece's score depends on the lowest score. What the model lacks must not be found in a text, which
        # is split at spaces: with a space in its name, it is not.
        lowest, named = min(scores.values()), {*scores, *SPECIAL_SYMBOLS}
        vocabulary = [(piece if piece in named else f" {piece}", scores.get(piece, lowest)) for piece in rows]
        rust = RustTokenizer(models.Unigram(vocabulary, rows[UNKNOWN], byte_fallback=False))
    else:
        merges = _merges(list(scores), scores)
        rust = RustTokenizer(models.BPE(rows, merges, unk_token=UNKNOWN, fuse_unk=True))
    charsmap = proto.normalizer_spec.precompiled_charsmap
    if charsmap:
        rust.normalizer = normalizers.Precompiled(charsmap)
    rust.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(" +"), "removed"), pre_tokenizers.Metaspace(WORD_START, prepend_scheme="always")]
    )
    rust.decoder = decoders.Metaspace(WORD_START, prepend_scheme="always")
    return rust


def _require_words(proto: sentencepiece_model_pb2.ModelProto) -> None:
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    if trainer.model_type not in (UNIGRAM, BPE):
        raise UserError("the SentencePiece model is neither unigram nor BPE; it cannot be exported")
    required = {
        "split_by_whitespace": trainer.split_by_whitespace,
        "add_dummy_prefix": normalizer.add_dummy_prefix,
        "remove_extra_whitespaces": normalizer.remove_extra_whitespaces,
        "without byte_fallback": not trainer.byte_fallback,
        "without treat_whitespace_as_suffix": not trainer.treat_whitespace_as_suffix,
        "without user_defined_symbols": not trainer.user_defined_symbols,
    }
    if lacking := [name for name, holds in required.items() if not holds]:
        raise UserError(f"only a SentencePiece model trained {', '.join(lacking)} can be exported")


def _merges(pieces: list[str], scores: dict[str, float]) -> list[tuple[str, str]]:
    """Every way to make a piece of two others; SentencePiece merges whatever gives the piece of the highest score."""
    merges = []
    for piece in sorted(pieces, key=scores.__getitem__, reverse=True):
        splits = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        merges += [(left, right) for left, right in splits if left in scores and right in scores]
    return merges


CONVERTERS: dict[type[Tokenizer], Callable[..., RustTokenizer]] = {
    WordPieceTokenizer: _from_wordpiece,
    GPT2BPETokenizer: _from_gpt2_bpe,
    SentencePieceTokenizer: _from_sentencepiece,
}
