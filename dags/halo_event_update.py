"""Update one company or user in HaloAgents, now, because something happened: a signup, a plan change, a broken integration.

Triggered by hand, or by Airflow's REST API:

```
POST /api/v2/dags/halo_event_update/dagRuns
{"logical_date": null, "conf": {"company_id": 17}}
```

- `company_id` alone: that company's traits and context.
- `user_id` alone: that user's, and its link to its company.
- both: the company, the user and the link.

A key that the plan's queries don't know fails the task. **It marks nobody as active**, unless `activity` says so: give
that only for a user who is present, since it sets `last_seen` and may start automations.

### Setting up
Connections, plan and pool are those of `halo_weekly_sync`. The task runs in the pool `halo_api` (made when the scheduler
starts; else `airflow pools set halo_api 4 "Batches that talk to HaloAgents at once"`), and before waiting batches of a
backfill.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param, conf

from airflow_provider_halo.operators import SyncOperator

# A list in `type` would say the same, but Airflow's form shows it as a large text box.
KEY = [{"type": "string"}, {"type": "integer"}, {"type": "null"}]

with DAG(
    dag_id="halo_event_update",
    schedule=None,
    default_args={
        "retries": 6,  # over ten minutes in all
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=10),
    },
    params={
        "company_id": Param(
            None,
            anyOf=KEY,
            title="Company",
            description="Its key in your database.",
        ),
        "user_id": Param(
            None,
            anyOf=KEY,
            title="User",
            description="Its key in your database. Needs no company: the plan knows to which one it belongs.",
        ),
        "only": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Only these parts",
            description="One a line: companies.context.integrations, users.traits … Empty: everything.",
        ),
        "activity": Param(
            False,
            type="boolean",
            title="The user is here now",
            description="Marks the user as active (sets last_seen) and may start automations in Halo.",
        ),
    },
    doc_md=__doc__,
    tags=["halo"],
) as dag:
    # Every param with its default: without, Airflow 3.2.0 and 3.2.1 can't store the DAG.
    SyncOperator(
        task_id="sync",
        company_id=dag.param("company_id", default=None),
        user_id=dag.param("user_id", default=None),
        only=dag.param("only", default=None),
        activity=dag.param("activity", default=False),
        pool=conf.get("halo", "pool"),
        priority_weight=1000,
    )
