#!/bin/bash
# Sets up XNNPACK's execution provider: the build of onnxruntime in the next Debian release, unpacked, run in place.

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/debian.sh"

begin
unpack trixie amd64 python3-onnxruntime
write_run <<'END'
export PYTHONHOME=$here/system/usr
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$here/system/usr/lib/python3/dist-packages
exec "$here/system/lib64/ld-linux-x86-64.so.2" --argv0 "$here/run" \
    --library-path "$here/system/usr/lib/x86_64-linux-gnu" "$here/system/usr/bin/python3.13" "$@"
END
finish 1.21 XnnpackExecutionProvider
