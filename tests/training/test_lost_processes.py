import socket
from multiprocessing import resource_sharer
from pathlib import Path

import pytest
from torch._utils import ExceptionWrapper

from fairseq_distil.training.lost_processes import explain_loss

WHAT_TO_DO = "use fewer --num-workers (dataset.num_workers); started again"


def test_a_killed_data_worker_is_told_with_what_to_do() -> None:
    assert WHAT_TO_DO in explain_loss(RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"))


def test_a_data_worker_that_is_killed_before_its_batch_is_fetched(tmp_path: Path) -> None:
    """Its socket is still there, but no one listens; torch's thread that pins memory tells that by a traceback."""
    with socket.socket(socket.AF_UNIX) as worker:
        worker.bind(str(tmp_path / "socket"))
        with pytest.raises(ConnectionRefusedError) as raised:
            resource_sharer._resource_sharer.get_connection((str(tmp_path / "socket"), 1))
    assert WHAT_TO_DO in explain_loss(raised.value)
    pinning = ExceptionWrapper((raised.type, raised.value, raised.tb), "in pin memory thread for device 0")
    with pytest.raises(ConnectionRefusedError) as raised:
        pinning.reraise()
    assert WHAT_TO_DO in explain_loss(raised.value)


def test_other_errors_are_not_taken_for_a_loss() -> None:
    """Without other workers, a message of gloo's is not of one."""
    texts = (RuntimeError("gloo: Connection closed by peer"), ValueError("DataLoader worker"), KeyError("best"))
    for error in (*texts, ConnectionResetError("by peer"), ConnectionRefusedError("by a disk of the network")):
        assert explain_loss(error) is None
