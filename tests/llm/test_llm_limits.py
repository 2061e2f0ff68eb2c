"""Slots, rates, backoff: arithmetic on a clock that is passed in, and slots on a real loop."""

import asyncio
import random
from datetime import UTC, datetime

import pytest

from medeval.llm.errors import Kind, TransportError
from medeval.llm.limiter import Adaptive, Bucket, Limiter, Rates
from medeval.llm.retry import Limits, retry_after, wait_before


def clean_round(adaptive, now=0.0):
    adaptive.sent(adaptive.limit)
    for _ in range(adaptive.limit):
        adaptive.succeeded(now)


def test_concurrency_doubles_each_clean_round_up_to_its_ceiling():
    adaptive = Adaptive(Limits(connections=30))
    seen = [adaptive.limit]
    for _ in range(4):
        clean_round(adaptive)
        seen.append(adaptive.limit)
    assert seen == [8, 16, 30, 30, 30]


def test_rounds_that_do_not_fill_the_slots_raise_nothing():
    adaptive = Adaptive(Limits(connections=30))
    for _ in range(100):
        adaptive.sent(2)
        adaptive.succeeded(0.0)
    assert adaptive.limit == 8


def test_a_burst_of_429s_is_one_cut_and_growth_is_slow_after_it():
    adaptive = Adaptive(Limits(connections=100, start=20))
    for _ in range(20):
        adaptive.limited(10.0, None)
    assert adaptive.limit == 14
    clean_round(adaptive, 11.0)  # cooling down
    assert adaptive.limit == 14
    clean_round(adaptive, 20.0)
    assert adaptive.limit == 15
    assert [reason for _, _, reason in adaptive.history] == ["429", "growth"]


def test_cuts_never_go_below_one():
    adaptive = Adaptive(Limits(connections=4))
    for step in range(50):
        adaptive.limited(100.0 * step, None)
    assert adaptive.limit == 1


@pytest.mark.parametrize("per_minute", [1, 7, 60, 600])
def test_no_span_of_a_minute_holds_more_than_the_rate(per_minute):
    bucket, now, sent = Bucket(per_minute), 0.0, []
    while now < 200:
        wait = bucket.wait(1, now)
        now += wait + 1e-9
        bucket.take(1, now)
        sent.append(now)
    for begin in sent:
        assert sum(begin <= at < begin + 60 for at in sent) <= per_minute + 1e-6


def test_an_amount_above_the_burst_passes_and_leaves_a_debt():
    bucket = Bucket(6000)
    assert bucket.wait(5000, 0.0) == 0.0
    bucket.take(5000, 0.0)
    assert bucket.wait(1, 0.0) == pytest.approx((5000 - 100 + 1) / bucket.rate)


def test_tokens_that_were_not_used_are_given_back():
    bucket = Bucket(6000)
    bucket.take(100, 0.0)
    bucket.take(-60, 0.0)
    assert bucket.wait(60, 0.0) == 0.0


def run_limiter(job, **limits):
    async def bounded():
        async with asyncio.timeout(10):
            return await job(Limiter(Rates(Limits(**limits))))

    return asyncio.run(bounded())


def test_the_judge_is_served_before_the_doctor():
    async def job(limiter):
        await limiter.acquire(2, 0)
        order = []

        async def one(name, priority):
            await limiter.acquire(priority, 0)
            order.append(name)
            limiter.release()

        tasks = [
            asyncio.create_task(one(*who))
            for who in (("doctor 1", 2), ("patient", 1), ("doctor 2", 2), ("judge", 0))
        ]
        await asyncio.sleep(0)
        assert limiter.waiting == 4
        limiter.release()
        await asyncio.gather(*tasks)
        return order

    assert run_limiter(job, connections=1) == ["judge", "patient", "doctor 1", "doctor 2"]


def test_a_cancelled_waiter_keeps_no_slot():
    async def job(limiter):
        await limiter.acquire(0, 0)
        waiting = [asyncio.create_task(limiter.acquire(0, 0)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limiter.release()  # granted to the second in this very turn
        waiting[1].cancel()
        await asyncio.wait(waiting)
        assert not waiting[2].cancelled()
        limiter.release()
        return limiter.in_flight, limiter.waiting

    assert run_limiter(job, connections=1) == (0, 0)


def test_a_429_with_retry_after_pauses_everyone():
    async def job(limiter):
        loop = asyncio.get_running_loop()
        limiter.limited(0.1)
        begin = loop.time()
        await limiter.acquire(0, 0)
        return loop.time() - begin

    assert 0.09 < run_limiter(job, connections=4) < 2.0


def test_requests_a_minute_space_the_calls():
    async def job(limiter):
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for _ in range(12):
            await limiter.acquire(0, 0)
            limiter.release()
        return loop.time() - begin

    assert run_limiter(job, connections=4, rpm=600) > 0.15  # a burst of 10, then 2 more at 9.8 a second


def error(kind, after=None):
    return TransportError(kind, "x", retry_after=after)


@pytest.mark.parametrize(
    "kind", [Kind.RATE_LIMITED, Kind.SERVER, Kind.TIMEOUT, Kind.CONNECTION, Kind.MALFORMED]
)
def test_passing_failures_are_tried_again_with_growing_jittered_waits(kind):
    waits = [wait_before(error(kind), tries, Limits(), draw=lambda: 1.0) for tries in range(1, 7)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, None]
    drawn = {wait_before(error(kind), 3, Limits(), draw=random.Random(i).random) for i in range(20)}
    assert len(drawn) == 20
    assert max(drawn) <= 2.0


@pytest.mark.parametrize(
    "kind",
    [k for k in Kind if k in (Kind.AUTH, Kind.QUOTA, Kind.NOT_FOUND, Kind.BAD_REQUEST, Kind.CONTEXT_LENGTH)],
)
def test_lasting_failures_are_not_tried_again(kind):
    assert wait_before(error(kind, 0.0), 1, Limits()) is None


def test_the_servers_wait_wins_unless_it_is_too_long():
    assert wait_before(error(Kind.RATE_LIMITED, 7.0), 1, Limits()) == 7.0
    assert wait_before(error(Kind.RATE_LIMITED, 900.0), 1, Limits()) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "300", "retry-after": "9"}, 0.3),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT"}, 30.0),
        ({"retry-after": "Wed, 31 Dec 2025 00:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "later"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert retry_after(headers, datetime(2026, 1, 1, tzinfo=UTC)) == seconds
