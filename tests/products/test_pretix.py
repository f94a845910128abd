"""Weeks in the life of a real product with 150 organisers: what Halo holds is compared with the database each time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from products import truth

pytestmark = pytest.mark.product


def held_companies(sandbox) -> dict[str, Any]:
    """What Halo holds of organisers, in the form of `truth.companies`."""
    held = {}
    for key in sandbox.store.find("companies"):
        record = sandbox.store.company(key)
        if key == "none":
            continue
        context = {name: entry["value"] for name, entry in record["context"].items()}
        held[key] = {
            "traits": record["traits"],
            "sales": context["sales"],
            "webhooks": sorted((_unnumbered(name), _state(value)) for name, value in context["webhooks"].items()),
        }
    return held


def held_users(sandbox) -> dict[str, Any]:
    """What Halo holds of people, in the form of `truth.users`; their home by its link."""
    held = {}
    for key in sandbox.store.find("users"):
        record = sandbox.store.user(key)
        traits = dict(record["traits"])
        for name in ("signed_up_at", "last_login_at"):
            traits[name] = traits[name] and datetime.fromisoformat(traits[name])
        entry = record["context"]["organisers"]["value"]
        held[key] = {
            "traits": traits,
            "organisers": sorted((item["name"], item["status"]) for item in entry),
            "home": record["company_id"],
        }
    return held


def _unnumbered(name: str) -> str:
    """``Slack (2)`` is another webhook of the service Slack."""
    return name.split(" (", maxsplit=1)[0]


def _state(value: dict[str, Any]) -> str:
    if not value["connected"]:
        assert value == {"connected": False}
        return "off"
    if value["status"] == "active":
        assert value == {"connected": True, "status": "active"}
        return "active"
    assert value == {"connected": True, "status": "error", "error": value["error"]}
    return value["error"]


@pytest.mark.parametrize("batch_size", [50, 300, 5_000])
def test_halo_holds_what_the_database_says_over_several_weeks(product, batch_size):
    size = ("--batch-size", str(batch_size))
    first = product.sync(*size)

    assert held_companies(product.sandbox) == truth.companies(product.engine)
    before = truth.users(product.engine)
    assert held_users(product.sandbox) == before
    assert first["users"]["rejected"] == first["companies"]["rejected"] == 0

    again = product.sync(*size)
    assert again["requests"] == 0

    product.organisers.weeks_pass()
    later = product.sync(*size)

    companies, users = truth.companies(product.engine), truth.users(product.engine)
    held = held_companies(product.sandbox)
    assert {key: held[key] for key in companies} == companies
    closed = held.keys() - companies
    assert closed == {"17", "90"}
    for key in closed:
        assert held[key] == {
            "traits": {"name": None, "people": None, "account_status": "deleted"},
            "sales": {"events": 0, "live_events": 0, "paid_orders": 0, "revenue": 0},
            "webhooks": [],
        }
    held = held_users(product.sandbox)
    # Halo documents no way to unlink: who has left their only organiser is linked to the one that stands for none.
    for key, user in users.items():
        if user["home"] is None and before.get(key, user)["home"] is not None:
            user["home"] = "none"
    assert {key: held[key] for key in users} == users
    deleted = held.keys() - users
    assert deleted == {str(number) for number in range(1_400, 1_410)}
    for key in deleted:
        assert held[key]["organisers"] == []
        assert {name for name, value in held[key]["traits"].items() if value is not None} == {"account_status"}
        assert held[key]["traits"]["account_status"] == "deleted"
    assert later["gone"]["companies"] == 2
    assert later["gone"]["users"] == 10

    assert product.sync(*size)["requests"] == 0


def test_who_was_erased_is_not_sent_again_though_the_database_still_has_them(product):
    product.sync()
    product.halo("erase", str(product.plan), "--user", "1100", "--ledger", "ledger")

    erased = product.sandbox.store.user("1100")
    assert set(erased["traits"].values()) == {None}
    assert erased["context"]["organisers"]["value"] == []

    report = product.sync("--full")
    assert product.sandbox.store.user("1100") == erased
    assert report["users"]["skipped"] == 1

    product.halo("erase", str(product.plan), "--user", "1100", "--ledger", "ledger", "--allow")
    product.sync()
    assert held_users(product.sandbox)["1100"] == truth.users(product.engine)["1100"]


def test_without_a_preference_the_same_people_are_rejected_at_any_batch_size(product, tmp_path):
    naive = tmp_path / "naive.yaml"
    lines = product.plan.read_text(encoding="utf-8").splitlines()
    naive.write_text("\n".join(line for line in lines if "prefer:" not in line), encoding="utf-8")
    rejected = set()
    for batch_size in ("50", "300", "5000"):
        report = product.sync("--batch-size", batch_size, "--max-rejected", "50%", "--full", plan=naive)
        rejected.add(report["users"]["rejected"])
    several = sum(len(user["organisers"]) > 1 for user in truth.users(product.engine).values())
    assert rejected == {several}
