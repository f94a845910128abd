"""The one exception of the sandbox: a request that the API refuses, as a status and a JSON body."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is refused.

    :param status: the HTTP status.
    :param error: the text of the answer's ``error``; it names fields and keys, never the values of traits.
    :param more: further members of the answer.
    """

    def __init__(self, status: int, error: str, **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.more = more

    @property
    def body(self) -> dict[str, object]:
        """The answer's JSON object."""
        return {"error": self.error, **self.more}
