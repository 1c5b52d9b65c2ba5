import gzip
import lzma
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fairseq.data import Dictionary, TokenBlockDataset, data_utils

from fairseq_distil.data import prepare_command
from fairseq_distil.data.prepare_command import main
from fairseq_distil.data.tokenizers import WordPieceTokenizer, load_tokenizer


@pytest.fixture(autouse=True)
def unchanged_signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """12 documents of two lines."""
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"the quick fox {'brown ' * number}\n\u200bCafé jumped!\n\n" for number in range(12)))
    return path


def directory_content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def read_split(directory: Path, split: str) -> list[list[str]]:
    dictionary = Dictionary.load(str(directory / "dict.txt"))
    dataset = data_utils.load_indexed_dataset(str(directory / split), dictionary)
    return [[dictionary[index] for index in dataset[number]] for number in range(len(dataset))]


def test_wordpiece_with_given_splits(corpus: Path, wordpiece_file: Path, tmp_path: Path, capsys) -> None:
    valid, test, output = tmp_path / "valid.txt.gz", tmp_path / "test.txt.xz", tmp_path / "out"
    valid.write_bytes(gzip.compress(b"fox\n\nfox zebra\n", mtime=0))
    test.write_bytes(lzma.compress(b"the fox"))
    arguments = f"--input {corpus} --valid {valid} --test {test} --tokenizer wordpiece --vocab {wordpiece_file}"
    assert main([*arguments.split(), "--output", str(output), "--workers", "1"]) == 0

    assert read_split(output, "train")[:3] == (
        [["the", "quick", "fox", "</s>"], ["cafe", "jump", "##ed", "!", "</s>"], ["</s>"]]
    )
    assert read_split(output, "valid") == [["fox", "</s>"], ["</s>"], ["fox", "<unk>", "</s>"], ["</s>"]]
    assert read_split(output, "test") == [["the", "fox", "</s>"], ["</s>"]]
    counts = dict(line.rsplit(" ", 1) for line in (output / "dict.txt").read_text(encoding="utf-8").splitlines())
    assert list(counts) == WordPieceTokenizer(wordpiece_file).symbols
    assert (counts["brown"], counts["fox"], counts["over"]) == ("66", "12", "0")
    assert load_tokenizer(output).encode("The FOX") == ["the", "fox"]
    summary = capsys.readouterr().out
    assert re.fullmatch(
        re.escape(str(output)) + r": 33 symbols with <mask> \| train 12 documents 24 lines 186 tokens 0.000% unknown "
        r"\| valid 2 documents 2 lines 7 tokens 14.286% unknown \| test 1 documents 1 lines 4 tokens 0.000% unknown "
        r"\| \d+\.\d seconds\n",
        summary,
    )


def test_fairseq_makes_blocks_that_end_with_documents(corpus: Path, wordpiece_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = f"--input {corpus} --tokenizer wordpiece --vocab {wordpiece_file} --output {output} --workers 1"
    assert main(arguments.split()) == 0
    dataset = data_utils.load_indexed_dataset(str(output / "train"))
    blocks = TokenBlockDataset(dataset, dataset.sizes, 64, pad=1, eos=2, break_mode="complete_doc")
    documents = sum(size == 1 for size in dataset.sizes)
    assert len(blocks) == documents
    assert all(block[-1] == 2 and (block == 2).sum() == 2 for block in blocks)


@pytest.mark.parametrize("tokenizer", ["wordpiece", "sentencepiece", "gpt2"])
def test_output_is_the_same_for_any_number_of_workers(
    tokenizer: str, wordpiece_file: Path, gpt2_files: tuple[Path, Path], sentencepiece_lines: list[str], tmp_path: Path
) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(sentencepiece_lines * 40))
    options = {
        "wordpiece": f"wordpiece --vocab {wordpiece_file}",
        "sentencepiece": "sentencepiece --vocab-size 41 --sentencepiece-sample-lines 300",
        "gpt2": f"gpt2-bpe --encoder-json {gpt2_files[0]} --vocab-bpe {gpt2_files[1]}",
    }[tokenizer]
    outputs = [tmp_path / "one", tmp_path / "three"]
    for output, workers in zip(outputs, (1, 3), strict=True):
        arguments = f"--input {corpus} --valid-fraction 0.2 --tokenizer {options} --output {output} --workers {workers}"
        assert main(arguments.split()) == 0
    assert directory_content(outputs[0]) == directory_content(outputs[1])


def test_a_trained_model_can_be_given_again(corpus: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    common = f"--input {corpus} --seed 3 --workers 1 --tokenizer sentencepiece"
    assert main(f"{common} --vocab-size 30 --output {first}".split()) == 0
    model = first / "sentencepiece.bpe.model"
    assert main(f"{common} --sentencepiece-model {model} --output {second}".split()) == 0
    assert directory_content(first) == directory_content(second)
    dictionary = Dictionary.load(str(first / "dict.txt"))
    assert dictionary.add_symbol("<mask>") == 30 - 1


def test_a_given_dictionary_sets_the_ids_and_the_corpus_the_counts(
    corpus: Path, gpt2_files: tuple[Path, Path], tmp_path: Path
) -> None:
    order, output = tmp_path / "order.txt", tmp_path / "out"
    order.write_text("".join(f"{number} 999\n" for number in reversed(range(262))) + "madeupword0000 0\n")
    encoder, merges = gpt2_files
    arguments = f"--input {corpus} --tokenizer gpt2-bpe --encoder-json {encoder} --vocab-bpe {merges}"
    assert main([*arguments.split(), "--dictionary", str(order), "--output", str(output)]) == 0
    dictionary = Dictionary.load(str(output / "dict.txt"))
    assert dictionary.symbols[4:] == [*map(str, reversed(range(262))), "madeupword0000"]
    train = read_split(output, "train")
    assert dictionary.count[dictionary.index(train[0][0])] == sum(item.count(train[0][0]) for item in train)


def test_the_long_steps_are_announced(corpus: Path, tmp_path: Path, capfd) -> None:
    arguments = f"--input {corpus} --tokenizer sentencepiece --vocab-size 30 --output {tmp_path / 'out'} --workers 1"
    assert main([*arguments.split(), "--sentencepiece-sample-lines", "20"]) == 0
    assert capfd.readouterr().err == (
        "checking the text\ndrawing lines for SentencePiece\ntraining SentencePiece on 20 lines ...\n"
    )


def test_bert_vocabulary_gives_berts_size(corpus: Path, published_vocabularies: Path, tmp_path: Path) -> None:
    vocabulary, output = published_vocabularies / "bert-base-uncased-vocab.txt", tmp_path / "out"
    assert main(f"--input {corpus} --tokenizer wordpiece --vocab {vocabulary} --output {output}".split()) == 0
    dictionary = Dictionary.load(str(output / "dict.txt"))
    dictionary.add_symbol("<mask>")
    assert len(dictionary) == 30522


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", "", "corpus.txt: empty"),
        (b"\n\n", "", "corpus.txt: holds no line with text"),
        (b"a\n\xff\n", "", "corpus.txt, line 2: byte 0xff"),
        (b"one document\n", "", "one document cannot be split"),
        (b"a\n\nb\n", "--valid {tmp}/gone.txt", "gone.txt: not found"),
        (b"a\n\nb\n", "--valid {tmp}/empty.txt", "empty.txt: empty"),
        (b"a\n\nb\n", "--workers 0", "expected a whole number of at least 1"),
        (b"\x07\n\n\x07\n", "", "train: the tokeniser leaves nothing of its text"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_leaves_nothing(
    content: bytes, options: str, message: str, wordpiece_file: Path, tmp_path: Path, capsys
) -> None:
    corpus, work = tmp_path / "corpus.txt", tmp_path / "work"
    corpus.write_bytes(content)
    (tmp_path / "empty.txt").touch()
    work.mkdir()
    arguments = f"--input {corpus} --tokenizer wordpiece --vocab {wordpiece_file} --output {work / 'out'} "
    assert main((arguments + options.format(tmp=tmp_path)).split()) == 2
    error = capsys.readouterr().err.removeprefix("checking the text\n")
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error
    assert list(work.iterdir()) == []


def test_a_vocabulary_too_large_for_the_corpus_is_named(corpus: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "out"
    assert main(f"--input {corpus} --tokenizer sentencepiece --vocab-size 8000 --output {output}".split()) == 2
    assert re.search(r"error: vocabulary size 8000 is too large .* ask for \d+ or less\n", capsys.readouterr().err)
    assert not output.exists()


@pytest.mark.parametrize("existing", ["directory", "file"])
def test_an_existing_output_is_refused_before_any_work(
    existing: str, corpus: Path, wordpiece_file: Path, tmp_path: Path, capsys
) -> None:
    output = tmp_path / "out"
    output.mkdir() if existing == "directory" else output.touch()
    arguments = f"--input {corpus} --tokenizer wordpiece --vocab {wordpiece_file} --output {output}"
    assert main(arguments.split()) == 2
    assert capsys.readouterr().err == f"error: {output}: exists already; remove it, or choose another output\n"


def test_ctrl_c_leaves_nothing(corpus: Path, wordpiece_file: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupt(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare_command.WordPieceTokenizer, "save", interrupt)
    before = sorted(tmp_path.iterdir())
    arguments = f"--input {corpus} --tokenizer wordpiece --vocab {wordpiece_file} --output {tmp_path / 'out'}"
    assert main(arguments.split()) == 130
    assert capsys.readouterr().err.endswith("interrupted; nothing was written\n")
    assert sorted(tmp_path.iterdir()) == before
