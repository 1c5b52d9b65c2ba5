"""What a directory of transformers names outside of itself is not read into a vocabulary."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairseq_distil.checkpoints.import_transformers import import_transformers
from fairseq_distil.checkpoints.source_vocabulary import read_vocabulary
from fairseq_distil.errors import UserError


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that is no part of the directory, and that BERT's tokeniser can read."""
    path = tmp_path / "secret.txt"
    path.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ntop-secret\n")
    return path


@pytest.fixture
def bert(make_source: Callable) -> Path:
    return make_source("bert", lambda model, directory: None).directory


def without_vocabulary(directory: Path) -> Path:
    for name in ("tokenizer.json", "vocab.txt"):
        (directory / name).unlink(missing_ok=True)
    return directory


def change(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changed))


NAMING = {
    "vocab": lambda path: {"vocab": path},
    "init_inputs": lambda path: {"init_inputs": [path]},
    "vocab_file": lambda path: {"vocab_file": path, "tokenizer_class": "BertTokenizerLegacy"},
    "fast_tokenizer_files": lambda path: {"fast_tokenizer_files": [f"{path}/../tokenizer.1.json"]},
}


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json", "config.json"])
@pytest.mark.parametrize("naming", NAMING.values(), ids=list(NAMING))
def test_files_that_settings_name_are_not_read(bert: Path, secret: Path, file: str, naming: Callable) -> None:
    change(without_vocabulary(bert) / file, **naming(str(secret)))
    with pytest.raises(UserError, match=f"^{bert}: (has no files of a tokeniser|transformers cannot load a tokeniser)"):
        read_vocabulary(bert)


def test_settings_that_name_a_file_do_no_harm_beside_a_vocabulary(bert: Path, secret: Path) -> None:
    expected = read_vocabulary(bert)
    change(bert / "tokenizer_config.json", vocab=str(secret), init_inputs=[str(secret)])
    assert read_vocabulary(bert) == expected


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta", "camembert"])
def test_a_path_instead_of_the_pieces(make_source: Callable, secret: Path, family: str) -> None:
    directory = make_source(family, lambda model, directory: None).directory
    content = json.loads((directory / "tokenizer.json").read_text())
    content["model"]["vocab"] = str(secret)
    (directory / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"^{directory}/tokenizer.json: model.vocab is not a list of pieces"):
        read_vocabulary(directory)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer.json", "tokenizer_config.json"])
def test_links_out_of_the_directory_are_refused(bert: Path, tmp_path: Path, name: str) -> None:
    (bert / name).rename(tmp_path / name)
    (bert / name).symlink_to(Path("..", name))
    with pytest.raises(UserError, match=f"^{bert}/{name}: a link out of the directory; put the file itself there$"):
        read_vocabulary(bert)


def test_links_within_the_directory(bert: Path) -> None:
    expected = read_vocabulary(bert)
    (bert / "vocab.txt").rename(bert / "pieces")
    (bert / "vocab.txt").symlink_to("pieces")
    (bert / "tokenizer.json").unlink()
    assert read_vocabulary(bert) == expected


def test_links_of_the_hubs_cache(bert: Path, tmp_path: Path) -> None:
    """Its snapshots are links to the files of all of a model's revisions."""
    expected = read_vocabulary(bert)
    snapshot = tmp_path / "models--bert" / "snapshots" / "a1b2"
    snapshot.mkdir(parents=True)
    shutil.copytree(bert, snapshot.parents[1] / "blobs")
    for path in bert.iterdir():
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", path.name))
    assert read_vocabulary(snapshot) == expected


def test_the_directory_itself_may_be_a_link(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bert)
    assert read_vocabulary(tmp_path / "link") == read_vocabulary(bert)


def test_what_transformers_says_names_the_directory(bert: Path) -> None:
    change(bert / "tokenizer_config.json", tokenizer_class=[])
    with pytest.raises(UserError, match=f"^{bert}: transformers cannot load a tokeniser from it: "):
        read_vocabulary(bert)


IDS = [10**12, -1, 1.5, "x", True, None]


def with_piece_in_vocabulary(directory: Path, index: Any) -> Path:
    content = json.loads((directory / "tokenizer.json").read_text())
    content["model"]["vocab"]["new"] = index
    (directory / "tokenizer.json").write_text(json.dumps(content))
    return directory / "tokenizer.json"


def with_added_token(directory: Path, index: Any) -> Path:
    content = json.loads((directory / "tokenizer.json").read_text())
    content["added_tokens"].append({**content["added_tokens"][0], "content": "new", "id": index})
    (directory / "tokenizer.json").write_text(json.dumps(content))
    return directory / "tokenizer.json"


def with_added_tokens_file(directory: Path, index: Any) -> Path:
    (directory / "tokenizer.json").unlink()
    (directory / "added_tokens.json").write_text(json.dumps({"new": index}))
    return directory / "added_tokens.json"


@pytest.mark.parametrize("index", IDS)
@pytest.mark.parametrize("write", [with_piece_in_vocabulary, with_added_token, with_added_tokens_file])
def test_ids_that_no_vocabulary_has(bert: Path, write: Callable[[Path, Any], Path], index: Any) -> None:
    path = write(bert, index)
    with pytest.raises(UserError) as refused:
        read_vocabulary(bert)
    expected = f"{path}: gives 'new' the id {index!r}, expected one from 0 to 2,147,483,647; give a directory that "
    assert str(refused.value).startswith(expected)


def test_an_id_beyond_the_embeddings(make_source: Callable) -> None:
    """transformers gives an added token the next id that is free, whatever the file says."""
    bert = make_source("bert", lambda model, directory: model.save_pretrained(directory)).directory
    with_piece_in_vocabulary(bert, 10**9)
    with pytest.raises(
        UserError, match=f"^{bert}: its tokeniser has 1,000,000,001 pieces, its embeddings [0-9]+ rows$"
    ):
        import_transformers(bert, None)
