"""fairseq's ``reduce_lr_on_plateau`` goes on counting where it was."""

from collections.abc import Callable
from typing import Any

import pytest
from fairseq.dataclass.initialize import add_defaults
from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule

from fairseq_distil.errors import UserError

from ..conftest import TINY


@pytest.fixture
def make_schedule(setup_run: Callable) -> Callable[[], ReduceLROnPlateauLRSchedule]:
    """Makes the schedule as fairseq's trainer does, which reduces the rate after the third bad epoch in turn."""
    run = setup_run({"_name": "distil_encoder", "encoder_layers": 1, **TINY})
    run.cfg.lr_scheduler = {"_name": "reduce_lr_on_plateau", "lr_patience": 2}
    add_defaults(run.cfg)
    return lambda: run.trainer().lr_scheduler


def test_bad_epochs_are_not_counted_anew(make_schedule: Callable[[], ReduceLROnPlateauLRSchedule]) -> None:
    rates = []
    schedule = make_schedule()
    for epoch, loss in enumerate((5.0, 6.0, 6.0, 6.0), start=1):
        rates.append(schedule.step(epoch, loss))
        state, schedule = schedule.state_dict(), make_schedule()
        schedule.load_state_dict(state)
    assert rates == [rates[0]] * 3 + [pytest.approx(rates[0] / 10)]


def test_fairseqs_own_state_has_no_count(make_schedule: Callable[[], ReduceLROnPlateauLRSchedule]) -> None:
    schedule = make_schedule()
    schedule.load_state_dict({"best": 2.5, "last_epoch": 3})
    assert schedule.state_dict() == {"best": 2.5, "last_epoch": 3, "num_bad_epochs": 0}


@pytest.mark.parametrize("count", [-1, 2.5, None, float("nan")])
def test_what_is_no_count_is_refused(count: Any, make_schedule: Callable[[], ReduceLROnPlateauLRSchedule]) -> None:
    with pytest.raises(UserError, match="its num_bad_epochs is not a whole number from 0"):
        make_schedule().load_state_dict({"best": 2.5, "num_bad_epochs": count})
