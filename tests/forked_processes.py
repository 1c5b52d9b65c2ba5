"""Starting programs through ``forking_server.py``."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIGNALLED = Path(__file__).with_name("signalled.py")
"""Script that runs another program, to which it sends a signal at a chosen moment."""
# One thread: sums in another order would not give the same last digit.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


class ForkedProcess:
    """A program at work. Its output goes to files."""

    def __init__(self, server: "ForkingServer", command: list[str], folder: Path) -> None:
        self.command = command
        self._server = server
        self._output = tempfile.TemporaryDirectory(prefix="forked-")
        program, *arguments = command
        streams = {name: str(Path(self._output.name, name)) for name in ("stdout", "stderr")}
        self.id = server.ask(program=program, arguments=arguments, folder=str(folder), **streams)

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end."""
        status = self._server.ask(wait=self.id)
        with self._output as folder:
            stdout, stderr = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(self.command, status, stdout, stderr)


class ForkingServer:
    """Runs scripts and fairseq's commands in forks of one process that has imported what they import."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("forking_server.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([sys.executable, script], text=True, env=ENVIRONMENT, cwd=ROOT, **pipes)

    def ask(self, **request: object) -> int:
        """The server's answer to a request."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def start(self, program: str | Path, *arguments: object, folder: Path = ROOT) -> ForkedProcess:
        """Start a Python script, or one of fairseq's commands, in a folder."""
        return ForkedProcess(self, [str(program), *map(str, arguments)], folder)

    def run(self, program: str | Path, *arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run it until it ends."""
        return self.start(program, *arguments, folder=folder).wait()

    def close(self) -> None:
        with self._process:
            self._process.stdin.close()
