"""Arguments that hold people's data: rendered like template fields, but never shown or stored by Airflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import XComArg
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_halo.operators.stopping import StoppableOperator

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context


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
        for name in self.data_fields:
            value = getattr(parent, name)
            self._check_upstream(name, value)
            setattr(parent, name, self.render_template(value, context, jinja_env, seen_oids))

    def _check_upstream(self, name: str, value: Any) -> None:
        # partial() looks at template fields only, so it hasn't made this task wait for the one whose XCom it uses.
        for operator, _ in XComArg.iter_xcom_references(value):
            if operator.task_id not in self.upstream_task_ids:
                raise AirflowFailException(
                    f"{name} comes from the task {operator.task_id!r}, but partial() doesn't make {self.task_id!r} wait "
                    f"for it: set {operator.task_id} >> {self.task_id} in the DAG, or give {name} to expand()."
                )
