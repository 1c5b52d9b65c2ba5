"""The README.md of an exported model, from what its checkpoint says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq_distil.models import DistilEncoderModel

RECIPE = {
    "model": ("teacher", "student_init", "teacher_layer_map"),
    "criterion": ("_name", "soft_target_weight", "mlm_weight", "cosine_weight", "soft_target_temperature"),
    "task": ("data", "tokens_per_sample", "mask_prob", "mask_whole_words", "mask_frequency_smoothing"),
    "optimizer": ("_name", "adam_betas", "weight_decay"),
    "lr_scheduler": ("_name", "warmup_updates"),
    "optimization": ("lr", "update_freq", "max_update", "clip_norm"),
    "dataset": ("batch_size", "max_tokens"),
    "common": ("seed",),
}
"""The settings of a run that a reader of the card asks for, by their groups."""

CARD = """---
library_name: transformers
pipeline_tag: fill-mask
tags: [fill-mask, distillation]
---

# {name}

A masked language model trained with fairseq_distil: {layers} layers of width {width}, {heads} attention heads,
{positions} positions, {parameters:,} parameters, {updates:,} updates.

```python
from transformers import pipeline

pipeline("fill-mask", model="{name}")("...")
```

## Training

| setting | value |
|---|---|
{recipe}
"""


def model_card(name: str, model: DistilEncoderModel, checkpoint: Mapping[str, Any], report: str = "") -> str:
    """Markdown with the sizes, the recipe, the data, and the metrics that it is given.

    Args:
        name: of the model
        model: the encoder
        checkpoint: what fairseq loaded
        report: Markdown to close with, such as ``report.md`` of ``scripts/evaluate.py``
    """
    card = CARD.format(
        name=name,
        layers=model.config.layers,
        width=model.config.width,
        heads=model.config.attention_heads,
        positions=model.config.max_positions,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        updates=checkpoint["optimizer_history"][-1]["num_updates"],
        recipe="\n".join(f"| {setting} | {value} |" for setting, value in _recipe(checkpoint).items()),
    )
    return f"{card}\n## Metrics\n\n{report.strip()}\n" if report else card


def _recipe(checkpoint: Mapping[str, Any]) -> dict[str, str]:
    recipe = {}
    for group, settings in RECIPE.items():
        values = checkpoint["cfg"].get(group) or {}
        for setting in settings:
            value = values.get(setting)
            if value not in (None, ""):
                shown = Path(value).name if (group, setting) in (("model", "teacher"), ("task", "data")) else value
                recipe[f"{group}.{setting}".replace("._name", "")] = str(shown)
    if (best := (checkpoint.get("extra_state") or {}).get("best")) is not None:
        recipe["best validation score"] = f"{best:.4g}"
    return recipe
