#!/bin/sh
# Installs the program from a release, whose sum is checked:
#
#     packaging/install.sh [VERSION]
#
# TORIL_INSTALL is the folder, ~/.local/bin if it is not set. TORIL_RELEASES is where releases are
# fetched from.
set -eu

version=${1:-latest}
folder=${TORIL_INSTALL:-$HOME/.local/bin}
releases=${TORIL_RELEASES:-https://github.com/toril/toril/releases}

stop() {
    echo "install.sh: $1" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

case $(uname -m) in
    x86_64 | amd64) cpu=x86_64 ;;
    aarch64 | arm64) cpu=aarch64 ;;
    *) stop "there is no binary for $(uname -m): build one with 'cargo install toril'" ;;
esac
case $(uname -s) in
    Linux) system=linux ;;
    Darwin) system=macos ;;
    *) stop "there is no binary for $(uname -s): build one with 'cargo install toril'" ;;
esac
archive=toril-$cpu-$system.tar.gz
case $version in
    latest) from=$releases/latest/download ;;
    *) from=$releases/download/v${version#v} ;;
esac
has curl || stop "curl is missing"
has tar || stop "tar is missing"
if has sha256sum; then
    sum() { sha256sum "$1"; }
elif has shasum; then
    sum() { shasum -a 256 "$1"; }
else
    stop "sha256sum or shasum is missing, and nothing is installed that was not checked"
fi

fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT
for file in SHA256SUMS "$archive"; do
    curl --fail --silent --show-error --location --output "$fetched/$file" "$from/$file" ||
        stop "$from/$file cannot be fetched"
done
wanted=$(awk -v name="$archive" '$2 == name { print $1 }' "$fetched/SHA256SUMS")
found=$(sum "$fetched/$archive" | awk '{ print $1 }')
[ -n "$wanted" ] || stop "SHA256SUMS of $version does not list $archive"
[ "$wanted" = "$found" ] || stop "$archive has the sum $found, and SHA256SUMS says $wanted"
mkdir -p "$folder" "$fetched/files"
tar -xzf "$fetched/$archive" -C "$fetched/files"
# Moved into place: one that runs meanwhile keeps its own. Beside the program lies what it preloads.
for file in "$fetched/files"/*toril*; do
    mv "$file" "$folder/"
done
echo "$folder/toril"
"$folder/toril" --version
