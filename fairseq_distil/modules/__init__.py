"""Pure torch building blocks of a BERT-style encoder. Nothing in this room imports fairseq."""

from .attention import SelfAttention
from .autocasting import autocast, cpu_has_bfloat16
from .embeddings import TransformerEmbeddings
from .encoder import TransformerEncoder
from .encoder_config import ACTIVATIONS, EncoderConfig
from .encoder_layer import EncoderLayer
from .initialization import initialize_bert_parameters
from .layer_map import default_layer_map, parse_layer_map, select_layers
from .layer_pairs import parse_layer_pairs
from .least_squares import least_squares
from .masked_lm_head import MaskedLMHead
from .memory_reuse import keep_released_memory
from .narrowing import narrow
from .task_heads import ClassificationHead, QuestionAnsweringHead

__all__ = [
    "ACTIVATIONS",
    "ClassificationHead",
    "EncoderConfig",
    "EncoderLayer",
    "MaskedLMHead",
    "QuestionAnsweringHead",
    "SelfAttention",
    "TransformerEmbeddings",
    "TransformerEncoder",
    "autocast",
    "cpu_has_bfloat16",
    "default_layer_map",
    "initialize_bert_parameters",
    "keep_released_memory",
    "least_squares",
    "narrow",
    "parse_layer_map",
    "parse_layer_pairs",
    "select_layers",
]
