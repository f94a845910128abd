"""Plan, batches, sync and report as tasks, on a real database and a real server."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from inline_snapshot import snapshot

from airflow_provider_halo.operators import PlanBatchesOperator, ReportOperator, SyncOperator
from airflow_provider_halo.sandbox.faults import parse_fault


def plan_batches(**arguments):
    return PlanBatchesOperator(task_id="plan_batches", **arguments)


def sync(**arguments):
    return SyncOperator(task_id="sync", **arguments)


def report(**arguments):
    return ReportOperator(task_id="report", **arguments)


@pytest.fixture
def fails(run, task_instance):
    """Runs an operator that fails: (the exception, the report that it pushed before)."""

    def run_failing(operator, **context):
        instance = task_instance()
        with pytest.raises(AirflowException) as caught:
            run(operator, ti=instance, **context)
        return caught.value, instance.pushed.get("return_value")

    return run_failing


def test_a_run_brings_the_whole_plan_to_halo_and_marks_nobody_as_active(halo, plan, run, counts):
    batches = run(plan_batches(batch_size=2))
    reports = [run(sync(batch=batch)) for batch in batches]
    whole = run(report(reports=reports, expected=batches))
    assert counts(whole) == {"companies": {"stored": 3}, "users": {"stored": 5}, "links": {"stored": 4}}
    assert halo.store.company("1")["context"]["integrations"]["value"] == {
        "hubspot": {"connected": True, "status": "error"}
    }
    assert halo.store.user("90")["traits"] == {"name": "Zed", "email": "zed@nowhere.test"}
    assert {halo.store.user(key)["last_seen"] for key in halo.store.find("users")} == {None}


def test_batches_hold_bounds_and_counts_and_no_people(plan, run):
    batches = run(plan_batches(batch_size=3))
    assert [batch["label"] for batch in batches] == snapshot(
        [
            "1/4: companies before 2, 2 users",
            "2/4: companies 2 to before 3, 1 users",
            "3/4: companies from 3, 1 users",
            "4/4: users without a company, 1 users",
        ]
    )
    assert not {"Ada", "ada@acme.test"} & {str(value) for batch in batches for value in batch.values()}


def test_batches_may_be_of_some_companies_and_parts(plan, run):
    assert [batch["companies"] for batch in run(plan_batches(company_ids="1, 3"))] == [[1, 3]]
    assert [batch["label"] for batch in run(plan_batches(only=["companies"]))] == ["1/1: all companies"]


def test_the_pool_that_batches_wait_for_is_named_in_the_log(plan, run, capsys):
    with DAG("d", schedule=None):
        first = plan_batches()
        SyncOperator.partial(task_id="sync", pool="halo_api").expand(batch=first.output)
    run(first, dag=first.dag)
    assert "airflow pools set halo_api 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": "many"}, "batch_size must be a whole number from 1."),
        ({"company_ids": ["x"]}, "'x' is no key here: the database's keys are whole numbers, such as 17."),
        ({"only": "user"}, "user"),
        ({"plan": "nowhere.yaml"}, "nowhere.yaml"),
    ],
)
def test_words_that_can_t_be_used_fail_the_planning_for_good(plan, fails, arguments, message):
    error, pushed = fails(plan_batches(**arguments))
    assert (isinstance(error, AirflowFailException), message in str(error), pushed) == (True, True, None)


@pytest.mark.parametrize("operator", [plan_batches, lambda: sync(company_id=1)])
def test_without_a_plan_the_way_to_name_one_is_told(halo, fails, operator):
    error, _ = fails(operator())
    assert isinstance(error, AirflowFailException)
    assert str(error) == snapshot(
        "No plan file is configured: set AIRFLOW__HALO__PLAN (or `plan` under [halo] in airflow.cfg) to its path as the "
        "workers see it, or name the plan (plan=… of an operator, PLAN of the halo command)."
    )


def test_one_company_is_its_own_record(halo, plan, run, counts):
    assert counts(run(sync(company_id="1"))) == {"companies": {"stored": 1}}
    assert halo.store.find("users") == []


def test_one_user_goes_with_its_link(halo, plan, run, counts):
    assert counts(run(sync(user_id=10))) == {"users": {"stored": 1}, "links": {"stored": 1}}
    user = halo.store.user("10")
    assert (user["company_id"], user["last_seen"]) == ("1", None)


def test_a_company_and_a_user_together_are_both_stored_and_linked(halo, plan, run, counts):
    report = run(sync(company_id=1, user_id=10))
    assert counts(report) == {"companies": {"stored": 1}, "users": {"stored": 1}, "links": {"stored": 1}}


def test_a_user_who_is_present_is_marked_as_active_only_when_it_is_said(halo, plan, run):
    run(sync(user_id=10, activity=True))
    assert halo.store.user("10")["last_seen"] is not None


def test_activity_is_refused_for_whole_batches(halo, plan, run, fails):
    (batch, *_) = run(plan_batches())
    error, _ = fails(sync(batch=batch, activity="True"))
    assert isinstance(error, AirflowFailException)
    assert "only for one user who is present" in str(error)
    assert halo.requests.describe()["total"] == 0


def test_parts_may_be_selected(halo, plan, run, counts):
    report = run(sync(company_id=1, only=["companies.context.integrations"]))
    assert counts(report) == {"companies": {"stored": 1}}
    assert (halo.store.company("1")["traits"], list(halo.store.company("1")["context"])) == ({}, ["integrations"])


def test_a_dry_run_sends_nothing(halo, plan, run, counts):
    (batch, *_) = run(plan_batches())
    report = run(sync(batch=batch, dry_run="True"))
    assert (report["dry_run"], counts(report)["companies"]) == (True, {"skipped": 3})
    assert halo.requests.describe()["total"] == 0


def test_a_key_without_a_row_fails_the_task_for_good(halo, plan, fails, counts):
    error, pushed = fails(sync(user_id=999))
    assert isinstance(error, AirflowFailException)
    assert "users 999: is not in the users query (users.traits)" in str(error)
    assert counts(pushed) == {"users": {"rejected": 1}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Nothing to sync: give company_id, user_id or both"),
        ({"company_id": "None", "user_id": ""}, "Nothing to sync: give company_id, user_id or both"),
        ({"company_id": "acme"}, "'acme' is no key here: the database's keys are whole numbers, such as 17."),
        ({"company_id": 1, "batch": {}}, "Give either batch, or company_id and user_id."),
        ({"batch": {"teams": 1}}, "batch is not one of PlanBatchesOperator"),
        ({"company_id": 1, "max_rejected": "few"}, "max_rejected must be a count such as 20, or a share such as 1%"),
    ],
)
def test_words_that_can_t_be_used_fail_the_sync_for_good(halo, plan, fails, arguments, message):
    error, _ = fails(sync(**arguments))
    assert (isinstance(error, AirflowFailException), str(error).startswith(message)) == (True, True), str(error)
    assert halo.requests.describe()["total"] == 0


@pytest.mark.usefixtures("halo", "plan")
def test_a_connection_that_is_missing_is_tried_again_as_it_may_be_airflow_s_api_server_that_is_away(fails):
    error, _ = fails(sync(company_id=1, halo_conn_id="elsewhere"))
    assert not isinstance(error, AirflowFailException)
    assert str(error).startswith("The Halo connection 'elsewhere' is not there")


@pytest.mark.parametrize(
    ("sql", "message", "kind"),
    [
        ("SELECT id AS team_id, name FROM teams WHERE", "check the SQL", AirflowFailException),
        ("SELECT id AS team_id, nome FROM teams", "check the column's name", AirflowFailException),
        ("SELECT id AS team_id, name FROM taems", "check the table's name", AirflowException),
    ],
)
def test_sql_that_is_wrong_fails_for_good_and_a_missing_table_may_come_back(halo, plan, fails, sql, message, kind):
    text = plan.read_text(encoding="utf-8")
    plan.write_text(text.replace("SELECT id AS team_id, name, plan FROM teams", sql), encoding="utf-8")
    for operator in (plan_batches(), sync(company_id=1)):
        error, _ = fails(operator)
        assert (isinstance(error, AirflowFailException), message in str(error)) == (kind is AirflowFailException, True)


def test_all_wrong_queries_of_a_plan_are_told_by_the_first_task(halo, plan, fails):
    text = plan.read_text(encoding="utf-8")
    text = text.replace("name, plan FROM teams", "nome, plan FROM teams").replace("name, email FROM", "name, mial FROM")
    plan.write_text(text, encoding="utf-8")
    for operator in (plan_batches(), sync(company_id=1, user_id=10)):
        error, report = fails(operator)
        assert isinstance(error, AirflowFailException)
        assert report is None
        assert [line.partition(")")[0] for line in str(error).splitlines()] == [
            f"companies.traits ({plan}, line 7",
            f"users.traits ({plan}, line 18",
        ]
    assert halo.requests.describe()["total"] == 0


def test_a_wrong_key_fails_for_good_after_one_request_a_lane(halo, plan, set_halo, fails):
    set_halo(password="ab_live_wrong")
    error, _ = fails(sync(user_id=10))
    assert isinstance(error, AirflowFailException)
    assert halo.requests.describe()["by_path"] == {"users/update": {"401": 1}}


@pytest.mark.usefixtures("plan")
def test_a_halo_that_is_down_is_retried_by_airflow_and_the_report_says_what_was_delivered(
    halo, set_halo, run, fails, counts
):
    halo.faults.set([parse_fault("503:path=users/update")])
    set_halo(extra={"identity_secret": "s" * 40, "max_retry_seconds": 0.3})
    (batch, *_) = run(plan_batches())
    error, pushed = fails(sync(batch=batch))
    assert not isinstance(error, AirflowFailException)
    assert counts(pushed) == {"companies": {"stored": 3}, "users": {"failed": 4}}


def test_a_database_that_fails_is_retried_by_airflow(halo, plan, shop, fails):
    shop.execute("DROP TABLE integrations")
    error, _ = fails(sync(company_id=1))
    assert not isinstance(error, AirflowFailException)
    assert "no such table: integrations; check the table's name in the SQL" in str(error)
    assert error.__cause__ is None  # a driver's own error would show the SQL


@pytest.mark.usefixtures("halo", "plan")
def test_rejects_of_one_batch_of_many_are_for_the_report_to_judge(shop, run, fails, counts):
    shop.execute("UPDATE users SET name = X'00' WHERE id = 10")
    shop.commit()
    batches = run(plan_batches())
    reports = [run(sync(batch=batch)) for batch in batches]
    error, pushed = fails(report(reports=reports, expected=batches))
    assert isinstance(error, AirflowFailException)
    assert str(error).startswith(
        "1 of 11 records were rejected (9.09%), more than max_rejected=1%; the first: users 10: "
    )
    assert counts(pushed)["users"] == {"stored": 4, "rejected": 1}
    assert counts(run(report(reports=reports, expected=batches, max_rejected="10%")))["users"]["rejected"] == 1
    # A task that is the whole run judges itself, and so does one that is told a limit.
    error, _ = fails(sync(batch={**batches[0], "of": 1}))
    assert isinstance(error, AirflowFailException)
    error, _ = fails(sync(batch=batches[0], max_rejected=0))
    assert "more than max_rejected=0" in str(error)


@pytest.mark.usefixtures("halo", "plan")
def test_records_that_are_stored_in_part_count_against_a_limit_of_their_own(shop, run, fails, counts):
    shop.execute("INSERT INTO integrations VALUES (1, 'hubspot', 'active')")
    shop.commit()
    batches = run(plan_batches())
    reports = [run(sync(batch=batch)) for batch in batches]
    error, pushed = fails(report(reports=reports, expected=batches))
    assert isinstance(error, AirflowFailException)
    assert str(error).startswith(
        "1 of 12 records were stored in part (8.33%), more than max_left_out=1%; the first: companies 1: "
        "context.integrations: two of its rows have the same service ("
    )
    assert counts(pushed)["companies"] == {"stored": 2, "partial": 1}
    assert [(problem["key"], problem["field"]) for problem in pushed["left_out"]] == [("1", "context.integrations")]
    assert counts(run(report(reports=reports, expected=batches, max_left_out=1)))["companies"]["partial"] == 1
    error, _ = fails(sync(company_id=1))
    assert "more than max_left_out=1%" in str(error)
    assert counts(run(sync(company_id=1, max_left_out="none"))) == {"companies": {"partial": 1}}
    error, _ = fails(sync(batch=batches[0], max_left_out=0))
    assert "more than max_left_out=0" in str(error)


STORED = {"users": {"stored": 1, "partial": 0, "unchanged": 0, "skipped": 0, "rejected": 0, "failed": 0}}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reports": [STORED], "expected": 2}, "1 of 2 batches gave no report: see the tasks upstream that failed"),
        (
            {"reports": [STORED, None], "expected": [{}, {}, {}]},
            "2 of 3 batches gave no report: see the tasks upstream that failed",
        ),
        ({"reports": [STORED], "expected": "2"}, "1 of 2 batches gave no report: see the tasks upstream that failed"),
        ({"reports": [STORED], "expected": "some"}, "expected must be a whole number from 0."),
        ({"reports": []}, "the plan's queries gave no record at all, so nothing was sent"),
        ({"reports": [{**STORED, "stopped": "Halo is down"}]}, "the run stopped early: Halo is down"),
        ({"reports": [{"users": {"failed": 2}}]}, "2 of 2 records could not be delivered"),
        ({"reports": [{"people": 1}]}, "reports must be the output of SyncOperator tasks."),
        ({"reports": [STORED], "max_rejected": "few"}, "max_rejected must be a count such as 20"),
        ({"reports": [STORED], "max_left_out": "few"}, "max_left_out must be a count such as 20"),
    ],
)
def test_a_run_that_is_not_done_is_not_green(fails, arguments, message):
    error, _ = fails(report(**arguments))
    assert (isinstance(error, AirflowFailException), str(error).startswith(message)) == (True, True), str(error)


def test_a_plan_that_failed_is_told_instead_of_an_empty_run(task_instance):
    with DAG("d", schedule=None):
        first = plan_batches()
        last = ReportOperator(task_id="report", reports=[], expected=first.output)
    instance = task_instance({"plan_batches": None})
    last.render_template_fields({"ti": instance})
    with pytest.raises(AirflowFailException, match="the batches were never planned"):
        last.execute({"ti": instance})
    assert last.trigger_rule == "all_done"


def test_an_empty_run_may_be_allowed(run):
    assert run(report(reports=[], allow_empty=True))["requests"] == 0


def test_a_single_report_may_be_given_as_it_is(run, counts):
    assert counts(run(report(reports=STORED))) == {"users": {"stored": 1}}
