#!/usr/bin/env python3
"""Spearman correlation of sentence encoders on STS-B, and their latency, as transformers loads them.

    python examples/minilm/evaluate_sts.py --sts STS-B/dev.tsv MINILM MINILM:0,3,5 student

Each model is a directory that AutoModel and AutoTokenizer load; layers after a colon, counted from 0, are all that is
kept of it. A sentence's embedding is the mean of its last hidden states; two sentences are as similar as the cosine of
theirs. Latency is the median over sentences of the file, one at a time, the models taking turns.
"""

import argparse
import csv
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from fairseq_distil.errors import UserError

BATCH_SIZE = 64
LONGEST = 128  # tokens
TIMED_SENTENCES = 200


class SentenceEncoder(NamedTuple):
    name: str
    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel


def load(text: str) -> SentenceEncoder:
    """Read ``DIRECTORY`` or ``DIRECTORY:LAYERS``."""
    path, _, layers = text.partition(":")
    if not Path(path, "config.json").is_file():
        raise UserError(f"{path}: no directory of transformers: it has no config.json")
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model = AutoModel.from_pretrained(path, local_files_only=True).eval()
    if layers:
        stack = getattr(model, "encoder", None) or model.transformer  # BERT's or DistilBERT's
        kept = layers.split(",")
        if not all(layer.isdecimal() and int(layer) < len(stack.layer) for layer in kept):
            raise UserError(f"{text}: expected layers from 0 to {len(stack.layer) - 1}, separated by commas")
        stack.layer = nn.ModuleList(stack.layer[int(layer)] for layer in kept)
    return SentenceEncoder(text, tokenizer, model)


def read_sts(path: Path) -> tuple[list[str], list[str], list[float]]:
    """First sentences, second sentences, and how similar people found them."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give dev.tsv of GLUE's STS-B")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    try:
        first, second = [row["sentence1"] for row in rows], [row["sentence2"] for row in rows]
        return first, second, [float(row["score"]) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: expected columns sentence1, sentence2 and score, a number: {error}") from error


@torch.inference_mode()
def embed(encoder: SentenceEncoder, sentences: list[str]) -> Tensor:
    """Mean last hidden states of unit length ``(sentences, width)``."""
    embeddings = []
    for start in range(0, len(sentences), BATCH_SIZE):
        texts = sentences[start : start + BATCH_SIZE]
        batch = encoder.tokenizer(texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        is_token = batch["attention_mask"].unsqueeze(-1)
        hidden = encoder.model(**inputs).last_hidden_state
        embeddings.append(nn.functional.normalize((hidden * is_token).sum(1) / is_token.sum(1), dim=-1))
    return torch.cat(embeddings)


def correlation(encoder: SentenceEncoder, first: list[str], second: list[str], scores: list[float]) -> float:
    """Spearman's, of cosines and scores."""
    return spearmanr((embed(encoder, first) * embed(encoder, second)).sum(-1).numpy(), scores).statistic


def median_latencies(encoders: list[SentenceEncoder], sentences: list[str]) -> list[float]:
    """Seconds for one sentence, tokenisation included."""
    seconds: list[list[float]] = [[] for _ in encoders]
    for sentence in sentences:
        for encoder, measured in zip(encoders, seconds, strict=True):
            start = time.perf_counter()
            embed(encoder, [sentence])
            measured.append(time.perf_counter() - start)
    return [statistics.median(measured) for measured in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="DIRECTORY[:LAYERS]")
    parser.add_argument("--sts", type=Path, required=True, metavar="FILE", help="dev.tsv of GLUE's STS-B")
    arguments = parser.parse_args()
    try:
        first, second, scores = read_sts(arguments.sts)
        encoders = [load(text) for text in arguments.models]
        correlations = [correlation(encoder, first, second, scores) for encoder in encoders]
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    latencies = median_latencies(encoders, first[:TIMED_SENTENCES])
    print("| model | parameters | Spearman | ms a sentence |\n|---|---:|---:|---:|")
    for encoder, spearman, latency in zip(encoders, correlations, latencies, strict=True):
        parameters = sum(p.numel() for name, p in encoder.model.named_parameters() if "pooler" not in name)
        print(f"| {encoder.name} | {parameters:,} | {spearman:.4f} | {1000 * latency:.2f} |")


if __name__ == "__main__":
    main()
