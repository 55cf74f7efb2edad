"""A folder of an object store that heeds ``If-None-Match: *``: S3 and others."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from urllib.parse import quote

from simarchive.errors import InvalidDataError, NotFoundError, StorageIOError
from simarchive.remote.object_store import obstore_library, opened_store

_MOST_BYTES = 5 << 30
"""What S3 takes in one request: only that has a condition."""


class BucketFolder:
    """What begins with a prefix in a bucket.

    Raises
    ------
    InvalidDataError
        If obstore is not installed, or the URL is that of a web server, which cannot list.
    """

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        if url.lower().startswith(("http:", "https:")):
            raise InvalidDataError(
                f"'{url}' is at a web server, which cannot list its files: name a collection by its"
                " s3://, gs:// or az:// URL"
            )
        self._obstore = obstore_library()
        self._store, prefix = opened_store(self.name)
        self._prefix = f"{prefix}/" if prefix else ""

    def exists(self) -> bool:
        """Return True: there are no folders, only names."""
        return True

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects below a folder, sorted."""
        start = f"{self._prefix}{folder}/"
        try:
            paths = [found["path"] for page in self._obstore.list(self._store, start) for found in page]
        except Exception as error:  # obstore's own have no class in common but this
            raise self._error(error, f"'{self.place_of(folder)}' cannot be listed") from error
        names = (path.removeprefix(start) for path in paths)
        return sorted(name for name in names if "/" not in name and not name.startswith("."))

    def tail(self, name: str, size: int) -> tuple[bytes, int]:
        """Return the last bytes of an object, and its size."""
        try:
            found = self._obstore.get(self._store, self._prefix + name, options={"range": {"suffix": size}})
            return bytes(found.bytes()), int(found.meta["size"])
        except Exception as error:
            raise self._error(error, f"'{self.place_of(name)}' cannot be read") from error

    def create(self, name: str, content: Path | bytes) -> None:
        """Make an object in one conditional request."""
        if isinstance(content, Path) and content.stat().st_size > _MOST_BYTES:
            raise InvalidDataError(
                f"'{content}' has {content.stat().st_size:,} bytes, and an object store takes at most"
                f" {_MOST_BYTES:,} in one request: divide the work"
            )
        try:
            self._obstore.put(self._store, self._prefix + name, content, mode="create", use_multipart=False)
        except Exception as error:
            if isinstance(error, (self._obstore.exceptions.AlreadyExistsError, FileExistsError)):
                raise FileExistsError(self.place_of(name)) from error
            raise self._error(error, f"'{self.place_of(name)}' cannot be written") from error

    def place_of(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.name}/{quote(name)}"

    def check_conditions(self) -> None:
        """Make an object twice: the second time has to fail."""
        name = f".probe-{secrets.token_hex(8)}"
        self.create(name, b"1")
        try:
            self.create(name, b"2")
        except FileExistsError:
            return
        finally:
            with contextlib.suppress(Exception):  # Who may only add cannot delete, and it harms nobody.
                self._obstore.delete(self._store, self._prefix + name)
        raise StorageIOError(
            f"the object store of '{self.name}' ignores the condition If-None-Match, so that two writers"
            " could replace each other's shards: use one that heeds it, or write to a shared file system"
        )

    def _error(self, error: Exception, what: str) -> Exception:
        known = self._obstore.exceptions
        words = str(error).split("\n")[0][:300]
        if isinstance(error, (known.NotFoundError, FileNotFoundError)):
            return NotFoundError(f"{what}: it is not there")
        if isinstance(error, (known.PermissionDeniedError, known.UnauthenticatedError)):
            return StorageIOError(
                f"{what} with the credentials of the environment ({words}): for S3, set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true if it is public"
            )
        if isinstance(error, (known.BaseError, OSError, ValueError)):
            return StorageIOError(f"{what}: {words}")
        return error
