#!/bin/bash
# Fetches CUDA's execution provider in pieces that can be carried to a machine with a GPU, with or without a network.
#
# Carry .providers/cuda there, all at once or piece after piece. The first `run` joins the pieces and installs them
# into the folder that RR_CUDA_SITE names. The machine brings Python of this version, numpy, and CUDA 13 with cuDNN 9
# (those of PyTorch do: import it first, or call onnxruntime.preload_dlls()).

source "$(dirname "$0")/begin.sh"
source "$(dirname "$0")/venv.sh"

begin
make_venv
version=$("$FOLDER/venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$FOLDER/venv/bin/python" -m pip download -qq --no-deps --only-binary=:all: --dest "$FOLDER" onnxruntime-gpu==1.31.1 \
    flatbuffers==25.12.19 packaging==26.3 protobuf==7.36.2 >&2 || fail "pip could not download onnxruntime-gpu"
rm -rf "$FOLDER/venv"
(
    cd "$FOLDER"
    sha256sum ./*.whl >SHA256SUMS
    split --bytes=48MiB --numeric-suffixes onnxruntime_gpu-*.whl piece.
    rm onnxruntime_gpu-*.whl
)
write_run <<END
python=python$version
END
cat >>"$FOLDER/run" <<'END'
site=${RR_CUDA_SITE:-${XDG_CACHE_HOME:-$HOME/.cache}/rr-export/cuda}
if ! cmp -s "$here/SHA256SUMS" "$site/SHA256SUMS"; then
    joined=$(mktemp -d)
    trap 'rm -rf "$joined"' EXIT
    cp "$here"/*.whl "$here/SHA256SUMS" "$joined"
    cat "$here"/piece.* >"$joined/$(sed -n 's/.*\(onnxruntime_gpu.*whl\)/\1/p' "$here/SHA256SUMS")"
    (cd "$joined" && sha256sum --check --quiet SHA256SUMS) >&2 || exit 1
    rm -rf "$site" && mkdir -p "$site"
    "$python" -m pip install -qq --no-deps --no-index --target "$site" "$joined"/*.whl >&2 || exit 1
    cp "$here/SHA256SUMS" "$site"
    rm -rf "$joined"
fi
export PYTHONPATH=${PYTHONPATH:+$PYTHONPATH:}$site
exec "$python" "$@"
END
# Tried here in a folder of its own; without a GPU that shows only that it loads.
RR_CUDA_SITE=$(mktemp -d)
trap 'rm -rf "$RR_CUDA_SITE"' EXIT
export RR_CUDA_SITE
if "python$version" -c 'import numpy' 2>/dev/null; then
    finish 1.31.1 CUDAExecutionProvider
else
    recipe >"$FOLDER/recipe"
    echo "$NAME: made .providers/$NAME, not tried: python$version has no numpy here"
fi
