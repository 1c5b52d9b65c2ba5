"""The official layout of every task, to the samples that fairseq's own task reads."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fairseq_distil.data.labelled.glue import GLUE_TASKS

TEXTS = ("the quick fox", 'a "brown fox')
"""The second has a quotation mark without its fellow, as many official rows do."""
SECOND = ("over the cafe", "jumps , over")
PAIR = "index\tsentence1\tsentence2\tlabel\n0\t{0}\t{2}\t{4}\n1\t{1}\t{3}\t{5}\n"
PAIR_TEST = "index\tsentence1\tsentence2\n0\t{0}\t{2}\n1\t{1}\t{3}\n"
MNLI_START = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse"
MNLI_START += "\tsentence2_parse\tsentence1\tsentence2"
MNLI_ROWS = "\n0" + "\tx" * 7 + "\t{0}\t{2}{after}{4}\n1" + "\tx" * 7 + "\t{1}\t{3}{after}{5}\n"
MNLI_TEST = MNLI_START + "\n0" + "\tx" * 7 + "\t{0}\t{2}\n1" + "\tx" * 7 + "\t{1}\t{3}\n"
STS_START = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
LAYOUTS = {
    "CoLA": ("gj04\t{4}\t\t{0}\ngj04\t{5}\t*\t{1}\n", "index\tsentence\n0\t{0}\n1\t{1}\n"),
    "SST-2": ("sentence\tlabel\n{0} \t{4}\n{1}\t{5}\n", "index\tsentence\n0\t{0}\n1\t{1}\n"),
    "MRPC": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n{4}\t7\t8\t{0}\t{2}\r\n{5}\t7\t8\t{1}\t{3}\r\n",
        "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\t{0}\t{2}\n1\t7\t8\t{1}\t{3}\n",
    ),
    "STS-B": (
        STS_START + "\tscore\n0\tx\tx\tx\tx\tx\tx\t{0}\t{2}\t5.000\n1\tx\tx\tx\tx\tx\tx\t{1}\t{3}\t0.250\n",
        STS_START + "\n0\tx\tx\tx\tx\tx\tx\t{0}\t{2}\n1\tx\tx\tx\tx\tx\tx\t{1}\t{3}\n",
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t7\t8\t{0}\t{2}\t{4}\n1\t7\t8\t{1}\t{3}\t{5}\n",
        "id\tquestion1\tquestion2\n0\t{0}\t{2}\n1\t{1}\t{3}\n",
    ),
    "MNLI": (MNLI_START + "\tlabel1\tgold_label" + MNLI_ROWS.replace("{after}", "\tneutral\t"), MNLI_TEST),
    "QNLI": (
        "index\tquestion\tsentence\tlabel\n0\t{0}\t{2}\t{4}\n1\t{1}\t{3}\t{5}\n",
        "index\tquestion\tsentence\n0\t{0}\t{2}\n1\t{1}\t{3}\n",
    ),
    "RTE": (PAIR, PAIR_TEST),
    "WNLI": (PAIR, PAIR_TEST),
}
MNLI_DEV = MNLI_START + "\tlabel1\tlabel2\tgold_label" + MNLI_ROWS.replace("{after}", "\tx\tneutral\t")
IN_ITS_OWN_LAYOUT = {("MNLI", "dev_matched.tsv"): MNLI_DEV, ("MNLI", "dev_mismatched.tsv"): MNLI_DEV}
LABELS = {
    "MNLI": ("entailment", "contradiction"),
    "QNLI": ("entailment", "not_entailment"),
    "RTE": ("entailment", "not_entailment"),
}
CLASSES = {
    "MNLI": ["entailment", "neutral", "contradiction"],
    "QNLI": ["entailment", "not_entailment"],
    "RTE": ["entailment", "not_entailment"],
}


def write_official_files(task: str, directory: Path) -> None:
    directory.mkdir()
    labelled, unlabelled = LAYOUTS[task]
    for split, name in GLUE_TASKS[task].files:
        layout = unlabelled if split.startswith("test") else IN_ITS_OWN_LAYOUT.get((task, name), labelled)
        text = layout.format(*TEXTS, *SECOND, *LABELS.get(task, ("0", "1")))
        (directory / name).write_bytes(text.encode())


@pytest.mark.parametrize("task", GLUE_TASKS)
def test_official_layout(prepare: Callable, load_task: Callable, tmp_path: Path, task: str) -> None:
    write_official_files(task, tmp_path / task)
    result = prepare("--task", task, "--input", tmp_path / task)
    assert (result.status, result.stderr) == (0, "")
    is_regression = task == "STS-B"
    classes = [] if is_regression else CLASSES.get(task, ["0", "1"])
    loaded = load_task(tmp_path / "out", len(classes) or 1, is_regression)
    if classes:
        assert loaded.label_dictionary.symbols[4:-1] == classes
    first_pair = ["<s> the quick fox </s>", "<s> <unk> <unk> brown fox </s>"]
    second_pair = ["over the cafe </s>", "jump ##s , over </s>"]
    is_pair = len(GLUE_TASKS[task].texts) == 2
    expected = [f"{a} {b}" if is_pair else a for a, b in zip(first_pair, second_pair, strict=True)]
    targets = [0, 2] if task == "MNLI" else [5.0, 0.25] if is_regression else [0, 1]
    for split, _ in GLUE_TASKS[task].files:
        dataset = loaded.load_dataset(split)
        symbols = [
            " ".join(loaded.dictionary[index] for index in dataset[row]["net_input.src_tokens"]) for row in range(2)
        ]
        assert symbols == expected, split
        batch = dataset.collater([dataset[0], dataset[1]])
        if split.startswith("test"):
            assert "target" not in batch
        else:
            assert batch["target"].view(-1).tolist() == targets


def test_what_lies_beside_the_inputs(prepare: Callable, pretraining: Path, tmp_path: Path) -> None:
    """So that whatever takes ``--data`` takes the fine-tuning's as well as the pre-training's."""
    write_official_files("RTE", tmp_path / "RTE")
    summary = prepare("--task", "RTE", "--input", tmp_path / "RTE").stdout
    cut = "0 cut to 128 tokens"
    assert summary == (
        f"{tmp_path}/out: 2 classes (entailment, not_entailment) | train 2 rows, {cut} | valid 2 rows, {cut} | "
        f"test 2 rows, {cut}\n"
    )
    out = tmp_path / "out"
    for path in pretraining.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    for directory in ("input0", "input1"):
        assert (out / directory / "dict.txt").read_bytes() == (pretraining / "dict.txt").read_bytes()
    assert (out / "label" / "dict.txt").read_text() == "entailment 2\nnot_entailment 2\n"


def test_files_without_labels_may_be_missing(prepare: Callable, tmp_path: Path) -> None:
    write_official_files("WNLI", tmp_path / "WNLI")
    (tmp_path / "WNLI" / "test.tsv").unlink()
    assert prepare("--task", "WNLI", "--input", tmp_path / "WNLI").status == 0
    assert not (tmp_path / "out" / "input0" / "test.bin").exists()
