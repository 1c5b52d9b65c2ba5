from argparse import Namespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_NAME_REGISTRY

from fairseq_distil.models import DistilEncoderModel
from fairseq_distil.modules import EncoderConfig

SIZES = {
    "distil_encoder_tiny": (2, 128, 2),
    "distil_encoder_mini": (4, 256, 4),
    "distil_encoder_small": (4, 512, 8),
    "distil_encoder_medium": (8, 512, 8),
    "distil_encoder_base": (12, 768, 12),
    "teacher_student_tiny": (1, 128, 2),
    "teacher_student_mini": (2, 256, 4),
    "teacher_student_small": (2, 512, 8),
    "teacher_student_medium": (4, 512, 8),
    "teacher_student_base": (6, 768, 12),
    "distilbert_base": (6, 768, 12),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    cfg = Namespace()
    ARCH_CONFIG_REGISTRY[name](cfg)
    assert (cfg.encoder_layers, cfg.encoder_embed_dim, cfg.encoder_attention_heads) == SIZES[name]
    model = "distil_encoder" if name.startswith("distil_encoder") else "teacher_student"
    assert ARCH_MODEL_NAME_REGISTRY[name] == model


def test_what_is_given_wins() -> None:
    cfg = Namespace(encoder_layers=3, encoder_embed_dim=None)
    ARCH_CONFIG_REGISTRY["distil_encoder_base"](cfg)
    assert (cfg.encoder_layers, cfg.encoder_embed_dim) == (3, 768)


@pytest.mark.parametrize(("layers", "parameters"), [(6, 66_985_530), (12, 109_514_298 - 1_536)])
def test_base_has_the_published_number_of_parameters(layers: int, parameters: int) -> None:
    """DistilBERT's; and BERT's masked-LM model's, whose two token types of 768 are not here."""
    with torch.device("meta"):
        model = DistilEncoderModel(EncoderConfig(vocabulary_size=30_522, padding_index=1, layers=layers))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
