"""What the thread pool keeps in memory, for its native half and for those who call it: the pool's own words, and the record of a launch.

The pool is the global `@pool`; `places` says where its words are.  A launch lies in the memory of its caller (`RECORD`), as one pointer is
the cheapest argument of a ctypes call.
"""

from __future__ import annotations

__all__ = [
    "ANY_GRID",
    "ARENAS",
    "BESIDE",
    "CELL",
    "FIRST",
    "LAUNCHER",
    "LINE",
    "MOST_RANGES",
    "MORE_INLINE",
    "MORE_SHARED",
    "OTHER_GRID",
    "OUT_OF_MEMORY",
    "POOL_BYTES",
    "RECORD",
    "STATUS",
    "TRY_AGAIN",
    "TRY_SOON",
    "load_record",
    "new_cell",
    "places",
    "record_type",
]

# Low two bits of what @launch and @resume return; 0 is "done".
MORE_SHARED = 1  # the time slice is over: call @resume
MORE_INLINE = 2  # the time slice is over: call @launch again with `first` = result >> 2
STATUS = 3  # the status word is not zero
OTHER_GRID = 4 | STATUS  # nothing was run: the grid is larger than the kernel was compiled for
OUT_OF_MEMORY = -1  # status: no memory for a worker's scratch

ANY_GRID = (2**31 - 1, 2**31 - 1, 2**31 - 1)

LAUNCHER = "anytile_launcher"  # the variable of a kernel's object that says how to launch parts of it (`shared_loop`)
ARENAS = 1024
MOST_RANGES = 64

# What the pool knows of a kernel: each word's offset.  `new_cell` says what they are.
CELL = {name: 8 * i for i, name in enumerate(("ticks", "stretch", "gx", "gy", "gz", "ranges", "try.alone"))}
TOGETHER = 10  # `stretch` where programs save work by running one after the other
TRY_AGAIN = 64  # launches that are shared until the next is begun alone, to see what programs take there
TRY_SOON = 2  # the same at first, and after one that was alone to its end


def new_cell(together: bool = False, ordered: bool = False, programs: tuple[int, int, int] = ANY_GRID) -> tuple[int, ...]:
    """A kernel's cell before its first launch; the parameters are those of `pool.Entry`.

    Clock ticks per program, which the pool notes, 0 where none has run; by how much it lengthens what a thread takes at a time; the
    extents up to which the kernel is right; into how many ranges programs are divided at most; when a launch is begun alone.
    """
    return 0, TOGETHER if together else 1, *programs, 1 if ordered else MOST_RANGES, TRY_SOON


# Each group has cache lines of its own: what one core writes often never shares a line with what others read.
_GROUPS = (
    {"generation": "i32"},
    {"sleepers": "i32"},
    {"inside": "i32", "waiting": "i32"},
    {"dry": "i64"},
    {"lock": "i32", "open": "i32", "owner": "i64"},
    {"status": "i32"},
    {
        "kernel": "ptr",
        "args": "ptr",
        "scratch.bytes": "i64",
        "ranges": "i64",
        "tail": "i64",
        "chunk": "i64",
        "chunk.most": "i64",
        "chunk.goal": "i64",
        "gx": "i32",
        "gy": "i32",
        "gz": "i32",
    },
    {"threads": "i64", "spin": "i64", "inline.limit": "i64", "chunk.ticks": "i64", "slice": "i64"},
    {"parallel": "ptr", "most.threads": "ptr", "thread.number": "ptr"},
)
_SIZES = {"i32": 4, "i64": 8, "ptr": 8}
LINE = 128  # adjacent-line prefetchers pull lines in pairs
POOL_BYTES = len(_GROUPS) * LINE


def places() -> tuple[str, dict[str, str]]:
    """(LLVM type of the pool, name of a word → constant expression of its address)."""
    members: list[str] = []
    found: dict[str, str] = {}
    for group in _GROUPS:
        for name, kind in group.items():
            found[name] = f"getelementptr (%Pool, ptr @pool, i32 0, i32 {len(members)})"
            members.append(kind)
        members.append(f"[{LINE - sum(_SIZES[kind] for kind in group.values())} x i8]")
    return f"{{ {', '.join(members)} }}", found


# What a launch is.  `scratch` is the calling thread's; `owner`, never 0, tells the launch from all others; `first`: where to resume.
RECORD = {
    "kernel": "ptr",
    "scratch": "ptr",
    "bytes": "i64",
    "cell": "ptr",
    "owner": "i64",
    "first": "i64",
    "gx": "i32",
    "gy": "i32",
    "gz": "i32",
}
FIRST = list(RECORD).index("first")
BESIDE = 64  # where in a record arguments begin that @launch_beside finds there


def record_type() -> str:
    """The LLVM type of a launch's record."""
    return f"{{ {', '.join(RECORD.values())} }}"


def load_record(*names: str) -> str:
    """Instructions that load the named fields, by default all, of %record."""
    record, lines = record_type(), []
    for number, (name, kind) in enumerate(RECORD.items()):
        if not names or name in names:
            lines.append(f"  %record.{name} = getelementptr {record}, ptr %record, i32 0, i32 {number}")
            lines.append(f"  %{name} = load {kind}, ptr %record.{name}")
    return "\n".join(lines)
