"""Where the official files of GLUE (Wang et al., 2019) have texts and labels."""

from dataclasses import dataclass
from pathlib import Path

from fairseq_distil.data.labelled.labels import ClassLabels, Labels, NumberLabels
from fairseq_distil.data.labelled.table import Table

BINARY = ("0", "1")
TRAIN, VALID, TEST = "train", "valid", "test"
UNLABELLED = "test"  # what the names of splits without labels begin with


@dataclass(frozen=True)
class GlueTask:
    """One task.

    Args:
        texts: names of the columns of its texts
        label: name of the column of its label
        classes: in the order of a model's outputs, which is that of ``transformers``; None for regression
        files: by the name of the split; ``valid`` is what a model is chosen by
        header: names of the columns where the files with labels have no header
    """

    texts: tuple[str, ...]
    label: str = "label"
    classes: tuple[str, ...] | None = BINARY
    files: tuple[tuple[str, str], ...] = ((TRAIN, "train.tsv"), (VALID, "dev.tsv"), (TEST, "test.tsv"))
    header: tuple[str, ...] | None = None

    @property
    def labels(self) -> Labels:
        return NumberLabels() if self.classes is None else ClassLabels(self.classes)

    def tables(self, directory: Path) -> dict[str, Table]:
        """The splits in a directory; those without labels may be missing."""
        tables = {}
        for split, name in self.files:
            if not split.startswith(UNLABELLED):
                tables[split] = Table(directory / name, self.texts, self.label, self.header)
            elif (directory / name).exists():
                tables[split] = Table(directory / name, self.texts, None)
        return tables


PAIR = ("sentence1", "sentence2")
ENTAILMENT = ("entailment", "not_entailment")
MNLI_FILES = (
    (TRAIN, "train.tsv"),
    (VALID, "dev_matched.tsv"),
    ("valid_mismatched", "dev_mismatched.tsv"),
    (TEST, "test_matched.tsv"),
    ("test_mismatched", "test_mismatched.tsv"),
)
GLUE_TASKS = {
    "CoLA": GlueTask(("sentence",), header=("source", "label", "judgement", "sentence")),
    "SST-2": GlueTask(("sentence",)),
    "MRPC": GlueTask(("#1 String", "#2 String"), "Quality"),
    "STS-B": GlueTask(PAIR, "score", classes=None),
    "QQP": GlueTask(("question1", "question2"), "is_duplicate"),
    "MNLI": GlueTask(PAIR, "gold_label", ("entailment", "neutral", "contradiction"), MNLI_FILES),
    "QNLI": GlueTask(("question", "sentence"), classes=ENTAILMENT),
    "RTE": GlueTask(PAIR, classes=ENTAILMENT),
    "WNLI": GlueTask(PAIR),
}
