from pathlib import Path

import pytest

from fairseq_distil.data.corpus import Corpus, CorpusSize, HeldOutDocuments, measure, split_documents
from fairseq_distil.errors import UserError


@pytest.fixture
def documents(tmp_path: Path) -> list[Path]:
    """37 documents of two lines in two files."""
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for path, numbers in zip(paths, (range(20), range(20, 37)), strict=True):
        path.write_text("".join(f"document {number}\nsecond line\n\n" for number in numbers))
    return paths


def test_measure_counts_documents_and_text_lines(documents: list[Path]) -> None:
    assert measure(documents) == CorpusSize(documents=37, lines=74)


def test_measure_reports_the_bytes_that_it_has_read(documents: list[Path]) -> None:
    reports: list[int] = []
    measure(documents, reports.append)
    assert sum(reports) == sum(path.stat().st_size for path in documents)


@pytest.mark.parametrize(("content", "message"), [("", "b.txt: empty"), ("\n \n", "b.txt: holds no line with text")])
def test_each_file_must_hold_text(content: str, message: str, documents: list[Path]) -> None:
    documents[1].write_text(content)
    with pytest.raises(UserError, match=message):
        measure(documents)


def test_a_corpus_holds_the_documents_that_it_contains(documents: list[Path]) -> None:
    corpus = Corpus(documents, lambda number: number in (0, 19, 20, 36))
    assert [line for line in corpus.lines() if line != "second line"] == (
        ["document 0", "", "document 19", "", "document 20", "", "document 36", ""]
    )


def test_training_and_validation_part_the_documents(documents: list[Path]) -> None:
    parts = [list(corpus.lines()) for corpus in split_documents(documents, 0.3, documents=37, seed=5)]
    train, valid = ({line for line in part if line.startswith("document")} for part in parts)
    assert len(train) + len(valid) == 37 and not train & valid
    assert 3 <= len(valid) <= 20
    assert parts == [list(corpus.lines()) for corpus in split_documents(documents, 0.3, documents=37, seed=5)]
    assert parts != [list(corpus.lines()) for corpus in split_documents(documents, 0.3, documents=37, seed=6)]


@pytest.mark.parametrize("fraction", [1e-9, 0.5, 1 - 1e-9])
@pytest.mark.parametrize("documents", [2, 3, 11])
def test_neither_part_is_ever_empty(fraction: float, documents: int) -> None:
    for seed in range(20):
        held_out = HeldOutDocuments(fraction, documents, seed)
        assert 0 < sum(number in held_out for number in range(documents)) < documents


def test_the_fraction_is_met_in_a_large_corpus() -> None:
    held_out = HeldOutDocuments(0.1, documents=20_000, seed=0)
    # Binomial: mean 2000, standard deviation 42.
    assert 1800 < sum(number in held_out for number in range(20_000)) < 2200


def test_one_document_cannot_be_split(documents: list[Path]) -> None:
    with pytest.raises(UserError, match="one document cannot be split"):
        split_documents(documents, 0.3, documents=1, seed=0)
