"""The tasks that encoders are compared on."""

from dataclasses import dataclass
from pathlib import Path

EXAMPLES = Path(__file__).parents[3] / "examples"


@dataclass(frozen=True)
class DownstreamTask:
    """One task.

    Args:
        name: that of GLUE, SQuAD, or one's own
        recipe: path of its Hydra recipe below ``examples``
        metric: what checkpoints are chosen by, and the task's score, as fairseq logs it, in percent
        paper: scores of BERT-base and of DistilBERT (Sanh et al., 2019, tables 1 and 2), in percent; None if not there
        details: other metrics that are reported
        settings: of the recipe, which the data decide
        data: prepared data; None where they are to be prepared from the official files
        distillation: criterion of the labels and a fine-tuned teacher
        paper_distilled: score of the paper's DistilBERT (D), with a fine-tuned teacher, in percent; None if not there
    """

    name: str
    recipe: str
    metric: str
    paper: tuple[float, float] | None = None
    details: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    data: Path | None = None
    distillation: str = "sentence_prediction_distillation"
    paper_distilled: float | None = None


def _glue(name: str, metric: str, paper: tuple[float, float], *details: str) -> DownstreamTask:
    recipe = f"glue/config/{name.lower().replace('-', '')}.yaml"
    return DownstreamTask(name, recipe, metric, paper, details)


DOWNSTREAM_TASKS = {
    task.name: task
    for task in (
        _glue("CoLA", "mcc", (56.3, 51.3)),
        _glue("MNLI", "accuracy", (86.7, 82.2)),
        _glue("MRPC", "acc_and_f1", (88.6, 87.5), "accuracy", "f1"),
        _glue("QNLI", "accuracy", (91.8, 89.2)),
        _glue("QQP", "acc_and_f1", (89.6, 88.5), "accuracy", "f1"),
        _glue("RTE", "accuracy", (69.3, 59.9)),
        _glue("SST-2", "accuracy", (92.7, 91.3)),
        _glue("STS-B", "pearson_and_spearman", (89.0, 86.9), "pearson", "spearman"),
        _glue("WNLI", "accuracy", (53.5, 56.3)),
        DownstreamTask(
            *("SQuAD", "squad/config/squad.yaml", "f1", (88.5, 85.8), ("exact_match",)),
            distillation="question_answering",
            paper_distilled=86.9,
        ),
    )
}
