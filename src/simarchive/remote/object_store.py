"""A source over obstore: https, S3, Google Cloud Storage and Azure.

obstore bounds each request, and tries again what may succeed: servers that are busy, connections that break.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

from simarchive.errors import InvalidDataError, NotFoundError, StorageIOError
from simarchive.ground.version import __version__
from simarchive.remote.source import overwritten

_REQUEST_S, _CONNECT_S = 60, 10
_MOST_ATTEMPTS, _RETRY_S = 4, 120
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


class ObjectStoreSource:
    """Ranges of the bytes of one object, by its URL.

    Credentials, region and endpoint come from the environment, by the names that the tools of each store use,
    such as ``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT_URL``.

    Raises
    ------
    InvalidDataError
        If obstore is not installed, or the URL is none that it knows.
    """

    def __init__(self, url: str) -> None:
        self.name = url
        self._obstore = obstore_library()
        self._store, self._path = opened_store(url)
        self._version: tuple[Any, ...] | None = None
        self._tag: str | None = None

    def tail(self, size: int) -> tuple[bytes, int]:
        """Return the last bytes, and the size of the object."""
        return self._get({"suffix": size})

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on: one request."""
        data, _ = self._get((offset, offset + size))
        if len(data) != size:
            raise overwritten(self.name)
        return data

    def close(self) -> None:
        """Let go of the connections."""
        self._store = None

    def _get(self, byte_range: object) -> tuple[bytes, int]:
        options: dict[str, Any] = {"range": byte_range}
        if self._tag is not None:
            options["if_match"] = self._tag
        try:
            found = self._obstore.get(self._store, self._path, options=options)
            meta = found.meta
            data = bytes(found.bytes())
        except Exception as error:  # obstore's own have no class in common but this
            self._explain(error)
        # Servers that know no conditions answer with whatever they have now.
        version = (meta["size"], meta.get("e_tag"), meta.get("last_modified"))
        if self._version is None:
            self._version = version
            tag = meta.get("e_tag")
            # A weak one never matches, by RFC 9110, 13.1.1.
            self._tag = tag if tag and not tag.startswith("W/") else None
        elif version != self._version:
            raise overwritten(self.name)
        return data, int(meta["size"])

    def _explain(self, error: Exception) -> NoReturn:
        known = self._obstore.exceptions
        words = str(error).split("\n")[0][:300]
        if isinstance(error, (known.NotFoundError, FileNotFoundError)):
            raise NotFoundError(f"there is no container '{self.name}'") from error
        if isinstance(error, known.PreconditionError):
            raise overwritten(self.name) from error
        if isinstance(error, (known.PermissionDeniedError, known.UnauthenticatedError)):
            raise StorageIOError(
                f"'{self.name}' may not be read with the credentials of the environment ({words}): for S3,"
                " set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true if it is public"
            ) from error
        if isinstance(error, known.NotSupportedError):
            raise StorageIOError(
                f"the server of '{self.name}' does not answer ranges of bytes: download the file as a whole"
            ) from error
        if isinstance(error, (known.BaseError, OSError, ValueError)):
            raise StorageIOError(f"'{self.name}' cannot be read: {words}") from error
        raise error


def opened_store(url: str) -> tuple[Any, str]:
    """Return the store of obstore that a URL is in, and the path within it.

    Raises
    ------
    InvalidDataError
        If the URL is none that obstore knows.
    """
    from obstore import store

    parts = urlsplit(url)
    is_web = parts.scheme.lower() in ("http", "https")
    client: Any = {
        "timeout": timedelta(seconds=_REQUEST_S),
        "connect_timeout": timedelta(seconds=_CONNECT_S),
        "user_agent": f"simarchive/{__version__}",
    }
    if parts.scheme.lower() == "http" or _allows_http():
        client["allow_http"] = True
    retry: Any = {"max_retries": _MOST_ATTEMPTS, "retry_timeout": timedelta(seconds=_RETRY_S)}
    # The whole URL of a page of the web: what follows a question mark may be a signature.
    base = url if is_web else f"{parts.scheme}://{parts.netloc}"
    from_url: Any = store.from_url  # its signatures name the options of each kind of store
    try:
        opened = from_url(base, client_options=client, retry_config=retry)
    except Exception as error:
        raise InvalidDataError(f"'{url}' cannot be opened: {error}") from error
    return opened, "" if is_web else unquote(parts.path.lstrip("/"))


def _allows_http() -> bool:
    """Return whether the environment names an endpoint without TLS, or says that there may be one."""
    named = any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS)
    return named or os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("true", "1")


def obstore_library() -> Any:
    """Return obstore, which is loaded when it is needed.

    Raises
    ------
    InvalidDataError
        If it is not installed.
    """
    try:
        import obstore
        import obstore.exceptions
    except ImportError as error:
        raise InvalidDataError(
            "for containers elsewhere, obstore is needed: pip install 'simarchive[remote]'"
        ) from error
    return obstore
