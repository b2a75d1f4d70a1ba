"""Mistakes in a launch, one class per kind.

LaunchError                    what a launch was given cannot work; names kernel, argument and remedy
├── GridError                  a grid that is no tuple of one to three integers within the limits
│   └── MissingGridError       no grid                                                        (RuntimeError)
├── UnknownMetaError           a grid function or heuristic that asks for a name which it is not given (KeyError)
├── ArgumentError              missing, unexpected or duplicate arguments                       (TypeError)
├── ArgumentTypeError          an argument of a type that no kernel parameter takes              (TypeError)
├── ArgumentRangeError         a number that its parameter's type cannot hold                    (OverflowError)
├── DeviceError                memory that the target cannot reach                               (ValueError)
├── ReadOnlyError              a read-only buffer passed to a parameter that the kernel stores to (ValueError)
├── StorageError               a tensor whose memory was freed                                   (ValueError)
├── OptionError                a launch keyword that neither kernel nor compiler knows           (KeyError)
└── OptionValueError           a launch keyword with an impossible value               (AssertionError, ValueError)
OutOfResources, PTXASError, AutotunerError, InterpreterError    the names that Triton's libraries catch

The built-in classes in brackets are what Triton raises for the same mistake, so ``except`` clauses written
for it go on working.
"""

from __future__ import annotations

from ..errors import AnytileError, OutOfResources, PTXASError, TextError

__all__ = [
    "ArgumentError",
    "ArgumentRangeError",
    "ArgumentTypeError",
    "AutotunerError",
    "DeviceError",
    "GridError",
    "InterpreterError",
    "LaunchError",
    "MissingGridError",
    "OptionError",
    "OptionValueError",
    "OutOfResources",
    "PTXASError",
    "ReadOnlyError",
    "StorageError",
    "UnknownMetaError",
]


class LaunchError(AnytileError):
    """A launch that cannot be carried out.  Base of the kinds below."""


class GridError(LaunchError, ValueError, TypeError):
    """The grid is missing, malformed or beyond the limits of `launcher.GRID_LIMITS`."""


class MissingGridError(GridError, RuntimeError):
    """A kernel was called like a function, without a grid."""


class UnknownMetaError(LaunchError, KeyError):
    """A grid function or a heuristic asks for an argument or meta-parameter that the launch does not have."""

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class ArgumentError(LaunchError, TypeError):
    """The arguments do not fit the kernel's parameters."""


class ArgumentTypeError(LaunchError, TypeError):
    """An argument is nothing that a kernel can take."""


class ArgumentRangeError(LaunchError, OverflowError):
    """An integer does not fit the type of its parameter (64 bits at most)."""


class DeviceError(LaunchError, ValueError):
    """The argument's memory is not where the target runs."""


class ReadOnlyError(LaunchError, ValueError):
    """The kernel stores through an argument whose memory is read-only."""

    @classmethod
    def of(cls, kernel: str, argument: str, place: str = "") -> ReadOnlyError:
        """``place``: a further line."""
        return cls(f"argument {argument} of kernel {kernel} is read-only memory, and the kernel stores to it; pass a writable copy{place}")


class StorageError(LaunchError, ValueError):
    """The tensor has elements but no memory: its storage was freed or never allocated."""


class DescriptorArgumentError(LaunchError, ValueError):
    """A tensor descriptor whose base, strides or block shape were assigned to after it was made, and no longer fit."""


class OptionError(LaunchError, KeyError):
    """A launch keyword is neither a parameter of the kernel nor a compile option."""

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0])


class OptionValueError(LaunchError, AssertionError, ValueError):
    """A compile option has a value that it cannot have."""


class InterpreterError(TextError):
    """The reference executor could not run a kernel."""


class AutotunerError(TextError):
    """No configuration could be chosen."""

    prefix = "Autotuner error: "
