"""Errors as they are told: one table, one shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Problem(Exception):
    """An answer that is not the one asked for; `code` names a row of PROBLEMS. `more`
    goes into the body as it is."""

    def __init__(
        self,
        code: str,
        message: str = "",
        details: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status, default = PROBLEMS[code]
        self.message = message or default
        self.details = details or []
        self.headers = dict(headers or {})
        if self.status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2: a MUST
        self.more = dict(more or {})

    def body(self, request_id: str) -> dict[str, Any]:
        """What is told, in the one shape of every error."""
        told: dict[str, Any] = {
            "error": PHRASES[self.status],
            "message": self.message,
            "code": self.code,
            "requestId": request_id,
        }
        if self.details:
            told["details"] = self.details
        if self.status == 429:
            told["retryAfter"] = int(self.headers["Retry-After"])
        return told | self.more


# The words are the service's own: Python's HTTPStatus names some anew in 3.13.
PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    416: "Requested Range Not Satisfiable",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}
PROBLEMS: dict[str, tuple[int, str]] = {
    "INVALID_REQUEST": (400, "The request is not valid"),
    "INVALID_SESSION_ID": (400, "Invalid session ID"),
    "UNAUTHORIZED": (401, "Unauthorized"),
    "INVALID_CREDENTIALS": (401, "Invalid email or password"),
    "CROSS_SITE": (403, "Requests from another site are refused"),
    "NOT_OWNER": (403, "You do not have permission to access this session"),
    "NOT_OWNER_SHARE": (403, "You do not have permission to share this session"),
    "NOT_FOR_YOU": (403, "This link was made for another account"),
    "REGISTRATION_CLOSED": (403, "New accounts are not open to everyone here"),
    "SIGN_IN_ELSEWHERE": (403, "Signing in is done elsewhere, at the team's own page"),
    "WRONG_PASSWORD": (403, "The current password is not right"),
    "SESSION_NOT_FOUND": (404, "Session not found"),
    "SHARE_NOT_FOUND": (404, "Link not found"),
    "SHARED_SESSION_NOT_FOUND": (404, "Shared session not found"),
    "USER_NOT_FOUND": (404, "User not found"),
    "TOKEN_NOT_FOUND": (404, "Token not found"),
    "NOT_FOUND": (404, "There is nothing here"),
    "METHOD_NOT_ALLOWED": (405, "This method is not allowed here"),
    "EMAIL_TAKEN": (409, "There is already an account with this email"),
    "EDIT_CONFLICT": (409, "The session was changed since you read it"),
    "LIMIT_REACHED": (409, "There is no room for more"),
    "BODY_TOO_LARGE": (413, "The body is larger than 1 MiB"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "The body must be application/json"),
    "RANGE_NOT_SATISFIABLE": (416, "There is no such part of it"),
    "RATE_LIMITED": (429, "Too many attempts, please wait"),
    "HEADERS_TOO_LARGE": (431, "The headers are too large"),
    "INTERNAL_ERROR": (500, "Something went wrong on our side"),
    "NOT_IMPLEMENTED": (501, "This is not offered"),
    "BUSY": (503, "Too busy at the moment, please try again"),
    "STORE_UNAVAILABLE": (503, "The service is briefly unavailable"),
}
HTTP_ERRORS = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    416: "RANGE_NOT_SATISFIABLE",
    431: "HEADERS_TOO_LARGE",
    501: "NOT_IMPLEMENTED",
}
HTTP_ERROR_HEADERS = ("Allow", "Content-Range")
QUOTA_MESSAGES = {
    "TOO_MANY_SESSIONS": "An account may have {0.sessions} sessions",
    "TOO_MANY_BYTES": "The sessions of an account may take {0.megabytes} MB",
    "TOO_MANY_LINKS": "A session may have {0.links} links",
    "TOO_MANY_TOKENS": "An account may have {0.tokens} tokens",
}


def code_of(status: int) -> str:
    """The code of an error of which only HTTP's status is known."""
    fallback = "INVALID_REQUEST" if status < 500 else "INTERNAL_ERROR"
    return HTTP_ERRORS.get(status, fallback)
