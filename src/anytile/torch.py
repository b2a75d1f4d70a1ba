"""torch.compile through anytile, in one call.

    import anytile.torch
    anytile.torch.enable()

Before anything has imported another triton.  From then on `import triton` is anytile here and in the processes that torch
starts, and where there is no GPU torch.compile writes Triton kernels for CPU tensors, if the release of torch can.  docs/torch.md has the details.
"""

from __future__ import annotations

from .inductor.account import Account
from .inductor.reach import install_here, reach_children
from .inductor.settings import SETTINGS, Setting, release_of

__all__ = ["Account", "enable"]


def enable(cpu: bool | None = None, say: bool = True) -> Account:
    """Sets what the installed torch needs so that torch.compile uses anytile; returns what was done, and prints it if ``say``.

    ``cpu``: whether CPU tensors go through Triton too, instead of Inductor's C++ backend; None: where torch has no GPU.  Calling it
    again does no harm.  RuntimeError where another triton has been imported already, ModuleNotFoundError where there is no torch.
    """
    installed, reached = install_here(), reach_children()

    import torch
    import torch._inductor.config as config
    import triton

    account = Account(torch.__version__, triton.__version__)
    account.note("import triton", "answered by anytile" if installed else "was answered by anytile before")
    account.note("child processes", "get the face by PYTHONPATH" if reached else "had the face before")
    if forgotten := _ask_again():
        account.note("torch.utils._triton", f"{', '.join(forgotten)} had looked for Triton before it was here, and will look again")
    release = release_of(torch.__version__)
    for setting in SETTINGS if cpu is not False else ():
        _apply(setting, config, release, account, bool(cpu))
    if cpu is False:
        account.note("cpu_backend", f"left at {getattr(config, 'cpu_backend', 'cpp')!r}, as cpu=False asks", done=False)
    if say:
        print(account)
    return account


def _apply(setting: Setting, config: object, release: tuple[int, int], account: Account, demanded: bool) -> None:
    what = f"{setting.name} = {setting.value!r}"
    if release < setting.since:
        account.note(what, f"is an option of torch {setting.since[0]}.{setting.since[1]} and later", done=False)
    elif setting.beside_gpu and not (setting.on_demand and demanded) and _has_gpu():
        account.note(what, setting.beside_gpu, done=False)
    elif getattr(config, setting.name) == setting.value:
        account.note(what, "was so before")
    else:
        setattr(config, setting.name, setting.value)
        account.note(what, setting.why)


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _ask_again() -> list[str]:
    """Empties torch's memory of whether there is a Triton: it asks once per process.  The names of what had answered."""
    import torch.utils._triton as probes

    asked = []
    for name, probe in list(vars(probes).items()):
        if name.startswith("has_") and hasattr(probe, "cache_info") and probe.cache_info().currsize:
            probe.cache_clear()
            asked.append(name)
    return asked
