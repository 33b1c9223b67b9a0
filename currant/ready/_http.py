"""`http` and `https`: probes that send a request to a web server of the command."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote_to_bytes, urlsplit

from currant._values.checks import PATTERN_ERRORS, check_flag
from currant._values.errors import CommandError
from currant._values.exchange import Tls
from currant.ready._arguments import checked_address, checked_file
from currant.ready._http_check import HttpProbe

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from currant._values.checks import StrOrPath
    from currant._values.probe import Probe

__all__ = ["http", "https"]

PORTS = {"http": 80, "https": 443}

TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A method, or the name of a header (RFC 9110)."""

CONTENT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""The value of a header."""

OWN_HEADERS = ("connection", "content-length", "transfer-encoding")
"""The headers that the probe sets itself, because it must know where the response ends."""

WITH_BODY = ("POST", "PUT", "PATCH")
"""The methods whose requests have a body, even if it is empty."""


def http(
    url: str,
    status: int | Collection[int] | None = 200,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: str | bytes | None = None,
    pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes] | None = None,
    ca: StrOrPath | None = None,
    verify: bool = True,
    own: bool = True,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that sends a request to the command and checks the response.

    Wait until a server answers::

        from currant import Command, Runner, ready

        async with Runner() as runner:
            healthy = ready.http("http://127.0.0.1:8000/", status=(200, 204))
            await runner.start(Command.parse("python -m http.server 8000", ready=healthy))
            runner.kill()

    Ask for more than a status::

        from currant import ready

        loaded = ready.http(
            "http://127.0.0.1:9200/_cluster/health",
            status=range(200, 300),
            headers={"Authorization": "Bearer secret"},
            pattern='"status": *"(green|yellow)"',
        )

    On Linux, a port that belongs to another process of the host does not count, unless `own` is
    False; see `tcp`.  Redirects are not followed.

    Args:
        url: a URL that starts with ``http://`` or ``https://``; if it contains a user name and a
            password (``http://user:password@host``), both are sent (RFC 7617).
        status: the expected status code, or a collection of codes, such as ``range(200, 400)``;
            None: any.
        method: the method of the request, in any case.
        headers: more headers of the request, by name.  ``Host``, ``User-Agent``, ``Accept`` and
            ``Authorization`` replace those of the probe; the headers that say how long the request
            is cannot be set.
        body: the body of the request; a str is sent as UTF-8.
        pattern: a regular expression, searched for in the body of the response, of which the first
            MiB counts: in the text if it is a str (UTF-8; U+FFFD replaces invalid bytes), in the
            bytes if it is bytes.  None: the body may be anything.  The body ends where the server
            says; if the server does not say so, it must close the connection.
        ca: for ``https://``, a file with the certificates of the authorities to trust, on the host
            of the command, from its working directory on; None: those that the host trusts.
        verify: for ``https://``, whether the certificate of the server must be valid, and for the
            host of the URL.
        own: whether the port must be the command's own.  False: another process of this host may
            have opened the port on behalf of the command, as Docker and systemd do.
        interval: seconds between two checks.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    check_flag("http: own", own)
    parts, port = _checked_url(url)
    host, port = checked_address("http", parts.hostname, port)
    method = _checked_method(method)
    content = _checked_body(body)
    has_body = content is not None or method in WITH_BODY
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    standard = {
        "Host": parts.netloc.rpartition("@")[2],
        "User-Agent": "currant",
        "Accept": "*/*",
        "Connection": "close",
        **({"Content-Length": str(len(content or b""))} if has_body else {}),
        **_credentials(parts.netloc),
    }
    fields = _merged(standard, _checked_headers(headers))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return HttpProbe(
        f"{parts.scheme}://{standard['Host']}{target}",
        (host, port),
        f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + (content or b""),
        method,
        _checked_status(status),
        _checked_pattern(pattern),
        _checked_tls(parts.scheme, ca, verify=verify),
        own,
        interval=interval,
        timeout=timeout,
    )


def https(
    url: str,
    status: int | Collection[int] | None = 200,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: str | bytes | None = None,
    pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes] | None = None,
    ca: StrOrPath | None = None,
    verify: bool = True,
    own: bool = True,
    interval: float | None = None,
    timeout: float | None = None,
) -> Probe:
    """Return a probe that sends an encrypted request to the command and checks the response.

    Wait for a server with a certificate that an authority of your own has signed::

        from currant import Command, ready

        up = ready.https("https://localhost:8443/health", ca="certificates/authority.pem")
        web = Command(["caddy", "run"], ready=up)

    Args:
        url: a URL that starts with ``https://``.
        status: as for `http`, and so are all that follow.
        method: the method of the request.
        headers: more headers of the request.
        body: the body of the request.
        pattern: a regular expression, searched for in the body of the response.
        ca: a file with the certificates of the authorities to trust.
        verify: whether the certificate of the server must be valid.
        own: whether the port must be the command's own.
        interval: seconds between two checks.
        timeout: seconds to wait; None: 60.

    Raises:
        CommandError: an argument is invalid.
    """
    if not str(url).lower().startswith("https:"):
        raise CommandError(f"https: url must start with https://, not {url!r}")
    return http(
        url,
        status,
        method=method,
        headers=headers,
        body=body,
        pattern=pattern,
        ca=ca,
        verify=verify,
        own=own,
        interval=interval,
        timeout=timeout,
    )


def _checked_url(url: object) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(str(url))
        port = PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError as error:
        raise CommandError(f"http: {url!r} is not a URL: {error}") from error
    is_plain = isinstance(url, str) and url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in PORTS or not parts.hostname or not is_plain:
        raise CommandError(
            f"http: url must start with http:// or https:// and a host, in ASCII, not {url!r}"
        )
    return parts, port


def _credentials(netloc: str) -> dict[str, str]:
    """Return the header with the user name and password of a URL, if there are any."""
    user, has_user, _ = netloc.rpartition("@")
    encoded = b64encode(unquote_to_bytes(user)).decode()
    return {"Authorization": f"Basic {encoded}"} if has_user else {}


def _checked_status(status: object) -> Collection[int] | None:
    if status is None:
        return None
    codes = (
        tuple(cast("Collection[object]", status)) if isinstance(status, Collection) else (status,)
    )
    if not codes or not all(code in range(100, 600) for code in codes):
        raise CommandError(f"http: status must be an integer from 100 to 599, not {status!r}")
    return frozenset(cast("tuple[int, ...]", codes))


def _checked_method(method: object) -> str:
    if not isinstance(method, str) or not TOKEN.fullmatch(method):
        raise CommandError(f"http: method must be a word such as 'POST', not {method!r}")
    return method.upper()


def _checked_headers(headers: object) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise CommandError("http: headers must be a mapping of names to values")
    # A value may be a secret, so no message shows one.
    checked: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", headers).items():
        if not isinstance(name, str) or not TOKEN.fullmatch(name):
            raise CommandError(f"http: headers: {name!r} is not the name of a header")
        if not isinstance(value, str) or not CONTENT.fullmatch(value):
            raise CommandError(f"http: headers: the value of {name!r} must be text on one line")
        if name.lower() in OWN_HEADERS:
            raise CommandError(f"http: headers: {name!r} is set by the probe itself")
        checked[name] = value
    return checked


def _merged(standard: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return all headers; a given one replaces a standard one, whatever its case."""
    replaced = {name.lower() for name in given}
    kept = {name: value for name, value in standard.items() if name.lower() not in replaced}
    return {**kept, **given}


def _checked_body(body: object) -> bytes | None:
    if not (body is None or isinstance(body, (str, bytes))):
        raise CommandError("http: body must be a str, bytes or None")
    return body.encode() if isinstance(body, str) else body


def _checked_pattern(pattern: object) -> re.Pattern[str] | re.Pattern[bytes] | None:
    if pattern is None:
        return None
    try:
        return re.compile(cast("str", pattern))
    except (*PATTERN_ERRORS, TypeError) as error:
        raise CommandError(f"http: {pattern!r} is not a regular expression: {error}") from error


def _checked_tls(scheme: str, ca: object, *, verify: bool) -> Tls | None:
    check_flag("http: verify", verify)
    if scheme == "http":
        if ca is not None or not verify:
            raise CommandError("http: ca and verify have an effect for https:// only")
        return None
    if ca is not None and not verify:
        raise CommandError("http: ca has no effect if verify is False; leave one of them out")
    return Tls(None if ca is None else checked_file("http: ca", ca), verify)
