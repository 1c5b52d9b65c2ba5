"""The README.md of an exported model, from what its checkpoint says."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from fairseq import utils

from fairseq_distil.checkpoints.exportable import Exportable
from fairseq_distil.checkpoints.exported_heads import ENCODER, HEAD_KINDS
from fairseq_distil.checkpoints.key_maps import CLASSIFICATION, MASKED_LM, QUESTION_ANSWERING
from fairseq_distil.checkpoints.model_card_usage import usage
from fairseq_distil.criterions.terms import TERMS

RECIPE = {
    "model": ("teacher", "teacher_weights", "student_init", "teacher_layer_map"),
    "criterion": ("_name", "teacher_weight", "soft_target_temperature"),
    "task": (
        "data",
        "tokens_per_sample",
        "mask_prob",
        "mask_prob_schedule",
        "mask_whole_words",
        "mask_frequency_smoothing",
    ),
    "optimizer": ("_name", "adam_betas", "weight_decay"),
    "lr_scheduler": ("_name", "warmup_updates"),
    "optimization": ("lr", "update_freq", "max_update", "clip_norm"),
    "dataset": ("batch_size", "max_tokens"),
    "common": ("seed",),
}
"""The settings of a run that a reader of the card asks for, by their groups; of distillation see ``_objective``."""

DESCRIPTIONS = {
    MASKED_LM: "A masked language model",
    CLASSIFICATION: "A text classifier",
    QUESTION_ANSWERING: "A model that finds answers in texts",
    ENCODER: "An encoder of texts",
}

CARD = """---
library_name: {library}
pipeline_tag: {tag}
tags: [{tag}, distillation]
---

# {name}

{description} trained with fairseq_distil: {layers} layers of width {width}, {heads} attention heads,
{positions} positions, {parameters:,} parameters, {updates:,} updates.

```python
{usage}
```

| file | MB | what was checked before it was written |
|---|---|---|
{files}

## Training

| setting | value |
|---|---|
{recipe}
"""


class ExportedFile(NamedTuple):
    """A file of weights."""

    name: str
    megabytes: float
    checked: str
    """what was found"""

    @classmethod
    def of(cls, path: Path, checked: str) -> "ExportedFile":
        """The file at ``path``."""
        return cls(path.name, path.stat().st_size / 1e6, checked)


def model_card(
    name: str, exportable: Exportable, architecture: str, format_: str, files: Sequence[ExportedFile], report: str = ""
) -> str:
    """Markdown with the use, the sizes, the recipe, the data, and the metrics that it is given.

    Args:
        name: of the model
        exportable: what was exported
        architecture: that it was exported as
        format_: the export's
        files: its weights
        report: Markdown to close with, such as ``report.md`` of ``scripts/evaluate.py``
    """
    config, kind, checkpoint = exportable.model.config, exportable.head.kind, exportable.checkpoint
    card = CARD.format(
        library="transformers" if format_ == "transformers" else "onnx",
        tag=HEAD_KINDS[kind].pipeline_tag,
        name=name,
        description=DESCRIPTIONS[kind],
        layers=config.layers,
        width=config.width,
        heads=config.attention_heads,
        positions=config.max_positions,
        parameters=sum(weight.numel() for weight in exportable.weights.values()),
        updates=checkpoint["optimizer_history"][-1]["num_updates"],
        usage=usage(exportable, architecture, format_, name, files[-1].name),
        files="\n".join(f"| {file.name} | {file.megabytes:.1f} | {file.checked} |" for file in files),
        recipe="\n".join(f"| {setting} | {value} |" for setting, value in _recipe(checkpoint).items()),
    )
    return f"{card}\n## Metrics\n\n{report.strip()}\n" if report else card


def _recipe(checkpoint: Mapping[str, Any]) -> dict[str, str]:
    recipe = {}
    for group, settings in RECIPE.items():
        values = checkpoint["cfg"].get(group) or {}
        for setting in _objective(values) if values.get("_name") == "distillation" else settings:
            value = values.get(setting)
            if value not in (None, ""):
                shown = _names(value) if (group, setting) in (("model", "teacher"), ("task", "data")) else value
                recipe[f"{group}.{setting}".replace("._name", "")] = str(shown)
    if (best := (checkpoint.get("extra_state") or {}).get("best")) is not None:
        recipe["best validation score"] = f"{best:.4g}"
    return recipe


def _objective(criterion: Mapping[str, Any]) -> list[str]:
    """The settings of the terms that have a weight, or get one by a schedule."""
    schedules = criterion.get("schedules") or ""
    terms = [term for term in TERMS if criterion.get(term.weight_name) or f"{term.weight_name}=" in schedules]
    return ["_name", *(option.name for term in terms for option in fields(term.options)), "schedules"]


def _names(paths: str) -> str:
    """Of one path, or of several between colons, without the folders."""
    return ":".join(Path(path).name for path in utils.split_paths(paths))
