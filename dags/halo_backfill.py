"""Bring every existing company and user to HaloAgents, once. Marks nobody as active. Triggered by hand.

### Before the first run
1. Connections: `halo_default` (type HaloAgents) and the one that your plan names as `source`.
2. The plan: `AIRFLOW__HALO__PLAN=/path/of/halo.yaml`, as the workers see it. Try it first: `halo check halo.yaml`.
3. The pool `halo_api` bounds how many batches talk to Halo at once. It is made when the scheduler starts; where
   `[halo] create_pool` is off, make it by `airflow pools set halo_api 4 "Batches that talk to HaloAgents at once"`.
   Batches that stay in the state *scheduled* wait for that pool.
4. In Halo, **pause the welcome series** until it is done: users who are new to Halo count as new contacts. Synced traits
   also change audiences, and may start series later (`segment_match`): pause what goes by a segment of theirs.

### Good to know
- `dry_run` reads and checks everything and sends nothing: the report says what a real run would take.
- The batches are planned once and cover companies that are created meanwhile. A batch that failed can be cleared and
  runs alone; sending a record twice does no harm. With a ledger (`AIRFLOW__HALO__LEDGER_CONN_ID`) it goes on where it
  stopped: what Halo has acknowledged isn't sent again.
- The report of the run is the XCom of `report`, a batch's own that of its `sync` task.
"""

from airflow.sdk import DAG, Param, conf

from airflow_provider_halo.operators import halo_sync

with DAG(
    dag_id="halo_backfill",
    schedule=None,
    max_active_runs=1,
    params={
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Read, check and count, but send nothing."
        ),
        "only": Param(
            None,
            type=["null", "array"],
            items={"type": "string"},
            title="Only these parts",
            description="One a line: companies, users, links, companies.traits, companies.context, "
            "users.context.KEY … Empty: everything.",
        ),
        "company_ids": Param(
            None,
            type=["null", "array"],
            title="Only these companies",
            description="Their keys, one a line; their users go with them. Empty: all.",
        ),
        "full": Param(
            False,
            type="boolean",
            title="Send all again",
            description="Also what was sent before and has not changed.",
            section="How to send it",
        ),
        "batch_size": Param(
            conf.getint("halo", "batch_size"),
            type="integer",
            minimum=1,
            maximum=1_000_000,
            title="Users in one batch",
            description="About so many; each batch is one task, and there are at most 1,000.",
            section="How to send it",
        ),
        "retry_rejected": Param(
            False,
            type="boolean",
            title="Try rejected records again",
            description="Also such as Halo has refused before and that have not changed since.",
            section="How to send it",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Send also when a query of the plan gives nothing any more.",
            section="How to send it",
        ),
        "max_rejected": Param(
            conf.get("halo", "max_rejected"),
            type="string",
            pattern=r"^\d+(\.\d+)?\s*%?$|^none$",
            title="Rejected records allowed",
            description="The run fails above it: a count (20), a share of all records (1%), or none for no limit.",
            section="How to send it",
        ),
        "max_left_out": Param(
            conf.get("halo", "max_left_out"),
            type="string",
            pattern=r"^\d+(\.\d+)?\s*%?$|^none$",
            title="Records stored in part allowed",
            description="Those that an entry is left out of. The run fails above it: a count (20), a share of all records "
            "(1%), or none for no limit.",
            section="How to send it",
        ),
    },
    doc_md=__doc__,
    tags=["halo"],
) as dag:
    # The tasks plan_batches, sync and report, with retries over half an hour. Every param with its default: without, Airflow
    # 3.2.0 and 3.2.1 can't store the DAG.
    halo_sync(
        only=dag.param("only", default=None),
        company_ids=dag.param("company_ids", default=None),
        batch_size=dag.param("batch_size", default=dag.params["batch_size"]),
        full=dag.param("full", default=False),
        dry_run=dag.param("dry_run", default=False),
        retry_rejected=dag.param("retry_rejected", default=False),
        force=dag.param("force", default=False),
        max_changed="none",  # a backfill may change everything
        max_rejected=dag.param("max_rejected", default=dag.params["max_rejected"]),
        max_left_out=dag.param("max_left_out", default=dag.params["max_left_out"]),
    )
