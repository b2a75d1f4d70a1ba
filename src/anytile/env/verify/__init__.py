"""`anytile verify`: proves that an environment works by using it.

Reading order: `rows` (what is answered), `checks` (what is tried), `runner` (in processes, which may crash or hang),
`probes/worker.py` (what those processes do), `workflow` (the same on other machines).
"""
