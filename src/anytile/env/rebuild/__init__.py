"""`anytile rebuild`: a new environment beside the old one, proved, then put in its place; nothing is lost wherever it stops.

Reading order: `plan` (what will be done, decided before anything is), `journal` (what has been done, on disk), `steps` (the doing,
resuming and rolling back), `swap` (two folders change places), `relocate` (paths inside the new one), `caches` (what is purged).
"""
