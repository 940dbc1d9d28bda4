#!/bin/bash
# Sets up XNNPACK's execution provider on 64-bit Arm: the next Debian release's build, emulated by qemu.

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/debian.sh"

begin
need qemu-aarch64-static qemu-user-static
unpack trixie arm64 python3-onnxruntime
fake_arm
write_run <<'END'
exec qemu-aarch64-static -0 "$here/run" -cpu max -L "$here/system" "$here/system/usr/bin/python3.13" "$@"
END
finish 1.21 XnnpackExecutionProvider
