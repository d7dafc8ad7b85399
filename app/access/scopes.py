"""The scopes: what a principal may do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A right, by the name that keys and tokens have for it."""

    WRITE = "images:write"
    READ = "images:read"
    LIST = "images:list"
    DELETE = "images:delete"
    STREAMS = "streams:read"
    OPS = "ops:read"
    ADMIN = "admin"


MEANINGS = {
    Scope.WRITE: "Upload images.",
    Scope.READ: "Download and describe images.",
    Scope.LIST: "List images.",
    Scope.DELETE: "Delete images.",
    Scope.STREAMS: "Follow events, and watch pictures live.",
    Scope.OPS: "Read metrics, and why the gateway is not ready.",
    Scope.ADMIN: "Everything.",
}
