#!/bin/bash
# Sets up QNN's execution provider, a plugin, which emulates the Hexagon NPU on x86-64.

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/venv.sh"

begin
make_venv
install onnxruntime==1.32.0 onnxruntime-qnn==2.7.0
quieten
write_run <<'END'
exec "$here/venv/bin/python" "$@"
END
finish 1.32.0 QNNExecutionProvider onnxruntime_qnn
