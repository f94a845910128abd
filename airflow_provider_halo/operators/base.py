"""What the operators share: stopping, and data that Airflow never stores."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import DAG, BaseOperator, XComArg
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

from airflow_provider_halo.api.blocking import stop_running

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

__all__ = ["DataOperator", "StoppableOperator", "run_key_of"]


_KEY_FIELDS = frozenset({"user_id", "company_id"})


class StoppableOperator(BaseOperator):
    """An operator that stops sending at once when it is told to.

    Airflow's signal alone doesn't end a task: it would send for five seconds more until it is killed, beside the try that
    takes its place.
    """

    _renders_text = False  # while keys are rendered

    def on_kill(self) -> None:
        """Stop what is under way. What Halo has acknowledged until then is still written down in the ledger."""
        if isinstance(sys.exc_info()[1], AirflowTaskTimeout):
            # Airflow calls this once more while its time-out is on the way up. Nothing runs any more, and another
            # exception would take the time-out's place in callbacks.
            self.log.error("Timed out: not done within its execution_timeout of %s", self.execution_timeout)
            stop_running()
            return
        self.log.warning("Told to stop: a task that was cleared or marked, or a worker that shuts down")
        if not stop_running():
            sys.exit(1)  # between a query and the next: raised where the task is now, and tried again by Airflow

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        names = list(template_fields)
        others = [name for name in names if name not in _KEY_FIELDS]
        super()._do_render_template_fields(parent, others, context, jinja_env, seen_oids)
        # A key is the text that its template gives: native rendering would make 31 of "0x1F" and 100000.0 of "1e5".
        dag = self.get_dag()
        text_env = jinja_env if dag is None else dag.get_template_env(force_sandboxed=True)
        self._renders_text = True
        try:
            keys = [name for name in names if name in _KEY_FIELDS]
            super()._do_render_template_fields(parent, keys, context, text_env, seen_oids)
        finally:
            self._renders_text = False

    def _render(self, template: jinja2.Template, context: Context, dag: DAG | None = None) -> Any:
        if self._renders_text:
            return template.render(context)
        return super()._render(template, context, dag)


class DataOperator(StoppableOperator):
    """An operator with `data_fields`.

    Airflow keeps the rendered value of every template field in its database and shows it in the UI, so what holds traits
    must not be one. A data field takes Jinja, XComs and `expand` all the same.
    """

    data_fields: ClassVar[tuple[str, ...]] = ()

    def depend_on_data(self) -> None:
        """Run after the tasks whose XComs the data fields use. Call it when `__init__` has set them."""
        for name in self.data_fields:
            XComArg.apply_upstream_relationship(self, getattr(self, name))

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        # The one place that Airflow calls for single and for mapped tasks, and that knows (by `seen_oids`) which values
        # came out of an XCom: Jinja inside such data must stay text, or whoever writes the data could run templates.
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        # Where a template field may name a file, a text in people's data that happens to end alike is still a text.
        file_extensions, self.template_ext = self.template_ext, ()
        for name in self.data_fields:
            value = getattr(parent, name)
            self._check_upstream(name, value)
            setattr(parent, name, self.render_template(value, context, jinja_env, seen_oids))
        self.template_ext = file_extensions

    def _check_upstream(self, name: str, value: Any) -> None:
        # partial() looks at template fields only, so it hasn't made this task wait for the one whose XCom it uses.
        for operator, _ in XComArg.iter_xcom_references(value):
            if operator.task_id not in self.upstream_task_ids:
                raise AirflowFailException(
                    f"{name} comes from the task {operator.task_id!r}, but partial() doesn't make {self.task_id!r} wait "
                    f"for it: set {operator.task_id} >> {self.task_id} in the DAG, or give {name} to expand()."
                )


def run_key_of(context: Context) -> str:
    """What all tasks of a DAG run call it: the DAG and the run."""
    ti = context["ti"]
    return f"{ti.dag_id} {ti.run_id}"
