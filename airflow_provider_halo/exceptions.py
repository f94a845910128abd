"""Every error that ends a run, as one tree; what is wrong with a single record is a `Problem`, not an exception.

HaloError
├── PlanError                 the plan file is wrong: every problem at once, each with its place
├── SetupError                something around the plan is missing: a connection, a driver, a table, a secret
│   ├── SecretMissing         the identity secret is needed and the connection has none
│   ├── ConnectionMissing     Airflow gives no such connection: it isn't there, or Airflow can't be asked just now
│   ├── SourceError           the source database refused a query, or can't be reached
│   │   └── QueryRefused          it will refuse it again: the SQL is wrong
│   └── LedgerError           the ledger database refused a statement, or can't be reached
├── ApiError                  Halo's answer to one request, or its absence
│   ├── RequestRefused        400: Halo will not store what was sent
│   │   └── RequestBlocked        a firewall or proxy in front of Halo refused this request, and may let others pass
│   ├── PayloadTooLarge       413: the body is larger than Halo takes
│   ├── AuthError             a credential is wrong; no retry cures it
│   │   ├── WidgetKeyRefused      401
│   │   └── TokenRefused          403
│   ├── TransientError        429, 5xx, an unreadable answer: worth another try
│   │   ├── UnreadableAnswer      a yes that isn't Halo's: a page, or half an answer
│   │   └── Unreachable           no answer at all: refused, reset, timed out
│   └── UnexpectedAnswer      a status that the API doesn't document (404, a redirect): the base URL is likely wrong
├── DeliveryStopped           a run that can't go on, for a cause that is no single answer
│   ├── HaloUnavailable       no request succeeded for the whole time budget
│   ├── SystemicRefusal       many single records refused, all for one cause
│   ├── ContextRefused        Halo takes no `context` in users/update
│   └── UnlikelyChange        a run would change more than a run should; nothing was sent
└── RecordsNotStored          a call of the hook, or a task, went to its end, and not what it should is stored

A sync that had begun raises one of them inside of a `SyncStopped` (in ``sync.stopped``), which brings the report along.
Operators and commands take it out, so whoever calls them never meets it.

What an operator raises is of two types: its own from this tree, and Airflow's ``AirflowFailException``, which isn't tried
again, or ``AirflowException``, which is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ApiError",
    "AuthError",
    "ConnectionMissing",
    "ContextRefused",
    "DeliveryStopped",
    "HaloError",
    "HaloUnavailable",
    "LedgerError",
    "PayloadTooLarge",
    "PlanError",
    "PlanProblem",
    "QueryRefused",
    "RecordsNotStored",
    "RequestBlocked",
    "RequestRefused",
    "SecretMissing",
    "SetupError",
    "SourceError",
    "SystemicRefusal",
    "TokenRefused",
    "TransientError",
    "UnexpectedAnswer",
    "UnlikelyChange",
    "Unreachable",
    "UnreadableAnswer",
    "WidgetKeyRefused",
]


class HaloError(Exception):
    """Base of every error that this package raises on purpose. Its text never holds a secret or a trait."""


@dataclass(frozen=True, order=True, slots=True)
class PlanProblem:
    """One thing that is wrong in a plan, where it stands, and the way out.

    :param file: the file, as the user named it.
    :param line: line in that file, from 1; 0 where the file as a whole is meant.
    :param key: dotted path of the key, for example ``companies.context.integrations.type``.
    :param message: what is wrong and what to do.
    """

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class PlanError(HaloError):
    """The plan can't be used. ``problems`` lists everything that was found, in the order of the file."""

    def __init__(self, problems: Sequence[PlanProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SetupError(HaloError):
    """Something outside the plan is missing; the text is one sentence that names the mend."""


class SecretMissing(SetupError):
    """The identity secret is needed and the Halo connection has none."""


class ConnectionMissing(SetupError):
    """Airflow gives no connection of that name. It says the same of one that is there while its API server is away."""


class SourceError(SetupError):
    """The source database refused a query or can't be reached."""


class QueryRefused(SourceError):
    """The source database refused a query for its SQL, and will do so again."""


class LedgerError(SetupError):
    """The ledger database refused a statement or can't be reached. What Halo has stored meanwhile is sent once more."""


class ApiError(HaloError):
    """One request to Halo that wasn't answered with success.

    :param message: what Halo said, shortened, without anything of the request.
    :param status: HTTP status; None where no answer came.
    :param path: path of the request below the base URL, for example ``users/update``.
    :param reserved_keys: of a 400 for reserved traits: every offending key.
    :param user_errors: of an answer that blames users by name: ``{user_id: error}``.
    :param retry_after: seconds that the server asked to wait; None where it didn't.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        path: str = "",
        reserved_keys: Sequence[str] = (),
        user_errors: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message
        self.status = status
        self.path = path
        self.reserved_keys = tuple(reserved_keys)
        self.user_errors = dict(user_errors or {})
        self.retry_after = retry_after
        super().__init__(f"{path}: {status or 'no answer'}: {message}" if path else message)


class RequestRefused(ApiError):
    """400: Halo refuses what was sent; sending it again can't help."""


class RequestBlocked(RequestRefused):
    """A firewall or proxy in front of Halo refused this request, for something in it or because it refuses all."""


class PayloadTooLarge(ApiError):
    """413: the body is larger than Halo takes."""


class AuthError(ApiError):
    """A credential is wrong. The run stops, and Airflow doesn't retry it."""


class WidgetKeyRefused(AuthError):
    """401: Halo doesn't know the widget key."""


class TokenRefused(AuthError):
    """403 in Halo's own words: the identity token is missing, expired, or signed with another secret."""


class TransientError(ApiError):
    """429, 5xx, or an answer that can't be read: the same request is worth another try."""


class UnreadableAnswer(TransientError):
    """2xx with something that isn't JSON, such as a page that asks whether you are human: it isn't taken for a yes."""


class Unreachable(TransientError):
    """No answer: the connection was refused, reset or timed out. Whether Halo acted on the request isn't known."""


class UnexpectedAnswer(ApiError):
    """A status that the API doesn't document, for example 404 or a redirect."""


class DeliveryStopped(HaloError):
    """A run that can't go on."""


class HaloUnavailable(DeliveryStopped):
    """No request succeeded for the whole time budget (`max_retry_seconds`), or a firewall lets none pass."""


class SystemicRefusal(DeliveryStopped):
    """Twenty single records in a row were refused for one cause: the plan's, or a firewall's, not the records'."""


class ContextRefused(DeliveryStopped):
    """Halo takes no ``context`` inside users/update; ``send_context: false`` in the plan sends users without it."""


class UnlikelyChange(DeliveryStopped):
    """A run would change more than a run should: the plan or the source is likely wrong. Nothing was sent."""


class RecordsNotStored(HaloError):
    """A call of `HaloHook` or a task went to its end, and more records were rejected than allowed, or some not delivered.

    Of a task also: there was nothing to send, or a batch gave no report.

    :param message: how many, and why.
    :param report: what became of all records, as `ReportDict`: counts and keys, never traits.
    """

    def __init__(self, message: str, report: Mapping[str, Any]) -> None:
        self.report: dict[str, Any] = dict(report)
        super().__init__(message)
