"""A checkpoint of this plugin for the systems that people deploy with."""

from pathlib import Path

from fairseq import checkpoint_utils

from fairseq_distil.checkpoints.export_transformers import export_transformers
from fairseq_distil.checkpoints.load_errors import explain_load_error
from fairseq_distil.checkpoints.model_card import model_card
from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel


def export_checkpoint(path: Path, data: Path, output: Path, architecture: str, report: Path | None = None) -> float:
    """Load, export and verify.

    Args:
        path: checkpoint of a ``distil_encoder`` or a ``teacher_student``
        data: directory of its data, with ``dict.txt`` and the tokeniser's files
        output: new directory
        architecture: see :func:`~fairseq_distil.checkpoints.export_transformers.export_transformers`
        report: Markdown with metrics for the model card

    Returns:
        the largest difference of a logit between the checkpoint and what transformers loads

    Raises:
        UserError: the checkpoint cannot be loaded or exported
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint")
    metrics = "" if report is None else report.read_text(encoding="utf-8")
    try:
        checkpoint = checkpoint_utils.load_checkpoint_to_cpu(str(path))
    except Exception as error:  # torch and fairseq raise almost anything on a file of another kind
        raise UserError(f"{path}: {explain_load_error(error)}") from error
    interface = DistilEncoderModel.from_pretrained(str(path.parent), path.name, str(data.resolve()))
    if not isinstance(interface.model, DistilEncoderModel):
        raise UserError(f"{path}: holds a {type(interface.model).__name__}, expected a distil_encoder")
    card = model_card(output.name, interface.model, checkpoint, metrics)
    return export_transformers(interface, output, architecture, card)
