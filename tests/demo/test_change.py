"""A week of the sample product: what `python -m demo change` changes, and what it says about it."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.sample.data import open_database, write_sample
from demo.__main__ import main
from demo.change import break_integration, change_sample


def one(engine, sql):
    with engine.connect() as connection:
        return connection.exec_driver_sql(sql).scalar_one()


def rows(engine, sql):
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


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
    ("url", "said"),
    [
        (
            "sqlite:///{}/empty.db",
            (
                "The database '{}/empty.db' does not contain the sample; write it first: "
                "halo sample --url URL --companies 200"
            ),
        ),
        (
            "somewhere",
            (
                "The database URL can't be read; it looks like sqlite:///forms.db, postgresql+psycopg2://user@host/db "
                "or mysql+pymysql://user@host/db."
            ),
        ),
    ],
)
def test_a_wrong_database_gets_one_sentence_and_exit_code_2(tmp_path, capsys, url, said):
    assert main(["change", "--url", url.replace("{}", str(tmp_path))]) == 2
    assert capsys.readouterr().out == f"  ✗ {said.replace('{}', str(tmp_path))}\n"


def test_a_password_in_the_url_is_not_shown(capsys):
    assert main(["change", "--url", "postgresql+psycopg2://demo:geheim@127.0.0.1:1/forms"]) == 2
    assert "geheim" not in capsys.readouterr().out


def test_the_data_is_changed_from_the_command_line(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/a.db"
    write_sample(open_database(url), 2)
    assert main(["change", "--url", url]) == 0
    assert capsys.readouterr().out.splitlines()[0] == snapshot("  hubspot of team 1 works again")
