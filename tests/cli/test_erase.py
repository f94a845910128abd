"""`halo erase` and `halo ledger forget`, as a person types them."""

from __future__ import annotations

import json
import sqlite3

import pytest
import sqlalchemy as sa
from inline_snapshot import snapshot

from airflow_provider_halo.cli.main import main
from airflow_provider_halo.hooks.halo import HaloHook
from airflow_provider_halo.ledger.ledger import Ledger
from airflow_provider_halo.sandbox.faults import parse_fault

PLAN = """\
version: 1
name: shop
source: app
companies:
  key: team_id
  traits:
    sql: SELECT id AS team_id, name FROM teams
users:
  key: user_id
  company: team_id
  traits:
    sql: SELECT id AS user_id, team_id, name, email FROM users
  context:
    orders:
      label: Orders
      type: metric
      sql: SELECT id AS user_id, team_id, orders FROM users
      empty: {orders: 0}
"""

PRODUCT = """
CREATE TABLE teams (id INTEGER, name TEXT);
CREATE TABLE users (id INTEGER, team_id INTEGER, name TEXT, email TEXT, orders INTEGER);
INSERT INTO teams VALUES (1, 'Acme'), (2, 'Bolt');
INSERT INTO users VALUES (10, 1, 'Ada', 'ada@example.com', 3), (11, 2, 'Bea', 'bea@example.com', 1);
"""


@pytest.fixture
def plan(make_plan, tmp_path, monkeypatch):
    """The plan, with a ledger, synced once."""
    path = str(tmp_path / "ledger.db")
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps({"conn_type": "sqlite", "host": path}))
    monkeypatch.setenv("AIRFLOW__HALO__LEDGER_CONN_ID", "ledger")
    path = make_plan(PLAN, product=PRODUCT)
    assert main(["sync", str(path)]) == 0
    return path


def change(plan, statement):
    with sqlite3.connect(plan.parent / "app.db") as database:
        database.execute(statement)
    database.close()


def printed(capsys):
    return capsys.readouterr().out.splitlines()


def test_a_user_is_emptied_and_forgotten_and_not_sent_until_that_is_allowed(plan, sandbox, capsys):
    before = sandbox.store.user("10")
    capsys.readouterr()
    assert main(["erase", str(plan), "--user", "10", "--dry-run"]) == 0
    assert printed(capsys)[:5] == snapshot(
        [
            "dry run: nothing is sent, and nothing is written down",
            "users 10: empty values would be sent, and the ledger would forget it",
            "  traits: email, name",
            "  entries: orders",
            "  the source has it; no run sends it until `halo erase … --allow`",
        ]
    )
    assert sandbox.store.user("10") == before
    assert main(["erase", str(plan), "--user", "10"]) == 0
    assert printed(capsys) == snapshot(
        [
            "users 10: empty values were sent, and the ledger has forgotten it",
            "  traits: email, name",
            "  entries: orders",
            "  the source has it; no run sends it until `halo erase … --allow`",
            "1 requests, 312 bytes",
            "Halo keeps:",
            "  the user itself with its id, when it was first and last seen, its link to a company, its conversations and tickets",
            "  what others wrote: the hook and operators by hand, the browser, Stripe, HubSpot, Intercom; their names aren't known here",
            "HaloAgents documents no call that deletes a record; ask its support for that.",
        ]
    )
    erased = sandbox.store.user("10")
    assert (erased["traits"], erased["context"]["orders"]["value"]) == ({"name": None, "email": None}, {"orders": 0})
    assert main(["sync", str(plan), "--full"]) == 0
    assert "warning: users skipped: erased by halo erase, whose --allow takes it back: 1" in printed(capsys)
    assert sandbox.store.user("10") == erased
    assert main(["status"]) == 0
    assert printed(capsys)[-1] == snapshot(
        "erased in this workspace: 1 users; no run sends them before `halo erase … --allow`"
    )
    assert main(["erase", str(plan), "--user", "10", "--allow"]) == 0
    assert printed(capsys) == snapshot(["users 10: may be sent again", "  the source has it; the next sync sends it"])
    assert main(["sync", str(plan)]) == 0
    assert sandbox.store.user("10")["traits"] == {"name": "Ada", "email": "ada@example.com"}
    assert sandbox.store.user("10")["company_id"] == "1"


def test_what_was_done_is_told_as_json_with_names_and_no_values(plan, capsys):
    change(plan, "DELETE FROM users WHERE id = 11")
    capsys.readouterr()
    assert main(["erase", str(plan), "--user", "11", "--company", "2", "--company", "99", "--json"]) == 0
    text = capsys.readouterr().out
    assert "Bea" not in text
    assert "Bolt" not in text
    told = json.loads(text)
    assert told["records"] == snapshot(
        [
            {
                "scope": "companies",
                "key": "2",
                "in_source": True,
                "was_erased": False,
                "was_sent": True,
                "state": "emptied",
                "traits": ["name"],
                "entries": [],
            },
            {
                "scope": "companies",
                "key": "99",
                "in_source": False,
                "was_erased": False,
                "was_sent": False,
                "state": "nothing to empty",
                "traits": [],
                "entries": [],
            },
            {
                "scope": "users",
                "key": "11",
                "in_source": False,
                "was_erased": False,
                "was_sent": True,
                "state": "emptied",
                "traits": ["email", "name"],
                "entries": ["orders"],
            },
        ]
    )
    assert (told["plan"], told["dry_run"], told["allow"], told["running"]) == ("shop", False, False, [])
    assert told["report"]["companies"]["stored"] == told["report"]["users"]["stored"] == 1


def test_the_arguments_name_records_and_a_ledger_is_there(plan, capsys):
    capsys.readouterr()
    assert main(["erase", str(plan)]) == 2
    assert main(["erase", str(plan), "--user", " "]) == 2
    assert main(["erase", str(plan), "--user", "\ud800"]) == 2
    assert main(["erase", str(plan), "--user", "10", "--ledger", "none"]) == 1
    assert capsys.readouterr().err.splitlines() == snapshot(
        [
            "halo erase: name the records with --company ID and --user ID; an id can't be blank or broken Unicode",
            "halo erase: name the records with --company ID and --user ID; an id can't be blank or broken Unicode",
            "halo erase: name the records with --company ID and --user ID; an id can't be blank or broken Unicode",
            "halo erase: There is no ledger: name its connection with --ledger, or set AIRFLOW__HALO__LEDGER_CONN_ID.",
        ]
    )


def test_what_halo_refuses_stays_known_and_is_told(plan, sandbox, capsys):
    sandbox.faults.set([parse_fault('400:path=users/update,contains="user_id":"10"')])
    capsys.readouterr()
    assert main(["erase", str(plan), "--user", "10"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == snapshot(
        "users 10: Halo has not taken the empty values, and the ledger still knows it"
    )
    assert err.splitlines()[-1] == snapshot(
        "halo erase: 1 of 1 records were rejected, more than max_rejected=0; the first: users 10: Halo refuses it: HTTP 400, an HTML page. No run sends it any more; erase it again to finish."
    )
    sandbox.faults.set([])
    assert main(["sync", str(plan)]) == 0
    assert sandbox.store.user("10")["traits"]["name"] == "Ada"  # neither emptied nor sent
    assert main(["erase", str(plan), "--user", "10"]) == 0
    assert sandbox.store.user("10")["traits"] == {"name": None, "email": None}


def test_an_erasure_that_is_cut_short_is_finished_by_doing_it_again(plan, sandbox, capsys):
    sandbox.faults.set([parse_fault("401:path=users/update")])
    capsys.readouterr()
    assert main(["erase", str(plan), "--user", "10"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == snapshot(
        "halo erase: not all of it is empty in Halo. No run sends it any more; erase it again to finish."
    )
    sandbox.faults.set([])
    assert main(["sync", str(plan), "--full"]) == 0
    assert sandbox.store.user("10")["traits"]["name"] == "Ada"
    assert main(["erase", str(plan), "--user", "10", "--user", "11"]) == 0
    assert sandbox.store.user("10")["traits"] == sandbox.store.user("11")["traits"] == {"name": None, "email": None}


def test_a_run_that_is_under_way_is_named(plan, tmp_path, capsys):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    Ledger(engine, "ledger").open_run("shop", HaloHook().settings, "weekly 7", whole=True)
    engine.dispose()
    capsys.readouterr()
    assert main(["erase", str(plan), "--user", "10"]) == 0
    assert printed(capsys)[-1] == snapshot(
        "Under way: weekly 7. What a run has read already may still be sent: when it has ended, erase once more."
    )


def test_forget_says_whether_a_record_is_sent_again(plan, capsys):
    change(plan, "DELETE FROM users WHERE id = 11")
    assert main(["erase", str(plan), "--company", "2"]) == 0
    capsys.readouterr()
    assert main(["ledger", "forget", str(plan), "--user", "10", "--user", "11", "--company", "2"]) == 0
    assert printed(capsys) == snapshot(
        [
            "shop: forgot companies 2; it was erased, so no run sends it before `halo erase … --allow`",
            "shop: forgot users 10; the next sync sends it again",
            "shop: forgot users 11; the source no longer has it, so no run sends it again, and Halo keeps it (`halo erase` empties it)",
        ]
    )
