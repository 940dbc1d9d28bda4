#!/bin/bash
# Sets up WebGPU's execution provider, a plugin, on SwiftShader, the Vulkan driver without a GPU in Debian's Chromium.

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/venv.sh"

begin
need unshare util-linux
make_venv
install onnxruntime==1.32.0 onnxruntime-ep-webgpu==0.4.0
quieten

# Only the driver and the Vulkan loader are taken out of the package.
update chromium-common
(
    mkdir "$FOLDER/package" && cd "$FOLDER/package"
    apt-get -o APT::Sandbox::User=root download -qq chromium-common >&2 ||
        fail "apt-get could not download chromium-common; see above"
    dpkg-deb -x ./*.deb .
    mkdir "$FOLDER/vulkan"
    cp usr/lib/chromium/{libvk_swiftshader.so,libvulkan.so.1,vk_swiftshader_icd.json} "$FOLDER/vulkan/"
)
rm -rf "$FOLDER/package"

# onnxruntime offers WebGPU only where Linux lists a graphics card: one is listed, in a file system of this process.
write_run <<'END'
export VK_ICD_FILENAMES=$here/vulkan/vk_swiftshader_icd.json
export LD_LIBRARY_PATH=$here/vulkan${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
if [ -n "$(ls -d /sys/class/drm/card[0-9]* 2>/dev/null)" ]; then
    exec "$here/venv/bin/python" "$@"
fi
own=
[ "$(id -u)" = 0 ] || own=--map-current-user
exec unshare $own --mount bash -c '
    mount -t tmpfs none /sys/class && mkdir -p /sys/class/drm/card0 /sys/class/0000:00:01.0 || exit 1
    ln -s ../../0000:00:01.0 /sys/class/drm/card0/device
    echo 0x1ae0 >/sys/class/drm/card0/device/vendor
    echo 0xc0de >/sys/class/drm/card0/device/device
    exec "$@"' unshare "$here/venv/bin/python" "$@"
END
finish 1.32.0 WebGpuExecutionProvider onnxruntime_ep_webgpu
