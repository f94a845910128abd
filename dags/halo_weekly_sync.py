"""Recompute what the AI may know, every week, and send it to HaloAgents. Marks nobody as active.

### Setting up
1. Connections: `halo_default` (type HaloAgents) and the one that your plan names as `source`.
2. The plan: `AIRFLOW__HALO__PLAN=/path/of/halo.yaml`, as the workers see it. Try it first: `halo check halo.yaml`.
3. The pool `halo_api` bounds how many batches talk to Halo at once. It is made when the scheduler starts; where
   `[halo] create_pool` is off, make it by `airflow pools set halo_api 4 "Batches that talk to HaloAgents at once"`.
   Batches that stay in the state *scheduled* wait for that pool.

4. A ledger, so that only what changed is sent: `AIRFLOW__HALO__LEDGER_CONN_ID`, a connection of a database where the
   provider may make its tables. Without one every run sends everything, which is right, only slower.

### What it does
`plan_batches` cuts the companies into batches of about equally many users, `sync` brings each one to Halo, `report`
sums them up and fails when the run isn't done: when a batch failed, when more records were rejected than
`[halo] max_rejected` allows, or stored in part than `[halo] max_left_out`, or when the plan's queries gave nothing at all. When
it is done, other DAGs may go on:
`schedule=[Asset("halo://halo_weekly_sync")]`.

### When it stops before it sends anything
With a ledger, `plan_batches` looks first: a query that gives no row any more, or more than `[halo] max_changed` (50 %) of
the companies, or of the users, changed or gone at once, look like a broken source or a wrong plan. If it is right so, trigger
the DAG with *force*. Who has left is named in the log of `plan_batches`; where the plan says `gone: empty`, a batch of its own
empties them, never more than `[halo] max_gone` (5 %).
"""

from airflow.sdk import DAG, Param

from airflow_provider_halo.operators import halo_sync

with DAG(
    dag_id="halo_weekly_sync",
    schedule="@weekly",
    catchup=False,  # a sync sends what is true now; there is nothing to catch up
    max_active_runs=1,
    params={
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Send also when a query gives nothing any more, or when most records have changed.",
        ),
    },
    doc_md=__doc__,
    tags=["halo"],
) as dag:
    # The tasks plan_batches, sync and report, with retries over half an hour. The param with its default: without, Airflow
    # 3.2.0 and 3.2.1 can't store the DAG.
    halo_sync(force=dag.param("force", default=False))
