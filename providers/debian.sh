# Unpacks packages of another Debian release or processor into a folder, and runs programs from there without root.

# unpack SUITE ARCHITECTURE PACKAGE...: fills $FOLDER/system from the mirror that apt uses.
unpack() {
    local suite=$1 architecture=$2 mirror path
    shift 2
    need mmdebstrap mmdebstrap
    [ -n "$(apt-get indextargets --format '$(SITE)')" ] || update mmdebstrap
    mirror=$(apt-get indextargets --format '$(SITE)' "Created-By: Packages" |
        grep -v security | sort -u | head -n 1) || true
    [ -n "$mirror" ] || fail "expected a Debian mirror in apt's configuration, found none"
    mmdebstrap --quiet --variant=extract --architectures="$architecture" --include="$(IFS=,; echo "$*")" \
        "$suite" "$FOLDER/system" "$mirror" >&2 || fail "mmdebstrap could not unpack $* of $suite; see above"
    # Programs run from here see these folders instead of the machine's; only /usr is wanted.
    rm -rf "$FOLDER"/system/{boot,dev,etc,home,media,mnt,opt,proc,root,run,srv,sys,tmp,var}
    for path in bin lib lib64 sbin; do
        [ -e "$FOLDER/system/$path" ] || [ ! -e "$FOLDER/system/usr/$path" ] || ln -s "usr/$path" "$FOLDER/system/$path"
    done
    # What the packages' own scripts would have linked.
    for path in "$FOLDER"/system/usr/lib/*/{blas/libblas,lapack/liblapack}.so.3; do
        [ ! -e "$path" ] || ln -s "$(basename "$(dirname "$path")")/$(basename "$path")" "$(dirname "$path")/../"
    done
}

# fake_arm: the processor that programs in $FOLDER/system find; onnxruntime crashes on the host's.
fake_arm() {
    local cpu file
    mkdir -p "$FOLDER"/system/{proc,sys/devices/system/cpu}
    for file in possible present online; do
        echo 0-1 >"$FOLDER/system/sys/devices/system/cpu/$file"
    done
    for cpu in 0 1; do
        printf 'processor\t: %s\nBogoMIPS\t: 100.00\nFeatures\t: %s\n' "$cpu" \
            'fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid'
        printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n'
        printf 'CPU part\t: 0xd08\nCPU revision\t: 3\n\n'
    done >"$FOLDER/system/proc/cpuinfo"
    # Hides the machine's own Python packages, which are of another processor.
    mkdir -p "$FOLDER"/system/usr/{lib/python3,local/lib/python3.11,local/lib/python3.13}/dist-packages
}
