"""What scripts/benchmark_inference.py does with its options."""

import argparse
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fairseq_distil.errors import UserError
from fairseq_distil.models import DistilEncoderModel

from .device import default_device, require_device, use_device
from .exit_status import quiet_exit_status
from .inference import claims, markdown, measure_latencies
from .inference_models import Runner, encoder_runners, load_runners, onnx_files, random_encoder
from .printed_record import print_record
from .sizes import require_size
from .training_case import SPECIAL_SYMBOLS

DEFAULTS = {"batch": [1, 32], "length": [32, 128, 512], "dtype": ["float32", "bfloat16"]}


def named_path(text: str) -> tuple[str, Path]:
    """Read ``NAME=PATH``."""
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, Path(path)


def main(arguments: Sequence[str] | None = None, description: str | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parse_options(arguments, description)
    return quiet_exit_status(lambda: run(options))


def parse_options(arguments: Sequence[str] | None, description: str | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=named_path, action="append", metavar="NAME=PATH",
        help="checkpoint, ONNX file, or directory of ONNX files or of transformers; the first is what the others are "
        "compared with (default: a teacher and a student of random weights, also as ONNX files in float32 and int8)",
    )  # fmt: skip
    parser.add_argument("--layers", type=int, default=12, help="of the random teacher; the student has half")
    parser.add_argument("--width", type=int, default=768, help="of random weights (default: 768)")
    parser.add_argument("--heads", type=int, default=12, help="of random weights (default: 12)")
    parser.add_argument("--vocab", type=int, default=30522, help="of random weights (default: 30522)")
    parser.add_argument("--batch", type=int, action="append", help="sequences; repeat (default: 1 and 32)")
    parser.add_argument("--length", type=int, action="append", help="tokens; repeat (default: 32, 128 and 512)")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], action="append", help="for PyTorch; repeat (default: both)"
    )
    parser.add_argument(
        "--outputs", choices=["features", "logits"], default="features",
        help="what PyTorch and exported random weights compute: the last hidden states, or logits at every position "
        "(default: features)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each at most (default: 30)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for each shape, about (default: 30)")
    parser.add_argument("--device", default=default_device(), help="for PyTorch (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print a table too")
    options = parser.parse_args(arguments)
    for name, default in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, default)
    return options


def run(options: argparse.Namespace) -> None:
    """Measure what the options ask for, and print it.

    Raises:
        UserError: a model cannot be loaded, or an option is out of its range
    """
    _require_valid(options)
    use_device(options.device)
    runners, records = _runners(options), []
    for length in options.length:
        fitting = [runner for runner in runners if runner.allows(length)]
        for runner in (runner for runner in runners if runner not in fitting):
            print(f"{runner.name}: left out at length {length}, it has fewer positions", file=sys.stderr)
        for batch in options.batch:
            shape = (batch, length, options.rounds, options.seconds, options.device)
            for record in measure_latencies(fitting, *shape):
                records.append(record)
                print_record(record)
    if not records:
        raise UserError("nothing was measured, for no model has as many positions as --length asks for")
    for claim in claims(records):
        print_record(claim)
    if options.markdown:
        print(markdown(records))


def _runners(options: argparse.Namespace) -> list[Runner]:
    how = options.dtype, options.outputs, options.device
    if options.model:
        return [runner for name, path in options.model for runner in load_runners(name, path, *how)]
    sizes = options.width, options.heads, options.vocab
    layers = {"teacher": options.layers, "student": options.layers // 2}
    models = {name: random_encoder(count, *sizes) for name, count in layers.items()}
    runners = [runner for name, model in models.items() for runner in encoder_runners(name, model, *how)]
    return runners + _graph_runners(models, options)


def _graph_runners(models: Mapping[str, DistilEncoderModel], options: argparse.Namespace) -> list[Runner]:
    """Of ONNX Runtime, or none and a line that says why."""
    if options.device != "cpu":
        print("left out: ONNX files, which run on the CPU here; measure them with --device cpu", file=sys.stderr)
        return []
    try:
        from .inference_export import exported_runners  # here, for ONNX is not installed everywhere
    except ImportError as error:
        print(f"left out: ONNX files, for {error.name} is missing; pip install onnx onnxruntime", file=sys.stderr)
        return []
    return [runner for name, model in models.items() for runner in exported_runners(name, model, options.outputs)]


def _require_valid(options: argparse.Namespace) -> None:
    names = [name for name, _ in options.model or ()]
    if len(set(names)) < len(names):
        raise UserError(f"--model names must differ, found {', '.join(names)}")
    least = {"layers": 2, "batch": 1, "length": 1, "rounds": 1, "vocab": SPECIAL_SYMBOLS + 1}
    for name, lowest in least.items():
        given = getattr(options, name)
        for value in given if isinstance(given, list) else [given]:
            require_size(name, value, lowest)
    if not (math.isfinite(options.seconds) and options.seconds >= 0):
        raise UserError(f"--seconds is {options.seconds}, but must be a number of seconds, 0 or more")
    require_device(options.device)
    if options.device.startswith("cuda"):
        require_no_onnx(path for _, path in options.model or ())


def require_no_onnx(paths: Iterable[Path]) -> None:
    """Raise a UserError if there are ONNX files, which are not run on GPUs."""
    for path in paths:
        if onnx_files(path):
            raise UserError(f"{path}: ONNX files run on the CPU here; measure them with --device cpu")
