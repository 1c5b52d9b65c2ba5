"""Dictionaries, binarised data, texts, tables and SQuAD."""

import gzip
import io
import itertools
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairseq.data.indexed_dataset import MMapIndexedDataset
from hypothesis import strategies as st

from fairseq_distil.data.binarized_check import require_whole_split
from fairseq_distil.data.dictionary_check import load_dictionary
from fairseq_distil.data.indexed_writer import MMapIndexedWriter
from fairseq_distil.data.labelled.labels import ClassLabels, NumberLabels
from fairseq_distil.data.labelled.stored_labels import count_numbers, read_classes
from fairseq_distil.data.labelled.table import Table
from fairseq_distil.data.question_answering_dataset import load_windows
from fairseq_distil.data.squad.official import read_squad
from fairseq_distil.data.stored_outputs import HEADER_BYTES, OutdatedError, open_outputs, write_outputs
from fairseq_distil.data.text_files import read_documents
from fairseq_distil.data.tokenizers import load_tokenizer

from .conftest import Fuzz
from .mutations import changed_bytes, changed_tree

VOCABULARY_SIZE = 300


def writer(path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path.write_bytes(content)
        return path

    return write


def test_dictionary(fuzz: Fuzz, tmp_path: Path) -> None:
    write = writer(tmp_path / "dict.txt")
    seed = b"the 50\nof 40\n\xe2\x96\x81a 3\nx 1 #fairseq:overwrite\nmadeupword0000 0\n"
    once_failed = [b"a" * 10**7 + b"\n", b"\x1b[2Ja\n", b"a 5\na 6\n", b"a -5\n", b"a " + b"9" * 400 + b"\n"]
    once_failed += [b"<pad> 1 #fairseq:overwrite\n", b"a 1\na 2 #fairseq:overwrite\n"]

    def read(content: bytes) -> None:
        """Whatever is accepted gives each symbol one id."""
        dictionary = load_dictionary(str(write(content)))
        assert [dictionary.index(symbol) for symbol in dictionary.symbols] == list(range(len(dictionary)))

    fuzz(read, changed_bytes([seed]), once_failed)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    with MMapIndexedWriter(tmp_path / "train", np.uint16) as binarised:
        binarised.append(np.array([5, 6, 2, 7, 2, 8, 299, 10, 2]), np.array([3, 2, 4]))
    return tmp_path / "train"


@pytest.mark.parametrize("ending", ["idx", "bin"])
def test_binarised_data(fuzz: Fuzz, split: Path, ending: str) -> None:
    """Whatever is accepted can be read to its end, and holds no id beyond the dictionary."""
    file = Path(f"{split}.{ending}")
    write, seed = writer(file), file.read_bytes()

    def read(content: bytes) -> None:
        write(content)
        require_whole_split(str(split), VOCABULARY_SIZE)
        items = MMapIndexedDataset(str(split))
        assert all(min(item) >= 0 and max(item) < VOCABULARY_SIZE for item in map(items.__getitem__, range(len(items))))

    sizes, pointers = 26, 26 + 3 * 4
    once_failed = [
        seed[:place] + value + seed[place + len(value) :]
        for place, value in (
            (pointers + 8, np.int64(10**12).tobytes()),
            (pointers + 8, np.int64(-6).tobytes()),
            (pointers + 8, np.int64(0).tobytes()),
            (sizes, np.array([10, -1, 0], np.int32).tobytes()),
            (sizes, np.array([9, 0, 0], np.int32).tobytes()),
            (17, b"\x06"),
        )
        if ending == "idx"
    ]
    fuzz(read, changed_bytes([seed]), once_failed)


@pytest.mark.parametrize(("ending", "compress"), [(".txt", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_texts(fuzz: Fuzz, tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    write = writer(tmp_path / f"text{ending}")
    seed = compress("\ufeffone two\r\n\nzwölf\nlast line".encode())
    fuzz(lambda content: list(read_documents([write(content)])), changed_bytes([seed]))


@pytest.mark.parametrize("labels", [ClassLabels(["no", "yes"]), NumberLabels()], ids=["classes", "numbers"])
def test_tables(fuzz: Fuzz, tmp_path: Path, labels: ClassLabels | NumberLabels) -> None:
    write = writer(tmp_path / "rows.tsv")
    values = ("no", "yes") if isinstance(labels, ClassLabels) else ("0.5", "2")
    seed = f"one\ttwo\tlabel\na b\tc\t{values[0]}\nd\te f\t{values[1]}\n".encode()

    def read(content: bytes) -> None:
        table = Table(write(content), ("one", "two"), "label")
        table.distinct_labels()
        for row in table.rows(labels):
            assert all(row.texts) and row.label is not None

    fuzz(read, changed_bytes([seed]))


@pytest.mark.parametrize("ending", ["idx", "bin"])
def test_stored_classes(fuzz: Fuzz, tmp_path: Path, ending: str) -> None:
    """Whatever is accepted has one of the classes in each row."""
    ClassLabels(["no", "yes"]).finish(tmp_path)
    dictionary = load_dictionary(str(tmp_path / "dict.txt"))
    with MMapIndexedWriter(tmp_path / "train", np.uint16) as binarised:
        binarised.append(np.array([5, 2, 4, 2, 4, 2]), np.array([2, 2, 2]))
    file = tmp_path / f"train.{ending}"
    write, seed = writer(file), file.read_bytes()

    def read(content: bytes) -> None:
        write(content)
        assert set(read_classes(str(tmp_path / "train"), dictionary, 2)) <= {0, 1}

    fuzz(read, changed_bytes([seed]), [b"\4\0" * 6, b"\2\0" * 6] if ending == "bin" else [])


def test_stored_numbers(fuzz: Fuzz, tmp_path: Path) -> None:
    write = writer(tmp_path / "train.label")
    once_failed = [b"nan\n", b"\xff\n", b"1\r2\n", b"\xef\xbb\xbf1\n", b"9" * 10**6]
    fuzz(lambda content: count_numbers(str(write(content)), 1), changed_bytes([b"0.5\n2\n-1e3\n"]), once_failed)


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


@pytest.fixture
def small_squad(squad_content: dict[str, Any]) -> dict[str, Any]:
    """A question with a few others."""
    article = squad_content["data"][0]
    return {**squad_content, "data": [{**article, "paragraphs": article["paragraphs"][:1]}]}


def test_squad(fuzz: Fuzz, small_squad: dict[str, Any], data_with_tokenizer: Path, tmp_path: Path) -> None:
    write, tokenizer = writer(tmp_path / "squad.json"), load_tokenizer(data_with_tokenizer)

    def read(content: bytes) -> None:
        for paragraph in read_squad(write(content)):
            texts = [paragraph.context, *(question.text for question in paragraph.questions)]
            for text, (ids, offsets) in zip(texts, map(tokenizer.encode_with_offsets, texts), strict=True):
                assert len(ids) == len(offsets) and all(begin <= end <= len(text) for begin, end in offsets)

    trees = changed_tree(small_squad).map(as_json)
    once_failed = [b"[" * 100_000, as_json(small_squad).replace(b'"context": "', rb'"context": "\ud800')]
    fuzz(read, trees | changed_bytes([as_json(small_squad)]), once_failed)


def array_file(content: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, content)
    return file.getvalue()


def archive_file(content: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, content)
    return file.getvalue()


@pytest.fixture
def prepared(squad_data: Path, tmp_path: Path) -> Path:
    """A copy of the files of a split, without their endings."""
    for file in squad_data.glob("valid.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / "valid"


def read_all(prefix: Path) -> None:
    """Everything that training and prediction read of a split."""
    dataset = load_windows(str(prefix), "valid", 45, padding_index=1, seed=0)
    lengths = dataset.sizes.tolist()
    batch = dataset.collater([dataset[index] for index in range(len(dataset))])
    assert (batch["target"][:, 1] < batch["net_input"]["src_lengths"]).all()
    for window, (start, length) in enumerate(zip(batch["context_starts"].tolist(), lengths, strict=True)):
        question = int(dataset.split.windows[window, 0])
        assert isinstance(dataset.split.identifier(question), str)
        assert all(isinstance(answer, str) for answer in dataset.split.gold_answers(question))
        for first, last in itertools.combinations_with_replacement((start, length - 2), 2):
            if start <= first and last < length - 1:
                assert isinstance(dataset.split.text(window, first, last), str)


@pytest.mark.parametrize("table", ["windows", "offsets"])
def test_tables_of_windows(fuzz: Fuzz, prepared: Path, table: str) -> None:
    write = writer(Path(f"{prepared}.{table}.npy"))
    seed = np.load(f"{prepared}.{table}.npy")

    def read(content: bytes) -> None:
        write(content)
        read_all(prepared)

    def changed(row: int, column: int, value: int) -> bytes:
        content = seed.copy()
        content[row % len(content), column % content.shape[1]] = value
        return array_file(content)

    values = st.sampled_from((-(2**31), -2, -1, 0, 1, 3, 17, 40, 1000, 2**31 - 1))
    cells = st.builds(changed, st.integers(0, 200), st.integers(0, 4), values)
    header = b"\x93NUMPY\x01\0\x20\x03" + b"(" * 399 + b")" * 400 + b"\n"
    once_failed = [archive_file(seed), header, changed(3, 0, 10**6), changed(3, 1, -5), changed(3, 2, 10**6)]
    fuzz(read, cells | changed_bytes([array_file(seed)]), [*once_failed, changed(3, 4, 99)])


def test_questions_of_windows(fuzz: Fuzz, prepared: Path) -> None:
    write = writer(Path(f"{prepared}.questions.json"))
    seed = json.loads(Path(f"{prepared}.questions.json").read_bytes())

    def read(content: bytes) -> None:
        write(content)
        read_all(prepared)

    trees = changed_tree(seed).map(as_json)
    fuzz(read, trees | changed_bytes([as_json(seed)]), [b"{}", as_json({"contexts": [], "questions": []})])


def test_stored_outputs(fuzz: Fuzz, tmp_path: Path) -> None:
    """Whatever is accepted has all of its values, and they are those that were written."""
    path, description = tmp_path / "train.teacher", {"teacher": "a1", "data": "b2"}
    values = np.arange(7, dtype=np.float32)
    write_outputs(path, description, values)
    write, seed = writer(path), path.read_bytes()
    header = json.loads(seed[:HEADER_BYTES])

    def read(content: bytes) -> None:
        write(content)
        try:
            assert np.array_equal(open_outputs(path, description, len(values)), values)
        except OutdatedError as error:
            assert str(error).isprintable()

    def with_header(tree: Any) -> bytes:
        return as_json(tree).ljust(HEADER_BYTES)[:HEADER_BYTES] + seed[HEADER_BYTES:]

    trees = changed_tree(header).map(with_header)
    once_failed = [seed[:HEADER_BYTES], seed[:-1], seed + b"\0", b"[" * HEADER_BYTES, b""]
    fuzz(read, trees | changed_bytes([seed]), once_failed)
