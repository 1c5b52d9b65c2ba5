"""Whether weights are those of the encoder that a configuration describes, found out without building it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fairseq_distil.checkpoints.key_maps import HEAD_BIAS
from fairseq_distil.checkpoints.tensor_check import require_floating
from fairseq_distil.errors import UserError
from fairseq_distil.modules import (
    ClassificationHead,
    EncoderConfig,
    MaskedLMHead,
    QuestionAnsweringHead,
    TransformerEncoder,
)

PARAMETERS_OF_A_LAYER = 12
CLASSIFICATION_HEADS = "classification_heads"


def require_shapes(weights: Mapping[str, Tensor], config: EncoderConfig) -> None:
    """Check the encoder and those heads of which the weights hold any.

    A configuration can ask for any size; built without this check, the encoder would fill the memory.

    Raises:
        UserError: a parameter is missing, or has another shape than the configuration says
    """
    if config.layers * PARAMETERS_OF_A_LAYER > len(weights):
        raise UserError(f"it has {len(weights):,} parameters, too few for {config.layers:,} layers")
    for name, shape in _shapes(weights, config).items():
        if name not in weights:
            raise UserError(f"it lacks {name}")
        found = weights[name]
        if found.shape != shape:
            raise UserError(f"{name} is {tuple(found.shape)}, but its configuration asks for {tuple(shape)}")
        require_floating(name, found)


def classification_heads(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
    """Inner width and classes of each classification head, by its name.

    Raises:
        UserError: a head has only one of its layers, or a name that cannot be one
    """
    rows = {
        name.removeprefix(f"{CLASSIFICATION_HEADS}.").removesuffix(".weight"): tensor.shape[0] if tensor.ndim else 0
        for name, tensor in weights.items()
        if name.startswith(f"{CLASSIFICATION_HEADS}.") and name.endswith(".weight")
    }
    names = dict.fromkeys(layer.removesuffix(".dense").removesuffix(".output") for layer in rows)
    for name in names:
        require_head_name(name)
        if not (rows.get(f"{name}.dense") and rows.get(f"{name}.output")):
            raise UserError(f"its classification head {name} is not whole")
    return {name: (rows[f"{name}.dense"], rows[f"{name}.output"]) for name in names}


def require_head_name(name: str) -> None:
    """Raise a UserError unless a module can have this name."""
    if not name or "." in name or hasattr(nn.ModuleDict, name):
        raise UserError(f"a classification head cannot be called {name!r}; choose another name")


def _shapes(weights: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        modules: dict[str, nn.Module] = {"encoder": TransformerEncoder(config)}
        if HEAD_BIAS in weights:
            modules["masked_lm_head"] = MaskedLMHead(config)
        heads = {
            name: ClassificationHead(config.width, inner_width, classes)
            for name, (inner_width, classes) in classification_heads(weights).items()
        }
        modules[CLASSIFICATION_HEADS] = nn.ModuleDict(heads)
        if "question_answering_head.output.weight" in weights:
            modules["question_answering_head"] = QuestionAnsweringHead(config.width)
    return {name: tensor.shape for name, tensor in nn.ModuleDict(modules).state_dict().items()}
