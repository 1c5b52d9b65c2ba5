"""What every tokeniser offers: text to fairseq's symbols and back, and its own files in a directory."""

import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from fairseq_distil.data.tokenizers.offsets import Offsets

BOS, PAD, EOS, UNKNOWN, MASK = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
SPECIAL_SYMBOLS = (BOS, PAD, EOS, UNKNOWN, MASK)
SETTINGS_FILE = "fairseq_distil_tokenizer.json"


class Tokenizer(ABC):
    """Splits text into the symbols of a fairseq dictionary.

    Text never yields a special symbol: a literal ``[MASK]`` or ``</s>`` in it is split like any other
    text, or becomes ``<unk>`` where the tokeniser knows it as one piece only.

    Args:
        vocabulary: fairseq's name of each of the tokeniser's own ids, in their order; special ones under
            fairseq's names (``[CLS]`` of a WordPiece vocabulary is ``<s>``)
        files: content of the tokeniser's own files, by file name
    """

    kind: ClassVar[str]

    def __init__(self, vocabulary: Sequence[str], files: dict[str, bytes]) -> None:
        self.vocabulary = list(vocabulary)
        self.files = files
        self.symbol_of_id = [UNKNOWN if symbol in SPECIAL_SYMBOLS else symbol for symbol in self.vocabulary]

    @property
    def symbols(self) -> list[str]:
        """The symbols that are not special, in the tokeniser's own order."""
        return [symbol for symbol in self.vocabulary if symbol not in SPECIAL_SYMBOLS]

    @property
    def settings(self) -> dict[str, bool]:
        """What the tokeniser's own files do not say."""
        return {}

    @abstractmethod
    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokeniser's own ids of each text; ``symbol_of_id`` names them."""

    @abstractmethod
    def encode_with_offsets(self, text: str) -> tuple[list[int], Offsets]:
        """The ids that ``encode_ids`` gives, and of each the characters ``[begin, end)`` of the text as it is given.

        White space around a token is not its own, and what normalisation removed after it is: see ``tight_offsets``.
        """

    @abstractmethod
    def begins_word(self, symbol: str) -> bool:
        """Whether a word begins with this symbol; special symbols count as words."""

    def piece_of(self, symbol: str) -> str:
        """What the tokeniser's own files call a symbol that is not special."""
        return symbol

    @abstractmethod
    def decode_ordinary(self, symbols: Sequence[str]) -> str:
        """The text of symbols of which none is special."""

    def encode(self, text: str) -> list[str]:
        """The symbols of a text, with nothing added before or after."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[str]]:
        """The symbols of each text."""
        return [[self.symbol_of_id[index] for index in ids] for ids in self.encode_ids(texts)]

    def decode(self, symbols: Iterable[str]) -> str:
        """The text of symbols, with ``<unk>`` and ``<mask>`` as words and without the other special symbols."""
        visible = (symbol for symbol in symbols if symbol not in (BOS, PAD, EOS))
        parts: list[str] = []
        for is_placeholder, run in itertools.groupby(visible, key=(UNKNOWN, MASK).__contains__):
            run_symbols = list(run)
            parts.extend(run_symbols if is_placeholder else [self.decode_ordinary(run_symbols)])
        return parts[0] if len(parts) == 1 else " ".join(part.strip() for part in parts)

    def save(self, directory: Path) -> None:
        """Write the tokeniser's own files and its settings, from which ``load_tokenizer`` makes it again."""
        for name, content in self.files.items():
            (directory / name).write_bytes(content)
        # Last: without its settings a directory does not load, so half a tokeniser never does.
        settings = {"kind": self.kind, **self.settings}
        (directory / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
