"""Run one training of the quickstart: all that it logs goes to a file, and one line on the screen says how far it is.

    python examples/quickstart/run_training.py --name teacher --updates 3500 --log teacher.log COMMAND …

COMMAND is a fairseq-hydra-train with common.log_format=json. Its warnings and errors stay on the screen.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, NoReturn, TextIO

RECORD = re.compile(r"\[[^]]*\]\[(?P<logger>[^]]*)\]\[(?P<level>[A-Z]+)\] - (?P<message>.*)")
"""A line of Hydra's logging."""
NOISE = re.compile(r"(INFO|DEBUG):[\w.]+:")
"""On stderr, before Hydra sets up logging: hints and traces of libraries. Warnings and errors are kept."""
BAR_WIDTH = 20
PLAIN_LINES = 10
"""Lines for a whole run where the output is no terminal."""


def statistics_of(line: str, logger: str) -> dict[str, str] | None:
    """The values that fairseq logged in ``line``, if it is one of ``logger``: ``train_inner`` or ``valid``."""
    record = RECORD.match(line)
    if record is None or record["logger"] != logger:
        return None
    try:
        values = json.loads(record["message"])
    except json.JSONDecodeError:
        return None
    return values if isinstance(values, dict) else None


def is_warning(line: str) -> bool:
    """Whether a line of the log is for the user's eyes."""
    record = RECORD.match(line)
    return record is not None and record["level"] in ("WARNING", "ERROR", "CRITICAL")


def duration(seconds: float) -> str:
    """Such as ``45 s``, ``12 min`` or ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Display:
    """How far a run is: a line that is overwritten on a terminal, elsewhere about ten lines in all.

    Args:
        total: updates of the whole run
        stream: where to write
    """

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total = total
        self._stream = stream
        self._on_terminal = stream.isatty()
        self._lock = threading.Lock()
        self._first: tuple[int, float] | None = None
        self._line = ""
        self._tenths = -1
        if self._on_terminal:
            self._overwrite("starting")

    def update(self, done: int, loss: str, now: float) -> None:
        """Show that ``done`` updates have been made at the time ``now``, in seconds."""
        if self._first is None:
            self._first = done, now
        first, start = self._first
        line = f"update {done:,} of {self._total:,}, loss {loss}"
        if first < done < self._total:
            line += f", {duration((now - start) / (done - first) * (self._total - done))} left"
        if self._on_terminal:
            filled = min(BAR_WIDTH, BAR_WIDTH * done // self._total)
            self._overwrite(f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {line}")
        elif (tenths := PLAIN_LINES * done // self._total) > self._tenths:
            self._tenths = tenths
            self.say(line)

    def say(self, message: str) -> None:
        """Write a line of its own."""
        with self._lock:
            erase = "\r\033[K" if self._on_terminal else ""
            self._stream.write(f"{erase}{message}\n{self._line}")
            self._stream.flush()

    def close(self) -> None:
        """Leave no unfinished line."""
        if self._on_terminal:
            self._overwrite("")

    def _overwrite(self, line: str) -> None:
        with self._lock:
            self._line = line
            self._stream.write(f"\r\033[K{line}")
            self._stream.flush()


def forward_errors(stream: IO[str], log: IO[str], display: Display) -> None:
    """Show what is written to a stream, but for noise, and log all of it."""
    for line in stream:
        log.write(line)
        if not NOISE.match(line):
            display.say(line.rstrip("\n"))


def summary(name: str, validation: dict[str, str] | None) -> str:
    """The last line: what the model does on held-out text."""
    if validation is None:
        return f"{name}: done"
    perplexity = validation.get("valid_mlm_ppl", validation.get("valid_ppl"))
    accuracy = validation.get("valid_mlm_accuracy")
    found = f"loss {validation.get('valid_loss')}" + (f", masked-LM perplexity {perplexity}" if perplexity else "")
    return f"{name}: done; on held-out text {found}" + (f", accuracy {float(accuracy):.1%}" if accuracy else "")


def run(name: str, updates: int, log_path: Path, command: list[str]) -> int:
    """Run the command and show its progress; returns its exit status."""
    display = Display(updates, sys.stderr)
    validation = None
    with open(log_path, "a", encoding="utf-8", buffering=1) as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        errors = threading.Thread(target=forward_errors, args=(process.stderr, log, display))
        errors.start()
        try:
            for line in process.stdout:
                log.write(line)
                if is_warning(line):
                    display.say(line.rstrip("\n"))
                if training := statistics_of(line, "train_inner"):
                    display.update(int(training["num_updates"]), training["loss"], time.monotonic())
                validation = statistics_of(line, "valid") or validation
            status = process.wait()
        finally:
            process.terminate()
            process.wait()
            errors.join()
            display.close()
    if status == 0:
        print(summary(name, validation))
    return status if status >= 0 else 128 - status


def end_on_signal(number: int, _: object) -> NoReturn:
    """As an exception, so that the training is ended on the way out."""
    sys.exit(128 + number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="of the run, for its last line")
    parser.add_argument("--updates", type=int, required=True, help="that the run makes in all")
    parser.add_argument("--log", type=Path, required=True, help="file that the log is appended to")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end_on_signal)
    try:
        sys.exit(run(arguments.name, arguments.updates, arguments.log, arguments.command))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
