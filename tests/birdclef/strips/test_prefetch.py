"""The next batch is gathered ahead, and what comes is always what was asked for."""

import threading

from birdclef.strips.prefetch import Batch, Prefetcher


def batch(step: int) -> Batch:
    return Batch(0, step, (step, step + 1))


def test_next_batch_is_gathered_before_it_is_asked_for() -> None:
    gathered: dict[int, str] = {}
    ahead = threading.Event()

    def gather(wanted: Batch) -> int:
        gathered[wanted.step] = threading.current_thread().name
        if wanted.step == 1:
            ahead.set()
        return wanted.step

    prefetcher = Prefetcher(gather, lambda done: batch(done.step + 1))
    assert prefetcher.get(batch(0)) == 0
    assert ahead.wait(10)  # nobody has asked for it
    assert [prefetcher.get(batch(step)) for step in (1, 2, 3)] == [1, 2, 3]
    own = threading.current_thread().name
    assert gathered[0] == own
    assert own not in {gathered[step] for step in (1, 2, 3)}


def test_another_batch_than_the_expected_one_is_gathered_anew() -> None:
    prefetcher = Prefetcher(lambda wanted: wanted, lambda done: batch(done.step + 1))
    other = Batch(0, 1, (7, 8))
    assert [prefetcher.get(wanted) for wanted in (batch(0), batch(5), batch(0), other)] == [
        batch(0),
        batch(5),
        batch(0),
        other,
    ]
