"""`anytile compat check --ci github`: a scheduled job that finds a break with a new PyTorch before users meet it."""

from __future__ import annotations

from .. import __version__

__all__ = ["RECIPES"]

_GITHUB = """\
# Written by `anytile compat check --ci github`; put it at .github/workflows/triton-compat.yml.
# Every morning: does anytile, in place of Triton, answer all that the newest PyTorch touches?  And the releases before it?
name: triton-compat
on:
  schedule:
    - cron: "17 5 * * *"
  workflow_dispatch:
jobs:
  check:
    runs-on: ubuntu-latest
    timeout-minutes: 30
    strategy:
      fail-fast: false
      matrix:
        torch: [">=2.4,<2.8", ">=2.8,<2.12", ">=2.12"]
    steps:
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - run: pip install "anytile>=%s"
      # Exit status: 0 all answered, 1 something is not, 2 could not look (no network, no such wheel).
      - run: anytile compat check --torch "${{ matrix.torch }}" --json > compat.json
      - if: always()
        uses: actions/upload-artifact@v4
        with:
          name: compat-${{ strategy.job-index }}
          path: compat.json
"""

#: Service → the text of the job.
RECIPES = {"github": _GITHUB % __version__}
