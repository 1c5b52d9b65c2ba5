#!/usr/bin/env python3
"""How fast encoders are at inference: latency, parameters and size, and whether a student keeps the paper's claims.

    python scripts/benchmark_inference.py
    python scripts/benchmark_inference.py --model teacher=teacher.pt --model student=student.pt --batch 1 --length 128
    python scripts/benchmark_inference.py --outputs logits --model student=student.pt --model onnx=student/model.onnx

Without --model they are a teacher and a student of random weights, by PyTorch and, exported, by ONNX Runtime.
Models take turns. Prints one JSON object a line for each model, type, batch and length; then the claims, for each model
against the first in the same runtime and type. An ONNX file computes what it was exported with: compare it with
--outputs of the same kind.
"""

import sys

from fairseq_distil.benchmarks.inference_command import main

if __name__ == "__main__":
    sys.exit(main(description=__doc__))
