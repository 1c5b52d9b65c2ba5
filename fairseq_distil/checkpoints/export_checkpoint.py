"""A checkpoint of this plugin for the systems that people deploy with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fairseq_distil.checkpoints.export_check import Batch, checked_batch
from fairseq_distil.checkpoints.export_onnx import FLOAT_FILE, INT8_FILE, check_int8, check_onnx, write_onnx
from fairseq_distil.checkpoints.export_transformers import (
    check_transformers,
    class_name,
    default_architecture,
    save_tokenizer,
    their_config,
    their_model,
    their_tokenizer,
)
from fairseq_distil.checkpoints.exportable import Exportable, load_exportable
from fairseq_distil.checkpoints.model_card import ExportedFile, model_card
from fairseq_distil.checkpoints.onnx_int8_builder import Int8GraphBuilder
from fairseq_distil.checkpoints.transformers_directory import SAFETENSORS_FILE
from fairseq_distil.data.atomic_directory import atomic_directory, refuse_existing
from fairseq_distil.errors import UserError, naming

FORMATS = ("transformers", "onnx")


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how.

    Args:
        format: one of ``FORMATS``
        architecture: a key of ``ARCHITECTURES``; None for what the checkpoint suggests
        head: name of the head, see :func:`~fairseq_distil.checkpoints.exported_heads.choose_head`
        labels: names of the classes of a classification head
        int8: whether to write int8 weights too, which is for ONNX
        report: Markdown with metrics for the model card
    """

    format: str = "transformers"
    architecture: str | None = None
    head: str | None = None
    labels: Sequence[str] | None = None
    int8: bool = False
    report: Path | None = None


def export_checkpoint(path: Path, data: Path, output: Path, options: ExportOptions) -> list[str]:
    """Load, export and check.

    Args:
        path: checkpoint of a ``distil_encoder`` or a ``teacher_student``
        data: directory with the ``dict.txt`` and the tokeniser that it was pre-trained with
        output: new directory
        options: what to export, and how

    Returns:
        what was checked, a line for each file

    Raises:
        UserError: the checkpoint cannot be loaded or exported
    """
    if options.int8 and options.format != "onnx":
        raise UserError(f"--quantize is for --format onnx, not {options.format}; add --format onnx, or leave it out")
    refuse_existing(output)
    report = "" if options.report is None else _read_report(options.report)
    exportable = load_exportable(path, data, options.head, options.labels)
    files = export(exportable, output, options, report)
    return [f"{output / file.name}: {file.checked}" for file in files]


def export(exportable: Exportable, output: Path, options: ExportOptions, report: str = "") -> list[ExportedFile]:
    """Write a directory with weights, ``config.json``, the tokeniser and a model card; all of it or nothing.

    Raises:
        UserError: the output exists, the architecture cannot express the encoder, or what is loaded from it differs
    """
    architecture = options.architecture or default_architecture(exportable)
    tokenizer = their_tokenizer(exportable)
    with naming(f"--architecture {architecture}"):
        config = their_config(exportable, tokenizer, architecture)
    with atomic_directory(output) as directory, naming(output):
        save_tokenizer(exportable, tokenizer, directory)
        config.save_pretrained(directory)
        batch = checked_batch(directory, exportable)
        if options.format == "onnx":
            files = _write_onnx_files(exportable, directory, options.int8, batch)
        else:
            their_model(exportable, config, architecture).save_pretrained(directory)
            files = [_checked_weights(exportable, directory, architecture, batch)]
        card = model_card(output.name, exportable, architecture, options.format, files, report)
        (directory / "README.md").write_text(card, encoding="utf-8")
    return files


def _checked_weights(exportable: Exportable, directory: Path, architecture: str, batch: Batch) -> ExportedFile:
    path = directory / SAFETENSORS_FILE
    path.chmod(directory.stat().st_mode & 0o666)  # safetensors leaves it to its owner alone
    difference = check_transformers(directory, exportable, architecture, batch)
    name = class_name(exportable, architecture)
    said = f"transformers loads it as {name}, with the same ids and outputs (largest difference {difference:.1e})"
    return ExportedFile.of(path, said)


def _write_onnx_files(exportable: Exportable, directory: Path, int8: bool, batch: Batch) -> list[ExportedFile]:
    path = directory / FLOAT_FILE
    write_onnx(exportable, path)
    difference = check_onnx(path, exportable, batch)
    said = f"ONNX Runtime gives the same outputs (largest difference {difference:.1e})"
    files = [ExportedFile.of(path, said)]
    if int8:
        path = directory / INT8_FILE
        write_onnx(exportable, path, Int8GraphBuilder)
        files.append(ExportedFile.of(path, f"int8 against float32: {check_int8(path, exportable, batch)}"))
    return files


def _read_report(path: Path) -> str:
    if not path.is_file():
        raise UserError(f"--report {path}: no such file; give the report.md that scripts/evaluate.py wrote")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--report {path}: not UTF-8 text ({error.reason}); give a Markdown file") from error
