#!/bin/bash
# Sets up ggml's execution provider, a plugin that takes whole graphs or nothing.

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/venv.sh"

begin
# The plugin asks for onnxruntime below 1.31.
make_venv
install onnxruntime==1.30.0 onnxruntime-ggml==0.2.0
quieten
write_run <<'END'
exec "$here/venv/bin/python" "$@"
END
finish 1.30.0 ggml onnxruntime_ggml
