"""Makes the pool of the shipped DAGs when Airflow starts: tasks of a pool that isn't there would wait in silence."""

from __future__ import annotations

import logging

from airflow.configuration import conf
from airflow.exceptions import AirflowConfigException
from airflow.listeners import hookimpl
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from airflow_provider_halo.settings import DEFAULTS, POOL_DESCRIPTION

__all__ = ["PoolMaker", "make_pool"]

log = logging.getLogger(__name__)


class PoolMaker:
    """A listener for the start of Airflow's own processes."""

    @hookimpl
    def on_starting(self, component: object) -> None:
        """Make the pool, where ``[halo] create_pool`` says so and none of its name is there.

        Called when the scheduler, the DAG processor or the triggerer starts: they write to the metadata database anyway.
        Also when a task process starts, which has no access to it, and does nothing then.
        """
        if type(component).__name__ != "Job":
            return
        name = DEFAULTS.pool
        try:
            name = conf.get("halo", "pool", fallback=name) or name
            if not conf.getboolean("halo", "create_pool", fallback=DEFAULTS.create_pool):
                return
            slots = conf.getint("halo", "pool_slots", fallback=DEFAULTS.pool_slots)
            if make_pool(name, slots):
                log.info("Made the pool %r with %d slots for Halo's batches ([halo] create_pool)", name, slots)
        except IntegrityError:
            log.debug("Another process has just made the pool %r", name)
        except (AirflowConfigException, SQLAlchemyError, ValueError) as error:
            # Whatever is wrong with a pool, Airflow must start. The database's own text would hold SQL and parameters.
            log.warning(
                "The pool %r for Halo's batches could not be made (%s). Until it is there, they wait in the state "
                '`scheduled`: airflow pools set %s %d "%s"',
                name,
                type(error).__name__,
                name,
                DEFAULTS.pool_slots,
                POOL_DESCRIPTION,
            )


def make_pool(name: str, slots: int) -> bool:
    """Make a pool in the metadata database; one that exists is left as it is.

    :return: whether it was made.
    :raises ValueError: for a number of slots that a pool can't have.
    """
    from airflow.models.pool import Pool  # noqa: PLC0415 (plugins load before models may be imported)
    from airflow.utils.session import create_session  # noqa: PLC0415

    if slots < -1 or slots == 0:
        raise ValueError("slots must be above 0, or -1 for no limit")
    with create_session() as session:
        if session.scalar(select(Pool.id).where(Pool.pool == name)) is not None:
            return False
        session.add(Pool(pool=name, slots=slots, description=POOL_DESCRIPTION, include_deferred=False))
    return True
