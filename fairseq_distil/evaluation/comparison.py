"""Size, speed and masked-LM quality of several checkpoints, side by side."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fairseq_distil.benchmarks.device import default_device
from fairseq_distil.checkpoints.load_errors import explain_load_error
from fairseq_distil.errors import UserError
from fairseq_distil.hub_interface import DistilEncoderHubInterface, Filling
from fairseq_distil.models import DistilEncoderModel

from .latency import median_latencies
from .masked_lm import MaskedLMResult, evaluate_masked_lm
from .model_size import count_parameters, saved_megabytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelReport:
    """What was measured of one model."""

    name: str
    layers: int
    parameters: int
    megabytes: float
    """size of its weights in a file"""
    latency: float
    """median seconds for one sequence, on the CPU"""
    masked_lm: MaskedLMResult
    fillings: dict[str, list[Filling]]
    """best fillings by masked sentence"""


def compare(
    checkpoints: dict[str, Path], data: Path, split: str, sentences: Sequence[str], batch_size: int = 32
) -> list[ModelReport]:
    """Evaluate checkpoints on one split of binarised data, with the same fixed masks for all.

    Masked-LM quality is measured on a GPU where there is one, a model at a time.

    Args:
        checkpoints: path by name; the first is the reference of ``reference_agreement``
        data: binarised data with the tokeniser's files
        split: such as ``valid``
        sentences: each with one ``<mask>``; one that is too long for a model is left out, with a warning
        batch_size: sequences

    Raises:
        UserError: a checkpoint or the data are missing or damaged, or do not fit each other, or a sentence is wrong
    """
    if not data.is_dir():
        raise UserError(f"{data}: no such directory; give the binarised data that the models were trained on")
    interfaces = [load_encoder(path, data) for path in checkpoints.values()]
    _require_positions(checkpoints, interfaces)
    fitting = [sentence for sentence in sentences if _fits(sentence, interfaces)]
    fillings = [{sentence: interface.fill_mask(sentence) for sentence in fitting} for interface in interfaces]
    models = [interface.model for interface in interfaces]
    batches = _batches(interfaces[0], split, batch_size)
    with tqdm(total=len(models) * len(batches), desc=f"masked LM on {split}", unit=" batches") as progress:
        results = evaluate_masked_lm(models, batches, default_device(), progress.update)
    latencies = median_latencies(models, length=interfaces[0].task.cfg.tokens_per_sample)
    return [
        ModelReport(
            name=name,
            layers=interface.model.config.layers,
            parameters=count_parameters(interface.model),
            megabytes=saved_megabytes(interface.model),
            latency=latency,
            masked_lm=result,
            fillings=model_fillings,
        )
        for name, interface, result, latency, model_fillings in zip(
            checkpoints, interfaces, results, latencies, fillings, strict=True
        )
    ]


def load_encoder(path: Path, data: Path) -> DistilEncoderHubInterface:
    """Load a checkpoint for the use with the tokeniser of ``data``.

    Raises:
        UserError: the checkpoint is missing or damaged, or does not fit the data
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    try:
        # A data directory that begins with a dot would be taken as relative to the checkpoint's.
        return DistilEncoderModel.from_pretrained(str(path.parent), path.name, str(data.absolute()))
    except UserError:
        raise
    except Exception as error:  # torch and fairseq raise almost anything on a file of another kind
        raise UserError(f"{path}: {explain_load_error(error)}") from error


def _require_positions(checkpoints: dict[str, Path], interfaces: list[DistilEncoderHubInterface]) -> None:
    length = interfaces[0].task.cfg.tokens_per_sample
    for path, interface in zip(checkpoints.values(), interfaces, strict=True):
        if interface.model.max_positions() < length:
            raise UserError(
                f"{path}: has {interface.model.max_positions()} positions, but the first model's samples have up to "
                f"{length} tokens; give the model with the fewest positions first"
            )


def _fits(sentence: str, interfaces: list[DistilEncoderHubInterface]) -> bool:
    length = len(interfaces[0].symbols(sentence)) + 2  # <s> and </s>
    positions = min(interface.model.max_positions() for interface in interfaces)
    if length > positions:
        logger.warning("left out, %d tokens are more than %d positions: %s", length, positions, sentence)
    return length <= positions


def _batches(interface: DistilEncoderHubInterface, split: str, batch_size: int) -> list[dict[str, Any]]:
    interface.task.load_dataset(split)
    iterator = interface.task.get_batch_iterator(interface.task.dataset(split), max_sentences=batch_size)
    return list(iterator.next_epoch_itr(shuffle=False, set_dataset_epoch=False))
