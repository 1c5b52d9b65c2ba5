"""Ratios on fixed numbers, and commands that take turns."""

import json
import sys
import time
from pathlib import Path

import pytest

from fairseq_distil.benchmarks.pairs import alternate, require_same_work, run_for_record, spread, summary
from fairseq_distil.errors import UserError


def command(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def printing(record: dict, log: Path | None = None) -> list[str]:
    """A command that prints something, then a record, and adds the record's name to a log."""
    note = f"open({str(log)!r}, 'a').write({record.get('name', '')!r}); " if log else ""
    return command(f"{note}print('warming up'); print({json.dumps(record)!r})")


def is_running(pid: int) -> bool:
    """Whether there is such a process, other than one that has ended and is not yet waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_summary() -> None:
    records = [
        (
            {"seconds_per_step": 2.0, "peak_mib": 100, "vocab": 9, "batch": 1},
            {"seconds_per_step": 3.0, "peak_mib": 400, "batch": 1},
        ),
        ({"seconds_per_step": 1.0, "peak_mib": 100}, {"seconds_per_step": 4.0, "peak_mib": 200}),
        ({"seconds_per_step": 2.0, "peak_mib": 120}, {"seconds_per_step": 4.0, "peak_mib": 200}),
    ]
    found = summary(records)
    assert found["pairs"] == 3
    assert found["not_compared"] == ["vocab"]
    assert found["other_time_over_ours"] == {"median": 2.0, "min": 1.5, "max": 4.0}
    assert found["our_memory_over_other"] == {"median": 0.5, "min": 0.25, "max": 0.6}
    assert found["seconds_per_step"] == {"median": 2.0, "min": 1.0, "max": 2.0}
    assert found["other_peak_mib"] == {"median": 200, "min": 200, "max": 400}


def test_the_median_of_an_even_number_lies_between() -> None:
    assert spread([1.0, 2.0, 4.0, 8.0]) == {"median": 3.0, "min": 1.0, "max": 8.0}


def test_who_goes_first_changes(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ours = {"name": "o", "seconds_per_step": 1.0, "peak_mib": 10, "batch": 4, "layers": 2}
    other = {"name": "p", "seconds_per_step": 2.0, "peak_mib": 20, "batch": 4}
    assert list(alternate(printing(ours, log), printing(other, log), 3)) == [(ours, other)] * 3
    assert log.read_text() == "oppoop"


def test_an_absent_command_is_found_before_the_first_turn(tmp_path: Path) -> None:
    log = tmp_path / "log"
    ours = {"name": "o", "seconds_per_step": 1.0, "peak_mib": 10}
    with pytest.raises(UserError, match="^absent-command --bf16: no command absent-command is found$"):
        next(alternate(printing(ours, log), ["absent-command", "--bf16"], 1))
    assert not log.exists()


def test_other_work_is_refused() -> None:
    record = {"seconds_per_step": 1.0, "peak_mib": 10, "batch": 4}
    with pytest.raises(UserError, match="not the same work: batch is 4 here, but 8 in the other command"):
        next(alternate(printing(record), printing({**record, "batch": 8}), 1))


def test_padding_is_not_compared_with_what_tells_of_none() -> None:
    require_same_work({"padding": 0.0}, {})
    require_same_work({"padding": 0.4}, {"padding": 0.4})
    with pytest.raises(UserError, match="not the same work: padding is 0.4 here, and the other command tells of none"):
        require_same_work({"padding": 0.4}, {})


def test_the_first_gpu_has_two_names() -> None:
    first, second = ({"device": device} for device in ("cuda", "cuda:1"))
    require_same_work({"device": "cuda:0"}, first)
    require_same_work(first, {"device": "cuda:0"})
    with pytest.raises(UserError, match="not the same work: device is 'cuda' here, but 'cuda:1' in the other command"):
        require_same_work(first, second)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys; sys.exit('error: no such thing')", "failed with exit status 1: no such thing$"),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL, as the system does when memory runs out$"),
        ("import os; os.kill(os.getpid(), 15)", "ended by SIGTERM$"),
        ("import os; os.kill(os.getpid(), 35)", "ended by signal 35$"),
        ("import sys; sys.stderr.buffer.write(bytes([255])); sys.exit(1)", "failed with exit status 1: \ufffd$"),
        ("import sys; sys.stdout.buffer.write(bytes([255, 10]))", "its last line should be a JSON object"),
        ("print('[' * 100_000)", "its last line should be a JSON object"),
        ('print(\'{"seconds_per_step": 1\' + "0" * 400 + \', "peak_mib": 1}\')', "its last line should be a JSON"),
        ("raise SystemExit(3)", "failed with exit status 3: no message$"),
        (
            "print('done')",
            "its last line should be a JSON object of finite numbers, seconds_per_step and peak_mib above 0",
        ),
        ("print('[1]')", "its last line should be a JSON object"),
        ("print('{}')", "its last line should be a JSON object"),
        ("pass", "its last line should be a JSON object"),
        ('print(\'{"seconds_per_step": NaN, "peak_mib": 1}\')', "above 0 among them$"),
        ('print(\'{"seconds_per_step": 1, "peak_mib": 1, "last_loss": NaN}\')', "a JSON object of finite numbers"),
        ('print(\'{"seconds_per_step": 1, "peak_mib": 1, "last_loss": 1e999}\')', "a JSON object of finite numbers"),
        ('print(\'{"seconds_per_step": 1, "peak_mib": 0}\')', "above 0 among them$"),
        ('print(\'{"seconds_per_step": true, "peak_mib": 1}\')', "above 0 among them$"),
    ],
)
def test_commands_without_a_record(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        run_for_record(command(text))


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="^absent-command --bf16: "):
        run_for_record(["absent-command", "--bf16"])


def test_a_command_that_hangs_ends_with_what_it_has_started(tmp_path: Path) -> None:
    """The shell waits for another process, which would hold its output open."""
    pid = tmp_path / "pid"
    hanging = ["sh", "-c", f"sleep 60 & echo $! > {pid}; wait"]
    with pytest.raises(UserError, match=r"^sh -c '.*': killed, not having ended in 0.5 seconds; see --peer-timeout$"):
        run_for_record(hanging, seconds=0.5)
    end = time.monotonic() + 20  # the system ends what it has been told to kill, when it comes to it
    while is_running(int(pid.read_text())):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_only_the_other_command_has_a_time(tmp_path: Path) -> None:
    record = {"name": "o", "seconds_per_step": 1.0, "peak_mib": 10}
    ours = printing(record, log := tmp_path / "log")
    with pytest.raises(UserError, match="^sleep 60: killed, not having ended in 0.1 seconds"):
        next(alternate(ours, ["sleep", "60"], 1, seconds_of_other=0.1))
    assert log.read_text() == "o"
