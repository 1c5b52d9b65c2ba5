#!/usr/bin/env python3
"""The peer of the benchmark: distillation as a plain loop of transformers and torch, with the published objective.

    peer="python examples/distilbert/transformers_loop.py"
    python scripts/benchmark_training.py --peer "$peer"
    python scripts/benchmark_training.py --dtype bfloat16 --peer "$peer --bf16"

BertForMaskedLM teaches DistilBertForMaskedLM of half its layers, both of random weights, on random ids; everything is
as transformers and torch do it: logits of all tokens, of which the selected ones enter the terms, AdamW and clipping.
As in the script of DistilBERT's authors, the losses are of logits in float32, and the cross-entropy of all tokens, of
which the unmasked ones are ignored. --lean computes the losses under autocast too, and the cross-entropy of the masked
tokens alone. The last line is the record that the benchmark reads.
"""

import argparse
import json
import re
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

MASK, FIRST_WORD, IGNORED = 103, 1000, -100
MASK_PROBABILITY, TEMPERATURE, CLIP_NORM = 0.15, 2.0, 5.0
WARM_UP_STEPS = 2
RECORDED = ("batch", "length", "layers", "width", "heads", "vocab", "positions", "lean", "bf16", "device")


def objective(
    teacher: BertForMaskedLM, student: DistilBertForMaskedLM, ids: Tensor, positions: str, is_lean: bool, is_bf16: bool
) -> Tensor:
    """``5 T^2 KL + 2 CE + (1 - cos)`` for ids ``(batch, length)``, newly masked."""
    is_masked = torch.rand(ids.shape, device=ids.device) < MASK_PROBABILITY
    attention_mask = torch.ones_like(ids)
    inputs = {"input_ids": ids.masked_fill(is_masked, MASK), "attention_mask": attention_mask}
    autocast = partial(torch.autocast, ids.device.type, torch.bfloat16)
    with autocast(enabled=is_bf16):
        with torch.no_grad():
            taught = teacher(**inputs, output_hidden_states=True)
        learned = student(**inputs, output_hidden_states=True)
    selected = is_masked if positions == "masked" else attention_mask.bool()
    targets = ids.masked_fill(~is_masked, IGNORED)
    taught_logits, learned_logits, mlm_logits = taught.logits[selected], learned.logits[selected], learned.logits
    if is_lean:
        mlm_logits, targets = mlm_logits[is_masked], targets[is_masked]
    else:
        taught_logits, learned_logits, mlm_logits = taught_logits.float(), learned_logits.float(), mlm_logits.float()
    with autocast(enabled=is_bf16 and is_lean):
        soft_target = F.kl_div(
            F.log_softmax(learned_logits / TEMPERATURE, -1),
            F.softmax(taught_logits / TEMPERATURE, -1),
            reduction="batchmean",
        )
        mlm = F.cross_entropy(mlm_logits.view(targets.numel(), -1), targets.flatten(), ignore_index=IGNORED)
        cosine = F.cosine_similarity(learned.hidden_states[-1], taught.hidden_states[-1], dim=-1)
    return 5 * TEMPERATURE**2 * soft_target + 2 * mlm + (1 - cosine).mean()


def build_models(options: argparse.Namespace) -> tuple[BertForMaskedLM, DistilBertForMaskedLM]:
    """A teacher of the sizes that are asked for, and a student of half its layers."""
    width, heads, vocabulary = options.width, options.heads, options.vocab
    positions = max(512, options.length)
    teacher = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=options.layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        max_position_embeddings=positions,
    )
    student = DistilBertConfig(
        vocab_size=vocabulary,
        dim=width,
        n_layers=options.layers // 2,
        n_heads=heads,
        hidden_dim=4 * width,
        max_position_embeddings=positions,
    )
    return BertForMaskedLM(teacher).eval().requires_grad_(False), DistilBertForMaskedLM(student).train()


def peak_mib(device: torch.device) -> float:
    """Of the GPU's allocator, or the largest resident set; that of getrusage begins at that of the starting process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--layers", type=int, default=12, help="of the teacher")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--vocab", type=int, default=30522)
    parser.add_argument("--positions", choices=["all", "masked"], default="all")
    parser.add_argument("--lean", action="store_true", help="compute less for the losses")
    parser.add_argument("--bf16", action="store_true", help="autocast to bfloat16")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.vocab <= FIRST_WORD:
        parser.error(f"--vocab is {options.vocab}, but words begin at {FIRST_WORD}, as in BERT's")
    torch.manual_seed(1)
    device = torch.device(options.device)
    teacher, student = (model.to(device) for model in build_models(options))
    optimizer = torch.optim.AdamW(student.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6)

    def step() -> Tensor:
        ids = torch.randint(FIRST_WORD, options.vocab, (options.batch, options.length), device=device)
        loss = objective(teacher, student, ids, options.positions, options.lean, options.bf16)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.detach()

    for _ in range(WARM_UP_STEPS):
        loss = step()
    loss.item()  # waits for a GPU
    start = time.perf_counter()
    for _ in range(options.steps):
        loss = step()
    last_loss = loss.item()
    seconds = (time.perf_counter() - start) / options.steps
    record = {
        "peer": "transformers and torch",
        "seconds_per_step": round(seconds, 4),
        "tokens_per_second": round(options.batch * options.length / seconds, 1),
        "peak_mib": round(peak_mib(device)),
        "last_loss": last_loss,
        "padding": 0.0,
        **{name: getattr(options, name) for name in RECORDED},
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
