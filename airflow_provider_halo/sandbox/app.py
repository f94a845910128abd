"""The sandbox as an ASGI application: the API behind its gate, the admin calls and the page."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_halo.sandbox.admin import Admin
from airflow_provider_halo.sandbox.api import Api, answer
from airflow_provider_halo.sandbox.config import SandboxConfig
from airflow_provider_halo.sandbox.gate import Gate
from airflow_provider_halo.sandbox.page import Page
from airflow_provider_halo.sandbox.parts import Parts


def create_app(config: SandboxConfig | None = None, *, parts: Parts | None = None) -> FastAPI:
    """Build the application.

    :param config: how it behaves; None takes the defaults.
    :param parts: what it works on, where the caller keeps hold of it; None makes them from ``config``.
    """
    parts = parts or Parts.of(config or SandboxConfig())
    # Plain routes: bodies are read and checked by hand, so there is no schema that a docs page could show.
    app = FastAPI(
        title="HaloAgents sandbox",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        routes=[*Api(parts).routes(), *Admin(parts).routes(), *Page(parts).routes()],
        exception_handlers={404: _not_found, 405: _wrong_method},
    )
    app.add_middleware(Gate, parts=parts)
    return app


async def _not_found(request: Request, _: Exception) -> Response:
    return answer({"error": f"there is nothing at {request.url.path}"}, 404)


async def _wrong_method(request: Request, _: Exception) -> Response:
    return answer({"error": f"{request.url.path} doesn't take {request.method}"}, 405)
