#!/usr/bin/env bash
# Packs what a machine without a network needs to run this project: sources, wheels and an installer.
#
#   bash scripts/bundle_for_offline.sh OUTPUT.tar
#   bash scripts/bundle_for_offline.sh --python 3.11 --platform manylinux_2_28_aarch64 OUTPUT.tar
#
# The target needs Linux, Python --python (default: 3.12) with its headers, a C++ compiler, and torch, which is not
# packed. There: tar -xf OUTPUT.tar && bash fairseq-distil-offline/install.sh DIRECTORY. This repository is packed as of
# its last commit. Needs scripts/setup.sh to have run here, and a package registry.
set -euo pipefail

root="$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="${VENV:-$root/.venv}"
name=fairseq-distil-offline
source_only=(antlr4-python3-runtime) # pure Python, of which the registries have no wheel

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

say() { printf '[%3ds] %s\n' "$SECONDS" "$1" >&2; }

python_version=3.12
platform=manylinux_2_28_x86_64
output=""
while (($#)); do
    case "$1" in
        -h | --help)
            sed -n '2,/^set -/{/^set -/!s/^#\( \|$\)//p;}' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        --python | --platform)
            [[ -n "${2:-}" ]] || fail "$1 needs a value"
            if [[ "$1" == --python ]]; then python_version="$2"; else platform="$2"; fi
            shift
            ;;
        -*) fail "unknown option $1; see --help" ;;
        *)
            [[ -z "$output" ]] || fail "one output is enough, found $output and $1"
            output="$1"
            ;;
    esac
    shift
done
[[ "$python_version" =~ ^3\.1[12]$ ]] || fail "--python is $python_version, but must be 3.11 or 3.12"
[[ -n "$output" ]] || fail "no output given; see --help"
[[ ! -e "$output" ]] || fail "$output: exists already; remove it, or choose another output"
[[ -d "$(dirname -- "$output")" ]] || fail "$(dirname -- "$output"): no such directory"
[[ -x "$venv/bin/python" ]] || fail "$venv: no environment; run scripts/setup.sh first"
git -C "$root" rev-parse --verify --quiet HEAD >/dev/null || fail "$root: not a git repository with a commit"

work="$(mktemp -d)"
partial="$output.partial-$$"
trap 'rm -rf "$work" "$partial"' EXIT
bundle="$work/$name"
mkdir -p "$bundle/wheels" "$bundle/sources"

pip_() {
    "$venv/bin/python" -m pip "$@" --quiet --disable-pip-version-check ||
        fail "pip $1 failed, see its messages above; nothing was written"
}

# What setup.sh installs, but torch, which is the target's own, and fairseq, which is compiled there.
grep -v -E '^(#|torch==|fairseq-fixed==)' "$root/constraints.txt" >"$bundle/requirements.txt"
fairseq="$(grep '^fairseq-fixed==' "$root/constraints.txt")"
without_wheel="$(printf '|%s' "${source_only[@]}")"
grep -E "^(${without_wheel:1})==" "$bundle/requirements.txt" >"$work/source-only.txt" || true
grep -v -E "^(${without_wheel:1})==" "$bundle/requirements.txt" >"$work/with-wheel.txt"

say "this repository's sources"
git -C "$root" archive --format=tar.gz --prefix=fairseq-distil/ --output="$bundle/sources/fairseq-distil.tar.gz" HEAD
say "fairseq's sources ($fairseq)"
pip_ download --no-deps --no-binary :all: --no-build-isolation --dest "$bundle/sources" "$fairseq"
say "wheels for Python $python_version on $platform"
tag="cp${python_version/./}"
pip_ download --no-deps --only-binary :all: --dest "$bundle/wheels" --requirement "$work/with-wheel.txt" \
    --python-version "$python_version" --implementation cp --abi "$tag" --abi abi3 --abi none \
    --platform "$platform" --platform "${platform/_2_28_/_2_27_}" --platform "${platform/_2_28_/_2_17_}" \
    --platform "${platform/_2_28_/2014_}" --platform any
if [[ -s "$work/source-only.txt" ]]; then
    pip_ wheel --no-deps --no-build-isolation --wheel-dir "$work/built" --requirement "$work/source-only.txt"
    for wheel in "$work"/built/*; do
        [[ "$wheel" == *-none-any.whl ]] || fail "${wheel##*/} is not pure Python, and would not serve the target"
        mv "$wheel" "$bundle/wheels/"
    done
fi

cp "$root/scripts/install_offline.sh" "$bundle/install.sh"
printf '%s\n' "$python_version" >"$bundle/python-version"
(cd "$bundle" && find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS)
tar -C "$work" -cf "$partial" "$name"
mv "$partial" "$output"
say "$output: $(du -h "$output" | cut -f1), $(find "$bundle/wheels" -name '*.whl' | wc -l) wheels"
