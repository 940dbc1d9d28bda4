#!/bin/bash
# Sets up OpenVINO's execution provider: its own build of onnxruntime in an environment of its own.

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/venv.sh"

begin
make_venv
install onnxruntime-openvino==1.24.1
write_run <<'END'
exec "$here/venv/bin/python" "$@"
END
finish 1.24.1 OpenVINOExecutionProvider
