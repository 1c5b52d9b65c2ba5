"""Files of one's own, and what is wrong with a file or an option."""

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = "text\tlabel\nthe fox\tno\nthe quick fox\tyes\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., list[str]]:
    """Writes the training and the validation file; returns the options that name them."""

    def write_files(train: str | bytes, valid: str | bytes = GOOD) -> list[str]:
        for name, content in (("train", train), ("valid", valid)):
            (tmp_path / f"{name}.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["--train", f"{tmp_path}/train.tsv", "--valid", f"{tmp_path}/valid.tsv"]

    return write_files


def labels_of(directory: Path) -> list[str]:
    return [line.split(" ")[0] for line in (directory / "label" / "dict.txt").read_text().splitlines()]


@pytest.mark.parametrize(
    ("found", "order"),
    [(["no", "yes"], ["no", "yes"]), (["10", "9", "-1"], ["-1", "9", "10"]), (["b", "a", "C"], ["C", "a", "b"])],
)
def test_classes_are_sorted(prepare: Callable, write: Callable, tmp_path: Path, found: list[str], order: list[str]):
    table = "text\tlabel\n" + "".join(f"the fox\t{label}\n" for label in found)
    result = prepare(*write(table, table))
    assert result.status == 0 and f"{len(order)} classes ({', '.join(order)})" in result.stdout
    assert labels_of(tmp_path / "out") == order


def test_classes_in_an_order_of_ones_own(prepare: Callable, write: Callable, tmp_path: Path) -> None:
    assert prepare(*write(GOOD), "--labels", "yes,no,perhaps").status == 0
    assert (tmp_path / "out" / "label" / "dict.txt").read_text() == "yes 2\nno 2\nperhaps 0\n"


def test_numbers(prepare: Callable, write: Callable, tmp_path: Path) -> None:
    table = "one\ttwo\tscore\nthe\tfox\t-1.25\nthe\tfox\t3e2\n"
    assert prepare(*write(table, table), "--regression").status == 0
    assert (tmp_path / "out" / "label" / "train.label").read_text() == "-1.25\n300.0\n"
    assert not (tmp_path / "out" / "label" / "dict.txt").exists()


def test_numbers_without_a_header(prepare: Callable, write: Callable, tmp_path: Path) -> None:
    error = prepare(*write("the fox\t1.5\nthe fox\t3\n"), "--regression").stderr
    assert error.startswith(f"error: {tmp_path}/train.tsv, line 1: '1.5' in the last column is a label, but a header")


@pytest.mark.parametrize(("test", "labelled"), [(GOOD, True), ("text\nthe fox\n", False)])
def test_test_files(prepare: Callable, write: Callable, tmp_path: Path, test: str, labelled: bool) -> None:
    (tmp_path / "test.tsv").write_text(test)
    assert prepare(*write(GOOD), "--test", tmp_path / "test.tsv").status == 0
    assert (tmp_path / "out" / "input0" / "test.bin").exists()
    assert (tmp_path / "out" / "label" / "test.bin").exists() == labelled


BAD_ROWS = [
    ("the fox\tno\textra", "3 columns, expected 2"),
    ("the fox", "1 columns, expected 2"),
    ("", "1 columns, expected 2"),
    (" \tno", "the text in column 'text' is empty"),
    ("the fox\tperhaps", "label 'perhaps' is unknown; expected one of no, yes"),
    ("the fox\t", "label '' is unknown; expected one of no, yes"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_row(prepare: Callable, write: Callable, tmp_path: Path, row: str, message: str) -> None:
    files = write(GOOD, GOOD + row + "\n")
    result = prepare(*files)
    advice = "mend the row, or leave such rows out: --skip-bad-rows"
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr == f"error: {tmp_path}/valid.tsv, line 4: {message}; {advice}\n"
    assert not list(tmp_path.glob("*out*"))

    assert "valid 2 rows, 0 cut to 128 tokens, 1 bad rows left out" in prepare(*files, "--skip-bad-rows").stdout


@pytest.mark.parametrize("label", ["high", "nan", "inf", ""])
def test_a_label_that_is_not_a_number(prepare: Callable, write: Callable, tmp_path: Path, label: str) -> None:
    table = f"text\tscore\nthe fox\t1\nthe fox\t{label}\n"
    error = prepare(*write(table, table), "--regression").stderr
    assert error.startswith(f"error: {tmp_path}/train.tsv, line 3: label {label!r} is not a finite number, which")


def test_text_in_another_encoding(prepare: Callable, write: Callable, tmp_path: Path) -> None:
    error = prepare(*write(GOOD.encode() + b"caf\xe9\tno\n"), "--skip-bad-rows").stderr
    assert error.startswith(f"error: {tmp_path}/train.tsv, line 4: byte 0xe9 at column 4 is not valid UTF-8; ")


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        ("", GOOD, "train.tsv: empty; expected a header and rows"),
        ("text label\n", GOOD, "train.tsv: 1 columns; expected a text, perhaps a second text, and a label, with tabs"),
        ("a\tb\tc\td\n", GOOD, "train.tsv: 4 columns; expected a text"),
        ("text\tlabel\n", GOOD, "train.tsv: expected at least two classes, each named once, found none"),
        ("a\tb\tlabel\nx\ty\t0\nx\ty\t1\n", GOOD, "valid.tsv: 2 columns, but the training file has 3"),
        ("a\ta\tlabel\n", GOOD, "train.tsv: columns a, a, label; give each another name"),
        (
            "text\tscore\n" + "".join(f"the fox\t{row}\n" for row in range(201)),
            GOOD,
            "train.tsv: 201 different labels in the last column, 'score', such as '0'; numbers need --regression",
        ),
        ("text\tlabel\nthe fox\tyes\n", GOOD, "train.tsv: expected at least two classes, each named once, found yes"),
        ("text\tlabel\nthe\t<s>\nthe\tyes\n", GOOD, "train.tsv: a class is called '<s>', which fairseq uses itself"),
        ("text\tlabel\nthe fox\tno\nthe\t\nfox\tyes\n", GOOD, "train.tsv, line 3: "),
        (GOOD, "text\tlabel\n", "valid.tsv: no rows are left; expected at least one"),
        (GOOD, "a fox\tno\n" + GOOD, "valid.tsv, line 1: 'no' in the last column is a label, but a header is expected"),
        (
            "a fox\tyes\nthe fox\tno\nfox\tyes\n",
            GOOD,
            "train.tsv, line 1: 'yes' in the last column is a label, but a header is expected; put one above, or call",
        ),
    ],
)
def test_a_bad_file(prepare: Callable, write: Callable, tmp_path: Path, train: str, valid: str, message: str) -> None:
    result = prepare(*write(train, valid))
    assert result.status == 2 and result.stderr.startswith(f"error: {tmp_path}/{message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "RTE"], "--task needs --input: the directory with the official files of the task"),
        (["--task", "RTE", "--input", "x", "--regression"], "--regression is for files of your own, but --task names"),
        (["--task", "rte"], "argument --task: invalid choice: 'rte'"),
        (["--train", "x"], "give --task and --input, or --train and --valid; see --help"),
        (
            ["--train", "x", "--valid", "y", "--max-tokens", "4"],
            "--max-tokens is 4, but a pair of texts needs at least",
        ),
        (["--train", "gone.tsv", "--valid", "y"], "gone.tsv: not found; give a text file"),
        (["--task", "RTE", "--input", "gone"], "gone/train.tsv: not found; give a text file"),
    ],
)
def test_bad_options(prepare: Callable, options: list[str], message: str) -> None:
    result = prepare(*options)
    assert result.status == 2 and result.stderr.startswith(f"error: {message}"), result.stderr


def test_columns_that_a_task_of_glue_needs(prepare: Callable, tmp_path: Path) -> None:
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(GOOD)
    error = prepare("--task", "RTE", "--input", tmp_path).stderr
    assert error == f"error: {tmp_path}/train.tsv: has no column 'sentence1', only 'text', 'label'\n"


def test_existing_output_and_data_without_a_tokeniser(prepare: Callable, write: Callable, tmp_path: Path) -> None:
    files = write(GOOD)
    assert prepare(*files, data=tmp_path / "gone").stderr.startswith(f"error: data {tmp_path}/gone/dict.txt: no such")
    (tmp_path / "out").mkdir()
    assert prepare(*files).stderr == f"error: {tmp_path}/out: exists already; remove it, or choose another output\n"


def test_a_class_that_only_validation_has(prepare: Callable, write: Callable, tmp_path: Path) -> None:
    error = prepare(*write(GOOD, "text\tlabel\nthe fox\tmaybe\n")).stderr
    assert error.startswith(f"error: {tmp_path}/valid.tsv, line 2: label 'maybe' is unknown; expected one of no, yes")
