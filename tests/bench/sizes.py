"""How much each measurement does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a run; the defaults are those that the targets are judged at."""

    messages: int = 50_000
    batch: int = 2000
    repeats: int = 5
    row_at_a_time_messages: int = 3000
    latency_seconds: float = 15
    latency_per_s: int = 200
    live_seconds: float = 6
    live_open_messages: int = 10_000
    consumed_few: int = 10_000
    consumed_many: int = 1_000_000
    claims: int = 20
    claim_batch: int = 1000
    enqueue_blocks: int = 50
    enqueue_block: int = 20
    enqueue_transactions: int = 15
    enqueue_transaction: int = 1000
    idle_seconds: float = 20
    warm_up: int = 30_000
    settle_seconds: float = 30
    shared_seconds: float = 1.5
    scale_messages: int = 20_000
    growth_messages: int = 500_000
    table: int = 1_000_000
    relays: int = 64
    waiting: int = 1_000_000
    open_messages: int = 100_000
    open_transactions: int = 1000
    isolation_messages: int = 300
    slow_lane_messages: int = 3000
    slow_lane_others: int = 300
    processes: tuple[int, ...] = (1, 2, 4)
    tenants: int = 100
    shards: tuple[int, ...] = (1, 2, 4)

    @property
    def chat(self) -> int:
        """How many different chat messages the measurements need."""
        return max(self.messages, self.row_at_a_time_messages, self.scale_messages, self.growth_messages)

    @property
    def growth(self) -> tuple[int, int]:
        """The small and the large backlog of the growth measurements: 1 to 10."""
        return self.growth_messages // 10, self.growth_messages


QUICK = Sizes(
    messages=2000,
    repeats=1,
    row_at_a_time_messages=50,
    latency_seconds=1,
    live_seconds=0.5,
    live_open_messages=100,
    consumed_few=500,
    consumed_many=5000,
    claims=2,
    claim_batch=50,
    enqueue_blocks=3,
    enqueue_block=5,
    enqueue_transactions=2,
    enqueue_transaction=20,
    idle_seconds=1,
    warm_up=0,
    settle_seconds=0.5,
    shared_seconds=0.3,
    processes=(1, 2),
    scale_messages=500,
    growth_messages=2000,
    table=20_000,
    relays=4,
    waiting=2000,
    open_messages=1000,
    open_transactions=10,
    isolation_messages=20,
    slow_lane_messages=600,
    slow_lane_others=20,
    tenants=3,
    shards=(1, 2),
)
