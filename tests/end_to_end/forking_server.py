"""Runs fairseq's commands as a fresh interpreter would, without the seconds that importing fairseq takes.

Each line on stdin is a JSON object: ``arguments`` (the command's name first), ``stdout`` and ``stderr`` (paths). A
child is forked for it; the answer on stdout is a line with its process id, then one with its exit status.
"""

import json
import os
import sys
from importlib import import_module

answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # fairseq logs to stdout as it is imported
MODULES = {
    "fairseq-train": import_module("fairseq_cli.train"),
    "fairseq-hydra-train": import_module("fairseq_cli.hydra_train"),
    "fairseq-validate": import_module("fairseq_cli.validate"),
}


def become_command(request: dict) -> None:
    """In the child: run the command. What it raises is left to the interpreter, as anywhere."""
    for path, stream in ((request["stdout"], sys.stdout), (request["stderr"], sys.stderr)):
        with open(path, "ab") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.argv = request["arguments"]
    MODULES[sys.argv[0]].cli_main()


for line in sys.stdin:
    process_id = os.fork()
    if process_id == 0:
        become_command(json.loads(line))
        break
    print(process_id, file=answers, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1]), file=answers, flush=True)
