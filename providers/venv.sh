# Makes Python environments with pinned packages; sourced by the set-up scripts after begin.sh.

# What onnxruntime imports; sympy, which some builds also name, is for tools only.
BESIDE=(numpy==2.4.6 flatbuffers==25.12.19 packaging==26.3 protobuf==7.36.2)

# make_venv: makes $FOLDER/venv, an empty environment.
make_venv() {
    local python
    for python in ${PYTHON:-python3.11 python3 python}; do
        if "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$python" -m venv "$FOLDER/venv"
            return
        fi
    done
    fail "expected Python 3.11 or newer with venv; install python3-venv, or set PYTHON to one"
}

# install ARGUMENT...: runs `pip install` there for exactly the packages given, and what onnxruntime imports.
install() {
    "$FOLDER/venv/bin/python" -m pip install -qq --no-deps --only-binary=:all: "$@" "${BESIDE[@]}" >&2 ||
        fail "pip could not install $*; see above"
}

# quieten: what engines print to standard output goes to standard error, and only Python's own output stays there.
quieten() {
    local site
    site=$("$FOLDER/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cat >"$site/sitecustomize.py" <<'END'
"""Leaves standard output to Python: what libraries write there goes to standard error."""

import os
import sys

if sys.stdout is not None:
    _own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.__stdout__ = open(_own, "w", encoding="utf-8", buffering=1)
END
}
