#!/bin/bash
# Sets up ONNX Runtime for the C++ runtime: .providers/cpp/onnxruntime/{include,lib}.
#
# The headers come from an npm package that holds an Android archive, the library from the pip wheel of the Python that
# is named (default: that of .venv). Headers may be older than the library, never newer.

set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
FOLDER=$REPOSITORY/.providers/cpp/onnxruntime
PYTHON=${PYTHON:-$REPOSITORY/.venv/bin/python}
HEADERS=com.github.asus4.onnxruntime@0.4.9

fail() {
    echo "runtimes/cpp/setup.sh: $*" >&2
    exit 1
}

# What the machine lacks: installed where that can be done without asking, else named.
lacking=""
for tool in g++ cmake npm unzip tar; do
    command -v "$tool" >/dev/null || lacking="$lacking $tool"
done
echo '#include <nlohmann/json.hpp>' | ${CXX:-c++} -x c++ -std=c++17 -fsyntax-only - 2>/dev/null || lacking="$lacking nlohmann-json3-dev"
if [ -n "$lacking" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086
        (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $lacking) >/dev/null ||
            fail "apt-get cannot install$lacking; see above"
    else
        fail "expected$lacking, found none; install them: apt-get install$lacking"
    fi
fi
command -v "$PYTHON" >/dev/null || fail "expected $PYTHON, found none; run: make install"
library=$("$PYTHON" - <<'PY'
import importlib.util
import pathlib

found = importlib.util.find_spec("onnxruntime")
files = sorted((pathlib.Path(found.origin).parent / "capi").glob("libonnxruntime.so.1.*")) if found else []
print(files[-1] if files else "")
PY
)
[ -n "$library" ] || fail "expected a wheel of onnxruntime for Linux in $PYTHON, found none; pip install onnxruntime"
recipe="$HEADERS $library"
if [ "$(cat "$FOLDER/recipe" 2>/dev/null)" = "$recipe" ]; then
    echo "cpp: .providers/cpp/onnxruntime is there already"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$HEADERS" >/dev/null) || fail "npm has no $HEADERS; see above"
tar -xzf "$work"/*.tgz -C "$work" package/Plugins/Android/onnxruntime.aar
unzip -q "$work/package/Plugins/Android/onnxruntime.aar" 'headers/*' -d "$work"

rm -rf "$FOLDER" && mkdir -p "$FOLDER/include" "$FOLDER/lib"
cp "$work"/headers/* "$FOLDER/include/"
cp "$library" "$FOLDER/lib/"
name=$(basename "$library")
ln -s "$name" "$FOLDER/lib/libonnxruntime.so.1"
ln -s "$name" "$FOLDER/lib/libonnxruntime.so"
echo "$recipe" >"$FOLDER/recipe"
echo "cpp: made .providers/cpp/onnxruntime, library ${name#libonnxruntime.so.}"
