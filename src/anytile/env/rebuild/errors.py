"""What stops a rebuild."""

from __future__ import annotations

from ...errors import AnytileError

__all__ = ["BuildFailed", "CannotRebuild", "RebuildError", "VerificationFailed"]


class RebuildError(AnytileError):
    """A rebuild stopped. The environment that was there is still in place, unless the message says otherwise."""


class CannotRebuild(RebuildError):
    """There is no plan: what was asked cannot be done here. Nothing was touched."""


class BuildFailed(RebuildError):
    """The user's tool failed to build the new environment."""


class VerificationFailed(RebuildError):
    """The new environment was built and does not work."""
