"""A program that gets a signal at a moment: ``SIGNAL KIND COUNT``, then the program, a script or fairseq-train.

Kinds of moments: ``call``, of any function, Python's or C's, in training or in all of a script; ``byte``, written to
checkpoints; ``train_step`` and ``valid_step``. They are the same ones in every run, wherever it is fast or slow.
SIGTERM goes to data workers too, as schedulers send it; ``WORKERS`` kills these alone.
"""

import builtins
import io
import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from fairseq.trainer import Trainer
from fairseq_cli import train

_, signal_name, kind, count, *program = sys.argv
seen = {"call": 0, "byte": 0, "train_step": 0, "valid_step": 0}


def send_signal() -> None:
    sys.setprofile(None)
    for worker in multiprocessing.active_children() if signal_name != "SIGKILL" else []:
        worker.terminate() if signal_name == "SIGTERM" else worker.kill()
    if signal_name != "WORKERS":
        os.kill(os.getpid(), signal.Signals[signal_name])


def is_the_moment(seen_kind: str, times: int = 1) -> bool:
    seen[seen_kind] += times
    return seen_kind == kind and 0 <= seen[kind] - int(count) < times


def count_call(frame: FrameType, event: str, argument: object) -> None:
    if event in ("call", "c_call") and is_the_moment("call"):
        send_signal()


class CountingFile(io.BufferedWriter):
    """A checkpoint in the making."""

    def write(self, content: Any) -> int:
        content = memoryview(content).cast("B")
        if is_the_moment("byte", len(content)):
            super().write(content[: int(count) - seen["byte"]])
            self.flush()
            send_signal()
        return super().write(content)


def open_counting(path: Any, mode: str = "r", *settings: Any, **more: Any) -> Any:
    if mode == "xb" and ".pt." in str(path):  # as it is called until it is whole
        return CountingFile(io.FileIO(path, mode))
    return open_as_ever(path, mode, *settings, **more)


def begin_epoch(*settings: Any, **more: Any) -> Any:
    if kind == "call":
        sys.setprofile(count_call)
    return begin_epoch_as_ever(*settings, **more)


def signalling(name: str) -> Callable[..., Any]:
    as_ever = getattr(Trainer, name)

    def step(*settings: Any, **more: Any) -> Any:
        if is_the_moment(name):
            send_signal()
        return as_ever(*settings, **more)

    return step


sys.argv = program
if program[0] == "fairseq-train":
    open_as_ever, builtins.open = builtins.open, open_counting
    begin_epoch_as_ever, Trainer.begin_epoch = Trainer.begin_epoch, begin_epoch
    Trainer.train_step, Trainer.valid_step = signalling("train_step"), signalling("valid_step")
    train.cli_main()
else:
    sys.setprofile(count_call)
    try:
        runpy.run_path(program[0], run_name="__main__")
    finally:
        print(f"calls: {seen['call']}", file=sys.stderr)
