"""`halo sample`: the same rows everywhere, as many as asked for, and nobody else's tables touched."""

from __future__ import annotations

import hashlib
import json
import shlex

import pytest
import sqlalchemy as sa
from inline_snapshot import snapshot

from airflow_provider_halo.cli.main import main
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.sample import PLAN
from airflow_provider_halo.sample.data import SampleError, open_database, write_sample
from airflow_provider_halo.sample.generate import generate_rows
from airflow_provider_halo.sample.spread import spread_users
from airflow_provider_halo.sample.tables import METADATA


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
    made = [team.rows for team in generate_rows(spread_users(5, 60, 2026), 2026)]
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
    with pytest.raises(SampleError) as raised:
        write_sample(engine, 2, 10)
    assert str(raised.value) == (
        f"The database '{tmp_path}/real.db' already has tables that are not the sample's: users; use an empty database."
    )
    assert rows(engine, "SELECT id FROM users") == [(17,)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--url", "sqlite:///{}/a.db", "--companies", "0"], "companies must be 1 to 100,000, not 0."),
        (["--url", "sqlite:///{}/a.db", "--companies", "1", "--users", "0"], "users must be at least 1, not 0."),
        (
            ["--url", "somewhere"],
            (
                "The database URL can't be read; it looks like sqlite:///forms.db, postgresql+psycopg2://user@host/db "
                "or mysql+pymysql://user@host/db."
            ),
        ),
        (
            ["--url", "sqlite:///{}/no/folder/a.db"],
            "The sqlite database '{}/no/folder/a.db' refused: unable to open database file",
        ),
        (["--url", "sqlite://"], "A database in memory is gone when the command ends; name a file: sqlite:///forms.db"),
    ],
)
def test_wrong_arguments_get_one_sentence_and_exit_code_2(tmp_path, capsys, words, said):
    assert main(["sample", *(word.replace("{}", str(tmp_path)) for word in words)]) == 2
    assert capsys.readouterr().err == f"halo sample: {said.replace('{}', str(tmp_path))}\n"


def test_a_password_in_the_url_is_not_shown(capsys):
    assert main(["sample", "--url", "postgresql+psycopg2://forms:geheim@127.0.0.1:1/forms"]) == 2
    told = capsys.readouterr()
    assert "geheim" not in told.out + told.err


def test_the_command_tells_what_it_wrote_and_what_to_do_next(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "--url", "sqlite:///forms.db", "--companies", "2"]) == 0
    export = f'export AIRFLOW_CONN_FORMS_APP=\'{{"conn_type": "sqlite", "host": "{tmp_path}/forms.db"}}\''
    written, *steps = capsys.readouterr().out.splitlines()
    assert written.startswith("Written to sqlite:///forms.db: 2 teams, 50 users, ")
    assert steps == [
        "",
        "Next:",
        "  1. Get the plan that reads it:   halo init my_dags",
        f"  2. Tell Airflow where it is:     {export}",
        "  3. See what would be sent:       halo sync my_dags/halo.yaml --dry-run",
        "Without a HaloAgents account, `halo sandbox` runs the Halo API on this machine.",
    ]
    name, _, value = shlex.split(steps[3])[-1].partition("=")
    assert name == f"AIRFLOW_CONN_{load_plan(PLAN).plan.source.upper()}"
    assert open_database(f"sqlite:///{json.loads(value)['host']}").url.database == str(tmp_path / "forms.db")


def test_a_path_with_an_apostrophe_can_be_pasted(tmp_path, capsys):
    folder = tmp_path / "Ada's forms"
    folder.mkdir()
    assert main(["sample", "--url", f"sqlite:///{folder}/forms.db", "--companies", "1"]) == 0
    step = next(line for line in capsys.readouterr().out.splitlines() if "export " in line)
    assert json.loads(shlex.split(step)[-1].partition("=")[2])["host"] == f"{folder}/forms.db"
