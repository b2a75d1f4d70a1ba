"""`anytile lock`: a set of packages that work together, written into the user's own project file.

request.py    what the user wants: packages, Pythons, platforms, CUDA, tool
project.py    what the project's file already says
index.py      package indexes: file lists and metadata, without downloading wheels
resolve.py    uv resolves, once for each platform and Python
partners.py   what no metadata says, computed: Triton where torch names none, drivers, runtimes
plan.py       the loop over these that ends in a set, and why each version is in it
write.py      the set as Poetry, uv or pip write it; nothing is written unless all of it is
"""
