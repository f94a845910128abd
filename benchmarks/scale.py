"""How large everything is that is measured: quick to see that it works, default within five minutes, full for the targets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """A product.

    :param whale: so many of the users are in one company.
    """

    users: int
    companies: int
    whale: int = 0

    def __str__(self) -> str:
        text = f"{self.users:,} users in {self.companies:,} companies"
        return f"{text}, {self.whale:,} of them in one" if self.whale else text


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One scale. Rounds are by the milliseconds that an answer waits; of no round nothing is measured.

    :param warm_up: whether the first pass of each kind isn't measured.
    :param whole: product of the whole syncs.
    :param slow: product of the whole syncs whose answers wait for 100 ms or more.
    :param rounds: of the whole sync from SQLite; ``postgresql``: from PostgreSQL; ``scopes``: of users only and companies
        only, from SQLite; ``links``: of everything with links.
    :param linked: product of the syncs with links.
    :param ledger: product of the ledger's passes; ``ledger_rounds`` by the database of the ledger.
    :param tasks: product of one task against four, which it gives one even batch each; ``task_rounds``: of both.
    :param small: product of the smaller memory passes (the larger one is the ledger's); ``whale``: with a huge company.
    :param posts: users that a loop with a request per user sends; ``hooked``: that Airflow's hook sends by 1,000.
    :param backfill: product of the real backfill; None leaves it out. ``backfill_ms``: what an answer waits there;
        ``backfill_batch``: users in one of its tasks.
    :param quotas: so many kinds of quota; None for all. ``quota_seconds``: how long each is tried, some longer.
    """

    name: str
    warm_up: bool
    whole: Size
    slow: Size
    rounds: dict[int, int]
    postgresql: dict[int, int]
    scopes: dict[int, int]
    linked: Size
    links: dict[int, int]
    ledger: Size
    ledger_rounds: dict[str, int]
    tasks: Size
    task_rounds: int
    small: Size
    whale: Size
    posts: int
    hooked: int
    peer_rounds: int
    backfill: Size | None
    backfill_ms: int
    backfill_batch: int
    quotas: int | None
    quota_seconds: float


QUICK = Scale(
    name="quick",
    warm_up=False,
    whole=Size(2_000, 40),
    slow=Size(2_000, 40),
    rounds={0: 1, 25: 1},
    postgresql={0: 1},
    scopes={0: 1},
    linked=Size(200, 10),
    links={0: 1},
    ledger=Size(5_000, 100),
    ledger_rounds={"sqlite": 1, "postgresql": 0},
    tasks=Size(2_000, 40),
    task_rounds=1,
    small=Size(500, 10),
    whale=Size(3_000, 20, whale=2_000),
    posts=20,
    hooked=2_000,
    peer_rounds=1,
    backfill=None,
    backfill_ms=25,
    backfill_batch=500,
    quotas=2,
    quota_seconds=1.5,
)

DEFAULT = Scale(
    name="default",
    warm_up=True,
    whole=Size(20_000, 1_000),
    slow=Size(5_000, 250),
    rounds={0: 3, 25: 3, 100: 1},
    postgresql={0: 3, 25: 1, 100: 1},
    scopes={0: 3},
    linked=Size(3_000, 150),
    links={0: 3},
    ledger=Size(100_000, 2_000),
    ledger_rounds={"sqlite": 3, "postgresql": 1},
    tasks=Size(40_000, 2_000),
    task_rounds=2,
    small=Size(10_000, 200),
    whale=Size(40_000, 400, whale=30_000),
    posts=40,
    hooked=5_000,
    peer_rounds=1,
    backfill=Size(4_000, 200),
    backfill_ms=25,
    backfill_batch=500,
    quotas=None,
    quota_seconds=6.0,
)

FULL = Scale(
    name="full",
    warm_up=True,
    whole=Size(20_000, 1_000),
    slow=Size(20_000, 1_000),
    rounds={0: 5, 25: 5, 100: 3},
    postgresql={0: 5, 25: 3, 100: 1},
    scopes={0: 5, 25: 3},
    linked=Size(20_000, 1_000),
    links={0: 3, 25: 1},
    ledger=Size(1_000_000, 20_000),
    ledger_rounds={"sqlite": 3, "postgresql": 1},
    tasks=Size(40_000, 2_000),
    task_rounds=5,
    small=Size(50_000, 1_000),
    whale=Size(300_000, 3_000, whale=250_000),
    posts=500,
    hooked=20_000,
    peer_rounds=3,
    backfill=Size(100_000, 5_000),
    backfill_ms=25,
    backfill_batch=5_000,
    quotas=None,
    quota_seconds=15.0,
)
