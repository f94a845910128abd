"""Wrong uses, each of which `mypy --strict` tells by the line. It is never run."""

from airflow_provider_halo.hooks import ContextEntry, HaloHook, UserRecord
from airflow_provider_halo.operators import ContextOperator, IdentifyOperator, ReportOperator, SyncOperator, halo_sync

NO_KEY: UserRecord = {"traits": {"plan": "pro"}}
UNKNOWN_KEY: UserRecord = {"user_id": "u1", "name": "Ada"}
NO_SUCH_TYPE: ContextEntry = {"label": "CRM", "value": 1, "type": "stats"}
HaloHook().update_users("u1")
HaloHook().update_users([{"user_id": "u1"}], max_rejected=0.5)
HaloHook().update_users([{"user_id": "u1"}])["users"]["accepted"]
HaloHook().identify_user("u1", traits="pro")
HaloHook().link_user("u1", None)
IdentifyOperator(task_id="t", user_id=["u1"])
IdentifyOperator(task_id="t", records="u1")
IdentifyOperator(task_id="t", user_id="u1", fail_open="yes")
ContextOperator(task_id="t", user_id="u1", entries=[1])
SyncOperator(task_id="t", batch=1)
ReportOperator(task_id="t")
halo_sync(batch_size=[1])
