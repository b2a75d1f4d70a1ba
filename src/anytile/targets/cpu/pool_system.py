"""What the thread pool asks of the system and the processor, as LLVM text: to sleep on a word and wake its sleepers, to pause, to read a clock.

`pool_ir` is written against these few functions.  It is they alone that differ between systems:

- ``@wait(word, expected)`` sleeps while ``word`` holds ``expected``; it may return early.  ``@wake(word, count)`` wakes sleepers.
- `PAUSE`: one instruction that lets a spinning thread's neighbour work.  `CLOCK`: a counter of constant frequency that user code may read.
- `RESET`: what a fresh process must do before the first launch, fork's child among them.
"""

from __future__ import annotations

__all__ = ["CLOCK", "PAUSE", "RESET", "declarations", "supported"]

_LINUX = """
declare i64 @syscall(i64, ...)
define internal void @wait(ptr %word, i32 %expected) nounwind {{
  call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i32 128, i32 %expected, ptr null)
  ret void
}}
define internal void @wake(ptr %word, i32 %count) nounwind {{
  call i64 (i64, ...) @syscall(i64 {futex}, ptr %word, i32 129, i32 %count)
  ret void
}}
"""

_WINDOWS = """
declare i32 @WaitOnAddress(ptr, ptr, i64, i32)
declare void @WakeByAddressAll(ptr)
define internal void @wait(ptr %word, i32 %expected) nounwind {
  %compare = alloca i32
  store i32 %expected, ptr %compare
  call i32 @WaitOnAddress(ptr %word, ptr %compare, i64 4, i32 -1)
  ret void
}
define internal void @wake(ptr %word, i32 %count) nounwind {
  call void @WakeByAddressAll(ptr %word)
  ret void
}
"""

# One mutex and one condition for every word: wakers broadcast, sleepers look again.
_POSIX = """
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_mutex_init(ptr, ptr)
declare i32 @pthread_cond_init(ptr, ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_cond_broadcast(ptr)
@mutex = internal global [128 x i8] zeroinitializer, align 64
@condition = internal global [128 x i8] zeroinitializer, align 64
define internal void @wait(ptr %word, i32 %expected) nounwind {
entry:
  call i32 @pthread_mutex_lock(ptr @mutex)
  br label %look
look:
  %value = load atomic i32, ptr %word seq_cst, align 4
  %same = icmp eq i32 %value, %expected
  br i1 %same, label %sleep, label %done
sleep:
  call i32 @pthread_cond_wait(ptr @condition, ptr @mutex)
  br label %look
done:
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
define internal void @wake(ptr %word, i32 %count) nounwind {
  call i32 @pthread_mutex_lock(ptr @mutex)
  call i32 @pthread_cond_broadcast(ptr @condition)
  call i32 @pthread_mutex_unlock(ptr @mutex)
  ret void
}
"""
_NEW_MUTEX = """
  call i32 @pthread_mutex_init(ptr @mutex, ptr null)
  call i32 @pthread_cond_init(ptr @condition, ptr null)
"""
RESET = {"linux": "", "windows": "", "posix": _NEW_MUTEX}

PAUSE = {
    "x86_64": "call void @llvm.x86.sse2.pause()",
    "aarch64": "call void @llvm.aarch64.isb(i32 15)",  # waits ~10 times longer than `yield`
}
_DECLARE_PAUSE = {"x86_64": "declare void @llvm.x86.sse2.pause()", "aarch64": "declare void @llvm.aarch64.isb(i32)"}
CLOCK = {"x86_64": "llvm.readcyclecounter", "aarch64": "llvm.readsteadycounter"}

_FUTEX_NUMBER = {"x86_64": 202, "aarch64": 98}


def supported(architecture: str) -> bool:
    """Whether the pool can be written for this processor."""
    return architecture in CLOCK


def declarations(architecture: str, system: str) -> str:
    """``@wait``, ``@wake``, and what `PAUSE` and `CLOCK` call.  ``system``: ``linux``, ``windows`` or ``posix``."""
    sleeping = {"linux": _LINUX.format(futex=_FUTEX_NUMBER[architecture]), "windows": _WINDOWS, "posix": _POSIX}[system]
    return f"declare i64 @{CLOCK[architecture]}()\n{_DECLARE_PAUSE[architecture]}\n{sleeping}"
