"""The parameter names of every family of checkpoints, as data that is read in both directions.

Nothing else in the project knows a foreign parameter name. A module stands for its ``weight`` and ``bias``; several
modules on the right are one on the left, their tensors concatenated in that order; ``{layer}`` counts from 0.
"""

from fairseq_distil.checkpoints.key_map import HeadMap, KeyMap, Modules

WORD_EMBEDDINGS = "encoder.embeddings.word_embeddings.weight"
POSITION_EMBEDDINGS = "encoder.embeddings.position_embeddings.weight"
HEAD_BIAS = "masked_lm_head.bias"

MASKED_LM, CLASSIFICATION, QUESTION_ANSWERING = "masked-lm", "classification", "question-answering"
CLASSIFICATION_HEAD = "sentence_classification_head"
"""The name of a classification head in the tables; it is the one that fairseq gives by default."""


def _bert_layer(prefix: str) -> Modules:
    attention = f"{prefix}.attention"
    return {
        "encoder.layers.{layer}.attention.query_key_value": (
            f"{attention}.self.query",
            f"{attention}.self.key",
            f"{attention}.self.value",
        ),
        "encoder.layers.{layer}.attention.output": (f"{attention}.output.dense",),
        "encoder.layers.{layer}.attention_layer_norm": (f"{attention}.output.LayerNorm",),
        "encoder.layers.{layer}.feed_forward_in": (f"{prefix}.intermediate.dense",),
        "encoder.layers.{layer}.feed_forward_out": (f"{prefix}.output.dense",),
        "encoder.layers.{layer}.output_layer_norm": (f"{prefix}.output.LayerNorm",),
    }


def _masked_lm_head(pattern: str, dense: str, layer_norm: str, bias: str = "bias") -> HeadMap:
    modules = {"masked_lm_head.dense": dense, "masked_lm_head.layer_norm": layer_norm}
    return HeadMap(
        {ours: (pattern.format(theirs),) for ours, theirs in modules.items()}, {HEAD_BIAS: pattern.format(bias)}
    )


QUESTION_ANSWERING_HEAD = HeadMap({"question_answering_head.output": ("qa_outputs",)})
TENSORFLOW_NAMES = {r"LayerNorm\.gamma$": "LayerNorm.weight", r"LayerNorm\.beta$": "LayerNorm.bias"}

BERT = KeyMap(
    body="bert.",
    parameters={
        WORD_EMBEDDINGS: "bert.embeddings.word_embeddings.weight",
        POSITION_EMBEDDINGS: "bert.embeddings.position_embeddings.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("bert.embeddings.LayerNorm",)},
    layer_modules=_bert_layer("bert.encoder.layer.{layer}"),
    heads={
        MASKED_LM: _masked_lm_head("cls.predictions.{}", "transform.dense", "transform.LayerNorm"),
        QUESTION_ANSWERING: QUESTION_ANSWERING_HEAD,
    },
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    token_types="bert.embeddings.token_type_embeddings.weight",
    ignored=(r"bert\.embeddings\.(position|token_type)_ids", r"bert\.pooler\..*", r"cls\.seq_relationship\..*"),
    old_names=TENSORFLOW_NAMES,
)

ROBERTA = KeyMap(
    body="roberta.",
    parameters={
        WORD_EMBEDDINGS: "roberta.embeddings.word_embeddings.weight",
        POSITION_EMBEDDINGS: "roberta.embeddings.position_embeddings.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("roberta.embeddings.LayerNorm",)},
    layer_modules=_bert_layer("roberta.encoder.layer.{layer}"),
    heads={
        MASKED_LM: _masked_lm_head("lm_head.{}", "dense", "layer_norm"),
        QUESTION_ANSWERING: QUESTION_ANSWERING_HEAD,
    },
    tied={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    token_types="roberta.embeddings.token_type_embeddings.weight",
    ignored=(r"roberta\.embeddings\.(position|token_type)_ids", r"roberta\.pooler\..*"),
    old_names=TENSORFLOW_NAMES,
)

DISTILBERT = KeyMap(
    body="distilbert.",
    parameters={
        WORD_EMBEDDINGS: "distilbert.embeddings.word_embeddings.weight",
        POSITION_EMBEDDINGS: "distilbert.embeddings.position_embeddings.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("distilbert.embeddings.LayerNorm",)},
    layer_modules={
        "encoder.layers.{layer}.attention.query_key_value": (
            "distilbert.transformer.layer.{layer}.attention.q_lin",
            "distilbert.transformer.layer.{layer}.attention.k_lin",
            "distilbert.transformer.layer.{layer}.attention.v_lin",
        ),
        "encoder.layers.{layer}.attention.output": ("distilbert.transformer.layer.{layer}.attention.out_lin",),
        "encoder.layers.{layer}.attention_layer_norm": ("distilbert.transformer.layer.{layer}.sa_layer_norm",),
        "encoder.layers.{layer}.feed_forward_in": ("distilbert.transformer.layer.{layer}.ffn.lin1",),
        "encoder.layers.{layer}.feed_forward_out": ("distilbert.transformer.layer.{layer}.ffn.lin2",),
        "encoder.layers.{layer}.output_layer_norm": ("distilbert.transformer.layer.{layer}.output_layer_norm",),
    },
    heads={
        MASKED_LM: _masked_lm_head("vocab_{}", "transform", "layer_norm", bias="projector.bias"),
        QUESTION_ANSWERING: QUESTION_ANSWERING_HEAD,
        CLASSIFICATION: HeadMap(
            {
                f"classification_heads.{CLASSIFICATION_HEAD}.dense": ("pre_classifier",),
                f"classification_heads.{CLASSIFICATION_HEAD}.output": ("classifier",),
            }
        ),
    },
    tied={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    ignored=(r"distilbert\.embeddings\.position_ids",),
)

FAIRSEQ_ROBERTA = KeyMap(
    body="encoder.",
    parameters={
        WORD_EMBEDDINGS: "encoder.sentence_encoder.embed_tokens.weight",
        POSITION_EMBEDDINGS: "encoder.sentence_encoder.embed_positions.weight",
    },
    modules={"encoder.embeddings.layer_norm": ("encoder.sentence_encoder.layernorm_embedding",)},
    layer_modules={
        "encoder.layers.{layer}.attention.query_key_value": (
            "encoder.sentence_encoder.layers.{layer}.self_attn.q_proj",
            "encoder.sentence_encoder.layers.{layer}.self_attn.k_proj",
            "encoder.sentence_encoder.layers.{layer}.self_attn.v_proj",
        ),
        "encoder.layers.{layer}.attention.output": ("encoder.sentence_encoder.layers.{layer}.self_attn.out_proj",),
        "encoder.layers.{layer}.attention_layer_norm": (
            "encoder.sentence_encoder.layers.{layer}.self_attn_layer_norm",
        ),
        "encoder.layers.{layer}.feed_forward_in": ("encoder.sentence_encoder.layers.{layer}.fc1",),
        "encoder.layers.{layer}.feed_forward_out": ("encoder.sentence_encoder.layers.{layer}.fc2",),
        "encoder.layers.{layer}.output_layer_norm": ("encoder.sentence_encoder.layers.{layer}.final_layer_norm",),
    },
    heads={MASKED_LM: _masked_lm_head("encoder.lm_head.{}", "dense", "layer_norm")},
    tied={"encoder.lm_head.weight": "encoder.sentence_encoder.embed_tokens.weight"},
    ignored=(r"encoder\.sentence_encoder\.(version|embed_positions\._float_tensor)", r"classification_heads\..*"),
    old_names={r"^decoder\.": "encoder.", r"\.emb_layer_norm\.": ".layernorm_embedding."},
    fused={
        rf"(.*\.self_attn)\.in_proj_{kind}": tuple(rf"\1.{name}_proj.{kind}" for name in "qkv")
        for kind in ("weight", "bias")
    },
)
