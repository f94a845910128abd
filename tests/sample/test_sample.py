"""The demo's product: the same rows everywhere, as many as asked for, and nobody else's tables touched."""

from __future__ import annotations

import hashlib

import pytest
import sqlalchemy as sa
from inline_snapshot import snapshot

from airflow_provider_halo.exceptions import SetupError
from airflow_provider_halo.sample.data import open_database, write_sample
from airflow_provider_halo.sample.generate import bundles
from airflow_provider_halo.sample.spread import sizes
from airflow_provider_halo.sample.tables import METADATA
from demo.__main__ import main
from demo.change import break_integration, change_sample


def one(engine, sql):
    with engine.connect() as connection:
        return connection.exec_driver_sql(sql).scalar_one()


def rows(engine, sql):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def contents(engine):
    with engine.connect() as connection:
        return {
            name: [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]
            for name, table in METADATA.tables.items()
        }


def test_the_same_numbers_give_the_same_rows(product):
    first, second = product(companies=12, users=200), product(companies=12, users=200)
    assert contents(first) == contents(second)


def test_another_seed_gives_other_people(product):
    first, second = product(companies=3, users=40), product(companies=3, users=40, seed=7)
    names = "SELECT name FROM users ORDER BY id"
    assert rows(first, names) != rows(second, names)


def test_the_rows_are_the_same_on_every_python():
    # Only what random() promises is used; a digest that was written down once shows it on each Python that runs this.
    made = [bundle.rows for bundle in bundles(sizes(5, 60, 2026), 2026)]
    assert hashlib.sha256(repr(made).encode()).hexdigest() == (
        "2e6aa503da81aa1d809b18ae80a17e621c486bf56b9dfdc679991b774b231e56"
    )


@pytest.mark.parametrize(
    ("companies", "users"), [(1, 1), (1, 60), (2, 5), (6, 100), (7, 100), (8, 300), (60, 1_000), (500, 20)]
)
def test_as_many_companies_and_users_as_asked_for(product, companies, users):
    engine = product(companies=companies, users=users)
    assert (one(engine, "SELECT COUNT(*) FROM teams"), one(engine, "SELECT COUNT(*) FROM users")) == (companies, users)
    assert one(engine, "SELECT team_id FROM users WHERE id = 1") == 1


def test_users_stand_as_unevenly_as_in_life(product):
    engine = product(companies=60, users=2_000)
    by_team = dict(rows(engine, "SELECT team_id, COUNT(*) FROM users GROUP BY team_id"))
    gone = one(engine, "SELECT COUNT(*) FROM users WHERE team_id NOT IN (SELECT id FROM teams)")
    assert (by_team.pop(None), gone, max(by_team.values())) == (40, 10, 500)
    assert min(by_team.values()) < 12


def test_the_guides_example_team_is_there(product):
    engine = product(companies=1, users=30)
    assert one(engine, "SELECT COUNT(*) FROM forms WHERE team_id = 1") == 12
    assert one(engine, "SELECT SUM(total) FROM submissions WHERE team_id = 1") == 1_847
    assert rows(engine, "SELECT status, error FROM integrations WHERE team_id = 1 AND service = 'hubspot'") == snapshot(
        [("error", "Token expired: reconnect HubSpot to resume syncing")]
    )
    assert rows(engine, "SELECT plan, status, billing_interval FROM subscriptions") == [
        ("business", "active", "annual")
    ]
    assert {event for (event,) in rows(engine, "SELECT event FROM onboarding_events WHERE user_id = 1")} == {
        "signed_up",
        "form_created",
        "form_published",
        "integration_connected",
        "teammate_invited",
    }


def test_milestones_follow_from_what_people_did(product):
    engine = product(companies=80, users=900)
    for event, sql in (
        ("form_created", "SELECT DISTINCT created_by FROM forms WHERE created_by IS NOT NULL"),
        ("meeting_booked", "SELECT DISTINCT host_id FROM meetings WHERE host_id IS NOT NULL AND status <> 'cancelled'"),
    ):
        reached = rows(engine, f"SELECT user_id FROM onboarding_events WHERE event = '{event}'")
        assert set(reached) == set(rows(engine, sql))
        assert reached


def test_a_second_run_replaces_the_first(product):
    engine = product(companies=5, users=60)
    write_sample(engine, 2, 10)
    assert rows(engine, "SELECT companies, users, changes FROM halo_demo_info") == [(2, 10, 0)]
    assert one(engine, "SELECT COUNT(*) FROM users") == 10


def test_tables_of_somebody_else_are_left_alone(tmp_path):
    engine = open_database(f"sqlite:///{tmp_path}/real.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE users (id INTEGER)")
        connection.exec_driver_sql("INSERT INTO users VALUES (17)")
    with pytest.raises(SetupError) as raised:
        write_sample(engine, 2, 10)
    assert str(raised.value) == (
        f"The database '{tmp_path}/real.db' already has users, which the demo did not make; give it an empty database."
    )
    assert rows(engine, "SELECT id FROM users") == [(17,)]


def test_a_week_changes_what_it_says(product):
    engine = product(companies=5, users=60)
    assert change_sample(engine) == snapshot(
        [
            "hubspot of team 1 works again",
            "team 1 received 153 more submissions: 2,000 now",
            "user 61 signed up in team 1",
            "team 6 was created, with user 62 as its owner",
            "slack was removed from team 1",
        ]
    )
    assert rows(engine, "SELECT service, status, error FROM integrations WHERE team_id = 1 ORDER BY service") == [
        ("google_calendar", "connected", None),
        ("hubspot", "connected", None),
        ("zapier", "disconnected", None),
    ]
    assert rows(engine, "SELECT id, team_id, role FROM users WHERE id > 60 ORDER BY id") == [
        (61, 1, "member"),
        (62, 6, "owner"),
    ]
    assert one(engine, "SELECT SUM(total) FROM submissions WHERE team_id = 1") == 2_000
    assert change_sample(engine)[2] == "user 63 signed up in team 1"


def test_an_integration_breaks_in_the_middle_of_a_week(product):
    engine = product(companies=1, users=20)
    assert break_integration(engine) == snapshot(
        "google_calendar of team 1 fails: Calendar access revoked: reconnect the account"
    )
    assert rows(engine, "SELECT status FROM integrations WHERE service = 'google_calendar'") == [("error",)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "--url", "sqlite:///{}/a.db", "--companies", "0"], "companies must be 1 to 100,000, not 0."),
        (
            ["data", "--url", "sqlite:///{}/a.db", "--companies", "1", "--users", "0"],
            "users must be at least 1, not 0.",
        ),
        (
            ["data", "--url", "somewhere", "--companies", "1"],
            (
                "The database URL can't be read; it looks like sqlite:///demo.db, postgresql+psycopg2://user@host/db "
                "or mysql+pymysql://user@host/db."
            ),
        ),
        (
            ["data", "--url", "sqlite:///{}/no/folder/a.db", "--companies", "1"],
            "The sqlite database '{}/no/folder/a.db' refused: unable to open database file",
        ),
        (
            ["change", "--url", "sqlite:///{}/empty.db"],
            (
                "The database '{}/empty.db' holds no demo data; make it first: "
                "python -m demo data --url URL --companies 200"
            ),
        ),
    ],
)
def test_wrong_words_get_one_sentence_and_exit_code_2(tmp_path, capsys, words, said):
    assert main([word.replace("{}", str(tmp_path)) for word in words]) == 2
    assert capsys.readouterr().out == f"  ✗ {said.replace('{}', str(tmp_path))}\n"


def test_a_password_in_the_url_is_not_shown(capsys):
    assert main(["change", "--url", "postgresql+psycopg2://demo:geheim@127.0.0.1:1/forms"]) == 2
    assert "geheim" not in capsys.readouterr().out


def test_data_and_change_from_the_command_line(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/a.db"
    assert main(["data", "--url", url, "--companies", "2"]) == 0
    assert main(["change", "--url", url]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("  2 teams, 50 users, ")
    assert said[1] == snapshot("  hubspot of team 1 works again")
