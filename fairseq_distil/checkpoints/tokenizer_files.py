"""The files of a tokeniser of transformers, none of which names another file."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairseq_distil.errors import UserError
from fairseq_distil.json_file import read_json_object

TOKENIZER_FILE = "tokenizer.json"
ADDED_FILE = "added_tokens.json"
CONTENT = (TOKENIZER_FILE, ADDED_FILE, "vocab.txt", "vocab.json", "merges.txt", "bpe.codes") + (
    *("sentencepiece.bpe.model", "spiece.model", "tokenizer.model"),
)
"""Files that hold what they mean."""
SPECIAL = [f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")]
TOKENS = {*SPECIAL, "additional_special_tokens", "extra_special_tokens", "added_tokens_decoder"}
SETTINGS = {
    "config.json": {"model_type", "tokenizer_class", "transformers_version"},
    "tokenizer_config.json": {"tokenizer_class", *TOKENS},
    "special_tokens_map.json": TOKENS,
}
"""Of these files, what makes the vocabulary; transformers takes others of their strings for paths of files."""
LARGEST_ID = 2**31 - 1
ADVICE = "give a directory that save_pretrained of transformers wrote"


@contextmanager
def plain_tokenizer_files(directory: Path) -> Iterator[Path]:
    """A temporary directory of the files of a tokeniser, links or copies without settings that may name files.

    Raises:
        UserError: a file is a link out of ``directory``, or not JSON, or has no pieces or ids where they should be
    """
    with tempfile.TemporaryDirectory(prefix="tokenizer-") as name:
        folder = Path(name)
        for path in filter(Path.is_file, (directory / name for name in (*CONTENT, *SETTINGS))):
            _require_within(path)
            if path.name in SETTINGS:
                content = read_json_object(path, ADVICE)
                kept = {key: content[key] for key in content.keys() & SETTINGS[path.name]}
                (folder / path.name).write_text(json.dumps(kept))
            else:
                if path.name == TOKENIZER_FILE:
                    _require_pieces(path)
                elif path.name == ADDED_FILE:
                    _require_ids(path, read_json_object(path, ADVICE))
                (folder / path.name).symlink_to(path.resolve())
        yield folder


def _require_within(path: Path) -> None:
    """Links of the hub's cache lead from ``snapshots/<revision>`` to ``blobs``."""
    directory, target = path.parent.resolve(), path.resolve()
    allowed = [directory]
    if directory.parent.name == "snapshots":
        allowed.append(directory.parents[1] / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise UserError(f"{path}: a link out of the directory; put the file itself there")


def _require_pieces(path: Path) -> None:
    """Where transformers finds a string instead, it opens the file of that name."""
    content: Any = read_json_object(path, ADVICE)
    model, added = content.get("model"), content.get("added_tokens") or []
    if not isinstance(model, dict) or not isinstance(vocabulary := model.get("vocab"), dict | list):
        raise UserError(f"{path}: model.vocab is not a list of pieces, or of pieces and their ids; {ADVICE}")
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise UserError(f"{path}: added_tokens is not a list of pieces with their ids; {ADVICE}")
    if isinstance(vocabulary, dict):
        _require_ids(path, vocabulary)
    for token in added:
        _require_ids(path, {str(token.get("content")): token.get("id")})


def _require_ids(path: Path, id_of_piece: dict[str, Any]) -> None:
    """Beyond these, each of the libraries behind transformers does something else."""
    for piece, index in id_of_piece.items():
        if type(index) is not int or not 0 <= index <= LARGEST_ID:
            raise UserError(
                f"{path}: gives {piece!r} the id {index!r}, expected one from 0 to {LARGEST_ID:,}; {ADVICE}"
            )
