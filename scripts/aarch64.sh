#!/bin/bash
# Runs the tour, from the built wheel, on an aarch64 Linux: a Debian chroot under qemu user emulation.
#
#   scripts/aarch64.sh DIRECTORY [PROGRAM ARGS…]     default program: examples/tour.py --quick
#   PACKAGES="torch==2.9.1 pytest hypothesis" scripts/aarch64.sh DIRECTORY -m pytest -p no:cacheprovider tests/runtime/test_warm.py
#
# PACKAGES are put beside it, by uv (the wheel of torch 2.9.1 is built for CPUs).
#
# Needs root on a Debian or Ubuntu machine with apt and a package index. The first run makes DIRECTORY/root in about eight
# minutes (300 MB); later runs only put in the current wheel. Emulated code is some thirty times slower than native, and NumPy's own
# matmul warns there of floating-point exceptions that did not happen.
set -euo pipefail

directory=$(mkdir -p "${1:?usage: scripts/aarch64.sh DIRECTORY [PROGRAM ARGS...]}" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- examples/tour.py --quick
repository=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
root=$directory/root

if [ ! -e "$directory/made" ]; then
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends qemu-user-static mmdebstrap binfmt-support arch-test >/dev/null
    # The kernel must hand aarch64 programs to qemu; a container starts without that registry mounted.
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    update-binfmts --enable qemu-aarch64
    mmdebstrap --variant=minbase --architectures=arm64 --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$root"
    touch "$directory/made"
fi

# LLVM reads the processor's features in /proc.
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"

# The wheels are fetched by the host's pip, for the guest's interpreter, so the guest needs no network.
guest=$(chroot "$root" /usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
rm -rf "$directory/wheels" && mkdir "$directory/wheels"
"$python" -m pip wheel -q --no-deps -w "$directory/wheels" "$repository"
"$python" -m pip download -q -d "$directory/wheels" --only-binary=:all: --python-version "$guest" \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 --platform manylinux_2_17_aarch64 \
    "$directory"/wheels/anytile-*.whl
rm -rf "$root/opt/anytile" && mkdir -p "$root/opt/anytile"
cp -r "$directory/wheels" "$repository/examples" "$repository/tests" "$repository/pyproject.toml" "$root/opt/anytile/"
if [ -n "${PACKAGES:-}" ]; then
    # shellcheck disable=SC2086  # a list
    uv pip install -q --target "$root/opt/anytile/packages" --python-platform aarch64-manylinux_2_28 --python-version "$guest" $PACKAGES
fi
chroot "$root" /usr/bin/python3 -m venv /opt/anytile/venv
chroot "$root" /usr/bin/env -u PIP_FIND_LINKS -u PIP_CERT /opt/anytile/venv/bin/pip install -q --no-index --find-links /opt/anytile/wheels anytile

chroot "$root" /opt/anytile/venv/bin/python -c \
    'import platform, numpy, llvmlite; print(platform.machine(), "python", platform.python_version(), "numpy", numpy.__version__, "llvmlite", llvmlite.__version__)'
chroot "$root" /usr/bin/env -C /opt/anytile ANYTILE_CACHE_DIR=/tmp/anytile PYTHONPATH=/opt/anytile/packages /opt/anytile/venv/bin/anytile run "$@"
