# What every set-up script sources first: where its environment goes, what is missing, and when nothing is to be done.
#
# A set-up script is providers/<name>.sh. It fills .providers/<name>/ and ends with an executable .providers/<name>/run
# that acts like `python` there: `.providers/<name>/run script.py args`, from any folder; PYTHONPATH is passed on.
# Packages come from wherever this machine's pip and apt are set to take them.

set -euo pipefail

NAME=$(basename "$0" .sh)
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
FOLDER=$REPOSITORY/.providers/$NAME
# pip and onnxruntime print nothing but what went wrong.
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

fail() {
    echo "providers/$NAME.sh: $*" >&2
    exit 1
}

# What the environment was made by; the same text means that it need not be made again.
recipe() {
    cat "$REPOSITORY"/providers/{begin,venv,debian}.sh "$REPOSITORY/providers/$NAME.sh" | sha256sum
}

# begin: empties the environment's folder, or ends the script where it was made by this very recipe.
begin() {
    if [ -x "$FOLDER/run" ] && [ "$(cat "$FOLDER/recipe" 2>/dev/null)" = "$(recipe)" ]; then
        echo "$NAME: .providers/$NAME is there already"
        exit 0
    fi
    [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || fail "expected Linux on x86-64, got $(uname -s) $(uname -m)"
    rm -rf "$FOLDER" && mkdir -p "$FOLDER"
}

# update: brings apt's lists up to date, once.
update() {
    command -v apt-get >/dev/null || fail "expected Debian or Ubuntu with apt-get; install what is missing by hand"
    [ "$(id -u)" = 0 ] || fail "expected to be root, to install packages with apt-get; run it as root, or install $*"
    [ -n "${UPDATED:-}" ] || apt-get update -qq >&2 || fail "apt-get update failed; see above"
    UPDATED=1
}

# need COMMAND PACKAGE: installs the Debian package where the command is missing.
need() {
    command -v "$1" >/dev/null && return
    update "$2"
    apt-get install -y -qq --no-install-recommends "$2" >&2 || fail "apt-get could not install $2; see above"
}

# write_run: makes `run` of the script on standard input, which may use $here, the environment's folder.
write_run() {
    {
        echo '#!/bin/bash'
        echo "# Acts like python in the environment $NAME; made by providers/$NAME.sh."
        echo 'here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)'
        cat
    } >"$FOLDER/run"
    chmod +x "$FOLDER/run"
}

# finish VERSION PROVIDER [PLUGIN]: ends well where onnxruntime has that version and, with the plugin, that provider.
finish() {
    local found
    found=$("$FOLDER/run" - "$2" "${3:-}" <<'END'
import importlib
import sys

import numpy
import onnxruntime as ort

_, provider, plugin = sys.argv
if plugin:
    module = importlib.import_module(plugin)
    library = getattr(module, "get_library_path", None) or module.library_path
    ort.register_execution_provider_library(provider, library())
found = [device.ep_name for device in ort.get_ep_devices()] if plugin else ort.get_available_providers()
if provider not in found:
    sys.exit(f"expected {provider}, got {found}")
print(ort.__version__)
END
    ) || fail "the environment does not work; see above"
    [[ $found = "$1"* ]] || fail "expected onnxruntime $1, got $found; the package source has another version"
    recipe >"$FOLDER/recipe"
    echo "$NAME: made .providers/$NAME, onnxruntime $found, $(du -sh "$FOLDER" | cut -f1)"
}
