"""What a daemon looks up for its metrics takes little of MySQL's time, also where much waits."""

import threading
import time

import pytest

from outboxd.daemon.database import Database
from outboxd.daemon.sampler import Sampled
from outboxd.mysql.connection import Row
from outboxd.mysql.procedures import RelayProcedures
from tests.kit.account import Account
from tests.kit.command import settings


class Slow(RelayProcedures):
    """Counts how often it is asked what waits, and takes so long to say it."""

    seconds = 0.0
    times = 0

    def lag(self) -> Row:
        """As ever, later."""
        self.times += 1
        time.sleep(self.seconds)
        return super().lag()


@pytest.mark.parametrize(("seconds", "times", "within"), [(0.0, 2, 30), (0.1, 1, 2)], ids=["little", "much"])
def test_lag_is_looked_up_less_often_where_that_takes_long(
    account: Account, seconds: float, times: int, within: float
) -> None:
    given = settings(account.url)
    with Slow(given) as calls:
        calls.seconds = seconds
        sampled = Sampled(Database(given, [], threading.Event(), is_named=False), calls)
        ends = time.monotonic() + within
        while time.monotonic() < ends and calls.times <= 1:
            sampled.show_lag()
            time.sleep(0.02)
        assert calls.times == times
