"""The `triton` face of anytile.

    hook.py          a finder in front of `sys.meta_path`: answers `triton`, `triton.*` and the metadata of a distribution "triton"
    level.py         which Triton release the face imitates (the "API level"), and how it is chosen
    table.py         the face itself, as data: module → name → where it lives in anytile, and from which level to which
    face.py          module objects made from the table, their names resolved on first use
    distribution.py  what `importlib.metadata` says about "triton"
    launch.py        `anytile run`: a program, and all it starts, with the finder in place
    site/            the directory that `anytile run` puts on PYTHONPATH
    enable.py        `anytile enable`: the finder for every interpreter of a virtual environment

Nothing of anytile's other rooms is imported before a program touches a name that lives there, and `hook.py` imports
nothing at all, because an enabled environment runs it at every interpreter start.
"""
