from fairseq.logging import metrics

from fairseq_distil.training.surviving_loop import _forget_finished_aggregators


def test_finished_aggregators_are_forgotten_and_others_go_on() -> None:
    with metrics.aggregate("goes on") as aggregator:
        for _ in range(7):
            with metrics.aggregate():
                metrics.log_scalar("x", 3)
        _forget_finished_aggregators()
        counts = metrics._active_aggregators_cnt
        assert counts["goes on"] == 1 and all(count > 0 for count in counts.values())
        metrics.log_scalar("x", 5)
    assert aggregator["x"].avg == 26 / 8
