"""Tables of a comparison, for people (Markdown) and for programs (JSON)."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairseq_distil.atomic_file import write_whole

from .comparison import ModelReport


def markdown(reports: Sequence[ModelReport]) -> str:
    """The reports as Markdown: a table of the models, and one of fillings where there are any."""
    reference = reports[0]
    header = [
        "model",
        "layers",
        "parameters",
        "size (MB)",
        "latency (ms)",
        "speed-up",
        "MLM perplexity",
        "MLM accuracy",
        f"agreement with {reference.name}",
    ]
    rows = [
        [
            report.name,
            str(report.layers),
            f"{report.parameters:,}",
            f"{report.megabytes:.1f}",
            f"{1000 * report.latency:.2f}",
            f"{reference.latency / report.latency:.2f}x",
            f"{report.masked_lm.perplexity:.2f}",
            f"{report.masked_lm.accuracy:.1%}",
            f"{report.masked_lm.reference_agreement:.1%}",
        ]
        for report in reports
    ]
    tables = [markdown_table(header, rows)]
    for sentence in reference.fillings:
        columns = [[f"{f.token} {f.probability:.0%}" for f in report.fillings[sentence]] for report in reports]
        fillings = [list(row) for row in zip(*columns, strict=True)]
        tables.append(f"{sentence}\n\n" + markdown_table([report.name for report in reports], fillings))
    return "\n\n".join(tables)


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Cells as a Markdown table whose source is aligned too."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def write_report(reports: Sequence[ModelReport], directory: Path) -> None:
    """Write ``report.md`` and ``report.json`` to ``directory``, each whole or not at all."""
    write_texts(directory, markdown(reports), [_as_dictionary(report) for report in reports])


def write_texts(directory: Path, text: str, values: Any) -> None:
    """Write ``report.md`` and ``report.json``, each whole or not at all."""
    write_whole(directory / "report.md", text + "\n")
    write_whole(directory / "report.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _as_dictionary(report: ModelReport) -> dict:
    return {
        **dataclasses.asdict(report),
        "masked_lm": report.masked_lm._asdict(),
        "fillings": {
            sentence: [filling._asdict() for filling in fillings] for sentence, fillings in report.fillings.items()
        },
    }
