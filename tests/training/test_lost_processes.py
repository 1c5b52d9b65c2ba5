import pytest

from fairseq_distil.training.lost_processes import explain_loss


@pytest.mark.parametrize(
    "error",
    [RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), ConnectionResetError("by peer")],
)
def test_a_killed_data_worker_is_told_with_what_to_do(error: Exception) -> None:
    assert "use fewer --num-workers (dataset.num_workers); started again" in explain_loss(error)


def test_other_errors_are_not_taken_for_a_loss() -> None:
    """Without other workers, a message of gloo's is not of one."""
    for error in (RuntimeError("gloo: Connection closed by peer"), ValueError("DataLoader worker"), KeyError("best")):
        assert explain_loss(error) is None
