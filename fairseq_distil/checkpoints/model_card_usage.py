"""Snippets for model cards: how each kind of export is used."""

from fairseq_distil.checkpoints.export_transformers import ARCHITECTURES
from fairseq_distil.checkpoints.exportable import Exportable
from fairseq_distil.checkpoints.exported_heads import ENCODER
from fairseq_distil.checkpoints.key_maps import CLASSIFICATION, MASKED_LM, QUESTION_ANSWERING

FILL_MASK = """from transformers import pipeline

fill_mask = pipeline("fill-mask", model="{name}")
fill_mask(f"The capital of France is {{fill_mask.tokenizer.mask_token}}.")"""

TEXT_CLASSIFICATION = """from transformers import pipeline

pipeline("text-classification", model="{name}")("A sentence.")"""

ANSWER = """import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("{name}"), AutoModelForQuestionAnswering.from_pretrained("{name}")
inputs = tokenizer("Who wrote it?", "It was written by Ada.", return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
start, end = outputs.start_logits.argmax(), outputs.end_logits.argmax()
tokenizer.decode(inputs["input_ids"][0, start : end + 1])"""

EMBED = """import torch
from transformers import AutoModel, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("{name}"), AutoModel.from_pretrained("{name}"{options})
inputs = tokenizer(["A sentence.", "Another one."], padding=True, return_tensors="pt")
with torch.no_grad():
    hidden = model(**inputs).last_hidden_state
is_token = inputs["attention_mask"].unsqueeze(-1)
(hidden * is_token).sum(1) / is_token.sum(1)  # one vector a sentence: the mean of its tokens'"""

ONNX_HEAD = """import onnxruntime
from transformers import AutoTokenizer

tokenizer, session = AutoTokenizer.from_pretrained("{name}"), onnxruntime.InferenceSession("{name}/{file}")
"""

ONNX_FILL_MASK = """inputs = dict(tokenizer(f"The capital of France is {{tokenizer.mask_token}}.", return_tensors="np"))
(logits,) = session.run(["logits"], inputs)
best = logits[inputs["input_ids"] == tokenizer.mask_token_id][0].argsort()[-5:][::-1]
tokenizer.convert_ids_to_tokens(best.tolist())"""

ONNX_TEXT_CLASSIFICATION = """texts = ["A sentence.", "Another one."]
inputs = dict(tokenizer(texts, padding=True, return_tensors="np"))
(logits,) = session.run(["logits"], inputs)
{result}"""

ONNX_ANSWER = """inputs = dict(tokenizer("Who wrote it?", "It was written by Ada.", return_tensors="np"))
start_logits, end_logits = session.run(["start_logits", "end_logits"], inputs)
tokenizer.decode(inputs["input_ids"][0, start_logits.argmax() : end_logits.argmax() + 1])"""

ONNX_EMBED = """inputs = dict(tokenizer(["A sentence.", "Another one."], padding=True, return_tensors="np"))
(hidden,) = session.run(["last_hidden_state"], inputs)
is_token = inputs["attention_mask"][..., None]
(hidden * is_token).sum(1) / is_token.sum(1)  # one vector a sentence: the mean of its tokens'"""

SNIPPETS = {
    ("transformers", MASKED_LM): FILL_MASK,
    ("transformers", CLASSIFICATION): TEXT_CLASSIFICATION,
    ("transformers", QUESTION_ANSWERING): ANSWER,
    ("transformers", ENCODER): EMBED,
    ("onnx", MASKED_LM): ONNX_HEAD + ONNX_FILL_MASK,
    ("onnx", CLASSIFICATION): ONNX_HEAD + ONNX_TEXT_CLASSIFICATION,
    ("onnx", QUESTION_ANSWERING): ONNX_HEAD + ONNX_ANSWER,
    ("onnx", ENCODER): ONNX_HEAD + ONNX_EMBED,
}
"""Python by format and kind of head; ``name`` is the directory, ``file`` one in it."""


def usage(exportable: Exportable, architecture: str, format_: str, name: str, file: str) -> str:
    """Python that loads an export from the directory ``name`` and shows what it is for."""
    classes, options = exportable.class_names, ARCHITECTURES[architecture].bare_options
    result = "logits[:, 0]" if len(classes) == 1 else f"[{classes}[best] for best in logits.argmax(-1)]"
    return SNIPPETS[format_, exportable.head.kind].format(
        name=name,
        file=file,
        options="".join(f", {option}={value}" for option, value in options.items()),
        result=result,
    )
