"""The address of a system in one spelling, so that two jobs that mean the same system are known to mean it."""

import hashlib
import json
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from connectors.http_settings import is_loopback
from connectors.settings import Settings, reveal

_DEFAULT_PORTS = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636, "postgresql": 5432, "mysql": 3306}


def address_of(connector: str, settings: Settings, *, folder: Path) -> str:
    """Where a system is: what its settings say, else their normalised ``url``; without one, a digest of them all.

    Never a credential. Raises: SettingsError when the address refers to something that is not there.
    """
    place = settings.place(folder=folder)
    if place is not None:
        return f"{connector}:{place}"
    url = getattr(settings, "url", None)
    if isinstance(url, str):
        return normalised(reveal(url, folder=folder))
    content = json.dumps(settings.model_dump(mode="json"), sort_keys=True, ensure_ascii=False, default=str)
    return f"{connector}:{_digest(content)}"


def normalised(url: str) -> str:
    """An address with lower-case scheme and host, without default port, trailing slash, user or password.

    All names of this machine are one. A query stays as a digest, because it may tell tenants apart and may hold a
    secret. Source: RFC 3986 section 6.2.
    """
    parts = urlsplit(url.strip())
    scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".").lower()
    host = "localhost" if is_loopback(host) else f"[{host}]" if ":" in host else host
    port = _port(parts)
    default = _DEFAULT_PORTS.get(scheme.partition("+")[0])
    where = host if port is None or port == default else f"{host}:{port}"
    path = "/".join(part for part in unquote(parts.path).split("/") if part not in ("", "."))
    query = f"?{_digest(parts.query)}" if parts.query else ""
    return f"{scheme}://{where}{f'/{path}' if path else ''}{query}"


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
