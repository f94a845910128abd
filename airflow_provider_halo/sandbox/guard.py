"""Who may use the page and the admin calls, which have no key: programs and browsers on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_halo.sandbox.config import is_loopback
from airflow_provider_halo.sandbox.refusal import Refusal

Endpoint = Callable[[Request], Awaitable[Response]]


def guarded(endpoint: Endpoint, *, open_admin: bool) -> Endpoint:
    """The endpoint with ``check_admin`` before it; its refusals become JSON answers."""

    async def call(request: Request) -> Response:
        try:
            check_admin(request, open_admin=open_admin)
            return await endpoint(request)
        except Refusal as refusal:
            return Response(msgspec.json.encode(refusal.body), refusal.status, media_type="application/json")

    return call


def check_admin(request: Request, *, open_admin: bool) -> None:
    """Let a request through to the page or an admin call.

    :param open_admin: whether other machines may, too.
    :raises Refusal: 403 for another machine, for a name that merely leads here (DNS rebinding), and for a form or
        script of a foreign web page.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Refusal(403, "The sandbox answers no requests of other web pages")
    if open_admin:
        return
    if request.client is None or not is_loopback(request.client.host):
        raise Refusal(403, "The page and /_sandbox are for this machine only; --open-admin opens them to others")
    if not is_loopback(request.url.hostname or ""):
        raise Refusal(403, "Use the sandbox by 127.0.0.1 or localhost; --open-admin allows other names")
