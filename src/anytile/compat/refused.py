"""Parts of `triton` that this package does not have on purpose: an import of one says what it is and what to do instead.

The rest of what a release has and the face has not is simply not there yet; what torch does without it is in
`compatcheck/declined.py`.
"""

__all__ = ["REFUSED", "why_refused"]

#: Beginning of a dotted name → the sentence about it.
REFUSED: dict[str, str] = {
    "triton.profiler": (
        "this part of Proton is not supported by anytile: its triton.profiler has sessions, scopes and states that tell how often and how "
        "long kernels ran, and its triton.profiler.viewer reads what they wrote"
    ),
    "triton.tools.build_extern": (
        "triton.tools.build_extern, which writes Python for a library of LLVM bitcode, is not supported by anytile; "
        "triton.language.extra.libdevice has every function of CUDA's libdevice on every target"
    ),
    "triton.runtime.build": (
        "triton.runtime.build, which compiles C with the system's compiler, is not supported by anytile: it needs no C compiler, "
        "and kernels for C programs are made by triton.tools.compile"
    ),
}


def why_refused(fullname: str) -> str:
    """The sentence about ``fullname`` or what it lies in; "" where nothing of it is refused."""
    return next((why for name, why in REFUSED.items() if fullname == name or fullname.startswith(name + ".")), "")
