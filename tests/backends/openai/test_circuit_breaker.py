"""The circuit breaker, by its own clock."""

from corea.backends.openai.circuit_breaker import Breaker, BreakerState


class Clock:
    """Seconds that pass only when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def broken(clock: Clock) -> Breaker:
    breaker = Breaker(3, 10.0, clock)
    for _ in range(3):
        assert breaker.admit() == 0
        breaker.failed()
    return breaker


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker(3, 10.0, Clock())
    for _ in range(5):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED
    breaker = broken(Clock())
    assert (breaker.state, breaker.admit(), breaker.failures) == (BreakerState.OPEN, 10.0, 3)


def test_after_the_cool_down_one_probe_may_go() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now += 10
    assert breaker.state is BreakerState.HALF_OPEN
    assert [breaker.admit(), breaker.admit()] == [0.0, 10.0]


def test_a_good_probe_closes_it_and_a_bad_one_opens_it_again() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now += 10
    breaker.admit()
    breaker.failed()
    assert (breaker.state, breaker.admit()) == (BreakerState.OPEN, 10.0)
    clock.now += 10
    breaker.admit()
    breaker.succeeded()
    assert (breaker.state, breaker.admit()) == (BreakerState.CLOSED, 0.0)


def test_a_cancelled_probe_makes_room_for_another() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now += 10
    assert breaker.admit() == 0
    breaker.abandoned()
    assert breaker.admit() == 0


def test_late_failures_of_calls_sent_before_do_not_lengthen_the_cool_down() -> None:
    clock = Clock()
    breaker = broken(clock)
    clock.now += 9
    breaker.failed()
    clock.now += 1
    assert breaker.state is BreakerState.HALF_OPEN


def test_each_change_is_told_once() -> None:
    now, states = [0.0], list[BreakerState]()
    breaker = Breaker(2, 10, lambda: now[0], on_change=states.append)
    breaker.failed()
    assert states == []
    breaker.failed()
    breaker.failed()  # was under way when it opened
    assert states == [BreakerState.OPEN]
    now[0] = 10.0
    assert (breaker.admit(), breaker.admit()) == (0.0, 10.0)
    breaker.succeeded()
    breaker.succeeded()
    assert states == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]
