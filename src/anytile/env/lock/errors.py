"""What can go wrong while a set of packages is sought. Nothing has been written when one of these is raised."""

from __future__ import annotations

__all__ = ["ConflictError", "LockError", "NetworkError", "RequestError"]


class LockError(ValueError):
    """Base of all; the message is whole sentences for the user."""


class RequestError(LockError):
    """The request itself cannot be meant: a wrong platform, a contradiction, a file that is not there."""


class NetworkError(LockError):
    """A package index did not answer."""

    def __init__(self, url: str, why: str) -> None:
        from urllib.parse import urlsplit
        from urllib.request import getproxies, proxy_bypass

        at = urlsplit(url)
        proxy = getproxies().get(at.scheme) if at.hostname and not proxy_bypass(at.hostname) else None
        through = f" (through the proxy {proxy.rpartition('@')[2]}, which the environment names)" if proxy else ""  # without a password
        super().__init__(
            f"could not reach {url}{through}: {why}. Nothing was written. Check the network or the proxy; --mirror FROM=TO names another server"
        )


class ConflictError(LockError):
    """No set of versions satisfies the request."""

    def __init__(self, where: str, why: str) -> None:
        self.where, self.why = where, why
        super().__init__(f"nothing satisfies the request on {where}; nothing was written. The resolver says:\n{why}")
