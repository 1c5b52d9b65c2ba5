"""Runs Python scripts and fairseq's commands as a fresh interpreter would, without the seconds that imports take.

Each line on stdin is a JSON object. With ``program`` (a script's path, or a command's name), ``arguments``, ``folder``
to run it in, ``stdout`` and ``stderr`` (paths), a child is forked for it, and its process id is the answer on stdout.
With ``wait`` (a process id), the answer comes when that child has ended: its exit status.
"""

import gc
import json
import os
import runpy
import sys
from importlib import import_module

answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # fairseq logs to stdout as it is imported
COMMANDS = {
    "fairseq-train": import_module("fairseq_cli.train"),
    "fairseq-hydra-train": import_module("fairseq_cli.hydra_train"),
    "fairseq-validate": import_module("fairseq_cli.validate"),
}
# Only what starts no threads, which a fork does not have: onnxruntime does.
for name in ("fairseq_distil", "onnx", "tensorboard", "matplotlib.pyplot"):
    import_module(name)
gc.freeze()  # a child that ends need not look through all that was imported


def become_program(request: dict) -> None:
    """In the child: run the program. What it raises is left to the interpreter, as anywhere."""
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for path, stream in ((request["stdout"], sys.stdout), (request["stderr"], sys.stderr)):
        with open(path, "wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(request["folder"])
    program = request["program"]
    sys.argv = [program, *request["arguments"]]
    if program in COMMANDS:
        COMMANDS[program].cli_main()
    else:
        sys.path[0] = os.path.dirname(program)
        runpy.run_path(program, run_name="__main__")


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                become_program(request)
                return
        print(answer, file=answers, flush=True)


serve()
