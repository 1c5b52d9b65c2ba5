"""The answers of a fine-tuned encoder to the questions of a prepared split."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import utils
from tqdm import tqdm

from fairseq_distil.atomic_file import write_whole
from fairseq_distil.checkpoints.import_checkpoint import read_dictionary
from fairseq_distil.data.question_answering_dataset import QuestionAnsweringDataset, load_windows
from fairseq_distil.data.squad.split import PreparedSplit
from fairseq_distil.errors import UserError, naming
from fairseq_distil.evaluation.answer_spans import best_spans
from fairseq_distil.evaluation.answer_texts import Candidate, probabilities, rank_answers, score_ranked, span_rows
from fairseq_distil.evaluation.squad_metrics import AnswerScores
from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.models.encoder_loading import read_encoder
from fairseq_distil.modules import autocast


@dataclass(frozen=True)
class PredictionOptions:
    """How answers are looked for.

    Args:
        n_best: candidates of a question
        max_answer_tokens: tokens of an answer at most
        batch_size: windows
        autocast_dtype: type of matrix products; None: float32
        device: ``cpu`` or ``cuda``
    """

    n_best: int = 20
    max_answer_tokens: int = 30
    batch_size: int = 32
    autocast_dtype: torch.dtype | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("n_best", "max_answer_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} is {getattr(self, name)}, but must be positive")


@dataclass(frozen=True)
class Predictions:
    """Candidates of each question of a split, best first, by the question's number."""

    split: PreparedSplit
    candidates: Mapping[int, list[Candidate]]

    @property
    def scores(self) -> AnswerScores:
        """Exact match and F1 over all questions of the split."""
        return score_ranked(self.split, self._complete)

    def answers(self) -> dict[str, str]:
        """The official format: the best text by the question's id."""
        return {self.split.identifier(question): best[0].text for question, best in self._complete.items()}

    def n_best(self) -> dict[str, list[dict[str, str | float]]]:
        """All candidates by the question's id, with their scores, and probabilities among themselves."""
        return {
            self.split.identifier(question): [
                {"text": candidate.text, "probability": probability, "score": candidate.score}
                for candidate, probability in zip(candidates, probabilities(candidates), strict=True)
            ]
            for question, candidates in self.candidates.items()
        }

    @property
    def _complete(self) -> dict[int, list[Candidate]]:
        nothing = [Candidate("", 0.0)]  # a question without a window, which the official scorer counts as wrong
        return {question: self.candidates.get(question, nothing) for question in range(self.split.questions)}


def predict_answers(
    checkpoint: Path, data: Path, split: str = "valid", options: PredictionOptions | None = None
) -> Predictions:
    """Answer all questions of a split.

    Args:
        checkpoint: of a ``distil_encoder`` or a ``teacher_student``, fine-tuned with the task ``question_answering``
        data: directory that ``scripts/prepare_squad.py`` wrote
        split: name of the split
        options: how

    Raises:
        UserError: the checkpoint cannot be read, has no head for answers, another vocabulary or too few positions; the
            data are missing or damaged
    """
    options = options or PredictionOptions()
    dictionary = read_dictionary(data / "dict.txt")
    symbols_of_data = len(dictionary) - 1  # without the mask
    dataset = load_windows(str(data / split), split, symbols_of_data, dictionary.pad(), seed=0)
    stored = read_encoder(str(checkpoint), dictionary, str(data), role="checkpoint")
    with naming(f"checkpoint {checkpoint}"):
        model = DistilEncoderModel.restored(stored.config, stored.weights).eval().to(options.device)
        _require_suitable(model, dataset)
    rows = [_spans_of(model, sample, options) for sample in _batches(dataset, options)]
    return Predictions(dataset.split, rank_answers(dataset.split, torch.cat(rows), options.n_best))


def write_json(content: Any, path: Path) -> None:
    """Write it aside, then rename: the file is whole or absent."""
    write_whole(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _require_suitable(model: DistilEncoderModel, dataset: QuestionAnsweringDataset) -> None:
    if model.question_answering_head is None:
        raise UserError("it has no question-answering head; fine-tune it with --task question_answering first")
    longest = int(dataset.sizes.max())
    if longest > model.max_positions():
        raise UserError(
            f"it has {model.max_positions()} positions, but the longest window has {longest} tokens; prepare the data "
            "with a smaller --length, see scripts/prepare_squad.py"
        )


def _batches(dataset: QuestionAnsweringDataset, options: PredictionOptions) -> Iterator[dict[str, Any]]:
    longest_first = dataset.ordered_indices()[::-1]  # so that memory runs out at once or not at all
    firsts = range(0, len(longest_first), options.batch_size)
    for first in tqdm(firsts, desc=f"answering {dataset.name}", unit=" batches", disable=None):
        sample = dataset.collater([dataset[index] for index in longest_first[first : first + options.batch_size]])
        yield utils.move_to_cuda(sample) if options.device == "cuda" else sample


@torch.inference_mode()
def _spans_of(model: DistilEncoderModel, sample: dict[str, Any], options: PredictionOptions) -> torch.Tensor:
    with autocast(options.device, options.autocast_dtype):
        logits = model(**sample["net_input"], answer_logits=True)[0]
    lengths = sample["net_input"]["src_lengths"]
    spans = best_spans(logits, sample["context_starts"], lengths, options.max_answer_tokens, options.n_best)
    return span_rows(sample["id"], spans)
