#!/bin/bash
# Sets up the CPU provider on 64-bit Arm: the wheel of onnxruntime for aarch64, emulated by qemu.

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/venv.sh"
source "$(dirname "$0")/debian.sh"

begin
need qemu-aarch64-static qemu-user-static
unpack bookworm arm64 python3.11-minimal libpython3.11-stdlib libstdc++6
fake_arm
make_venv
install --target "$FOLDER/site" --python-version 3.11 --implementation cp --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64 onnxruntime==1.32.0
rm -rf "$FOLDER/venv"
write_run <<'END'
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$here/site
exec qemu-aarch64-static -0 "$here/run" -cpu cortex-a72 -L "$here/system" "$here/system/usr/bin/python3.11" "$@"
END
finish 1.32.0 CPUExecutionProvider
