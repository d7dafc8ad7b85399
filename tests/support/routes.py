"""The routes of the application, as `METHOD /path` and its handler."""

from fastapi.routing import iter_route_contexts
from starlette.routing import Route

from app.main import create_app
from app.settings import Settings


def routes():
    """Yield each of them; a route of another kind fails."""
    app = create_app(Settings.model_construct())
    for each in iter_route_contexts(app.routes):
        route = each.original_route
        assert isinstance(route, Route), route
        for method in route.methods:
            yield f"{method} {route.path_format}", route.endpoint
