"""Root of anytile's errors.

AnytileError                     everything anytile raises on purpose
├── IRError                      the tile IR is malformed: a bug in anytile, never the user's
├── UnsupportedError             something the language has and this target (or anytile so far) has not
├── DeviceAssertError            a kernel's own assertion failed while it ran
├── OutOfResources               a kernel needs more of the hardware than there is; Triton's libraries catch it by this name
├── PTXASError                   the assembler for NVIDIA's PTX refused a kernel; likewise
├── frontend.errors.CompilationError …   a mistake in a kernel's source
└── runtime.errors.LaunchError …         a mistake in a launch

Each message says what happened, where, and what to do about it.
"""

from __future__ import annotations

__all__ = ["AnytileError", "DeviceAssertError", "IRError", "OutOfResources", "PTXASError", "SettingError", "TextError", "UnsupportedError"]


class AnytileError(Exception):
    """Base of all errors that anytile raises on purpose."""


class IRError(AnytileError):
    """The tile IR broke one of its rules.  Please report it: no kernel may cause this."""


class DeviceAssertError(AnytileError, RuntimeError):
    """A ``tl.device_assert`` failed while a kernel ran.  What the kernel had stored before stays stored."""


class SettingError(AnytileError, RuntimeError):
    """An environment variable has a value that cannot be used, or what it should name is not there."""


class UnsupportedError(AnytileError, NotImplementedError):
    """``what`` is not available on ``where``; ``remedy`` says what to do instead."""

    def __init__(self, what: str, where: str = "", remedy: str = ""):
        self.what, self.where, self.remedy = what, where, remedy
        message = f"{what} is not supported" + (f" on {where}" if where else "")
        super().__init__(message + (f"; {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # Default pickling would call the class with the whole message as ``what``.
        return type(self), (self.what, self.where, self.remedy)


class OutOfResources(AnytileError):
    """A kernel needs more of a hardware resource than there is.  Autotuning skips such a configuration.

    ``detail``: what needs it and what would fit, where that is known.
    """

    def __init__(self, required: int, limit: int, name: str, detail: str = ""):
        self.required, self.limit, self.name, self.detail = required, limit, name, detail
        super().__init__(required, limit, name, detail)  # what pickle calls the class with

    def __str__(self) -> str:
        return (
            f"out of resource: {self.name}, Required: {self.required}, Hardware limit: {self.limit}. "
            "Reducing block sizes or `num_stages` may help." + (f"\n{self.detail}" if self.detail else "")
        )


class TextError(AnytileError):
    """An error that is its message."""

    prefix = ""

    def __init__(self, error_message: str | None = None):
        self.error_message = error_message
        super().__init__(error_message)

    def __str__(self) -> str:
        return self.prefix + (self.error_message or "")


class PTXASError(TextError):
    """The assembler for NVIDIA's PTX refused a kernel."""

    prefix = "PTXAS error: "
