"""A data set in files of one's own: a header, then a text, perhaps a second one, and a label in each row."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fairseq_distil.data.labelled.glue import TEST, TRAIN, VALID
from fairseq_distil.data.labelled.labels import ClassLabels, Labels, NumberLabels
from fairseq_distil.data.labelled.table import Table, read_header
from fairseq_distil.errors import UserError, naming

MOST_UNNAMED_CLASSES = 200


def own_tables(train: Path, valid: Path, test: Path | None) -> dict[str, Table]:
    """The splits; columns go by their order, and ``test`` may lack the last, the labels.

    Raises:
        UserError: a file cannot be read, or has another number of columns
    """
    columns = len(read_header(train))
    if columns not in (2, 3):
        raise UserError(f"{train}: {columns} columns; expected a text, perhaps a second text, and a label, with tabs")
    tables = {TRAIN: _table(train, columns), VALID: _table(valid, columns)}
    return tables if test is None else {**tables, TEST: _table(test, columns, may_lack_labels=True)}


def own_labels(train: Table, regression: bool, names: Sequence[str] | None) -> Labels:
    """The labels of a data set: numbers, or classes in the order of ``names`` or sorted as ``train`` has them.

    Raises:
        UserError: ``train`` cannot be read, or there are fewer than two classes, or too many unnamed ones
    """
    if regression:
        return NumberLabels()
    if names is not None:
        with naming("--labels"):
            return ClassLabels(names)
    found = train.distinct_labels()
    if len(found) > MOST_UNNAMED_CLASSES:
        raise UserError(
            f"{train.path}: {len(found):,} different labels in the last column, {train.label!r}, such as {found[0]!r}; "
            "numbers need --regression; put the label into the last column, or name so many classes by --labels"
        )
    with naming(train.path):
        return ClassLabels(found)


def require_headers(tables: Iterable[Table], labels: Labels) -> None:
    """Check that first lines are headers, and not rows, which would be lost.

    Raises:
        UserError: the last column of a first line is a label
    """
    for table in tables:
        if table.label is not None and _is_label(table.label, labels):
            raise UserError(
                f"{table.path}, line 1: {table.label!r} in the last column is a label, but a header is expected; put "
                "one above, or call the column something else"
            )


def _is_label(text: str, labels: Labels) -> bool:
    try:
        labels.parse(text)
    except UserError:
        return False
    return True


def _table(path: Path, columns: int, may_lack_labels: bool = False) -> Table:
    header = read_header(path)
    if len(set(header)) < len(header):
        raise UserError(f"{path}: columns {', '.join(header)}; give each another name")
    if len(header) == columns:
        return Table(path, header[:-1], header[-1])
    if may_lack_labels and len(header) == columns - 1:
        return Table(path, header, None)
    raise UserError(f"{path}: {len(header)} columns, but the training file has {columns}")
