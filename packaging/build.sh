#!/bin/sh
# Makes what hosts without containers are installed from, in target/package/:
#
#   packaging/build.sh static    the binary that is given away: static, and the same bytes wherever it is built
#   packaging/build.sh deb       a Debian package (needs "cargo install cargo-deb")
#   packaging/build.sh tar       an archive with the binary, install.sh and their checksums
#
# For the last two the binary is built for this machine unless BINARY names one that is there already.
set -eu

cd "$(dirname "$0")/.."
what=${1:-}
case $what in
    static | deb | tar) ;;
    *)
        echo "usage: packaging/build.sh {static|deb|tar}" >&2
        exit 2
        ;;
esac

if [ "$what" = deb ] && ! command -v cargo-deb >/dev/null; then
    echo "error: there is no cargo-deb here" >&2
    echo "hint: cargo install --locked cargo-deb" >&2
    exit 1
fi

package=target/package

if [ "$what" = static ]; then
    if ! command -v musl-gcc >/dev/null; then
        echo "error: there is no musl-gcc here: SQLite, zstd and ring are C" >&2
        echo "hint: apt-get install musl-tools; and for Rust: rustup target add $(uname -m)-unknown-linux-musl" >&2
        exit 1
    fi
    # musl's C library, for a static glibc loads the machine's own name services, and crashes where those are of another glibc.
    target=$(uname -m)-unknown-linux-musl
    # The builder's folders stay out of it. Of a checkout and of an archive build.rs finds commit and day itself.
    here=$(pwd -P)
    cargo=${CARGO_HOME:-$HOME/.cargo}
    # Where the component rust-src is installed, the standard library's own files are named by that folder: here by the name that they have
    # elsewhere.
    library=$(rustc --print sysroot)/lib/rustlib/src/rust
    commit=$(rustc --version --verbose | sed -n 's/^commit-hash: //p')
    export RUSTFLAGS="--remap-path-prefix=$here=convoy-backups --remap-path-prefix=$cargo=cargo --remap-path-prefix=$library=/rustc/$commit"
    export CFLAGS="-ffile-prefix-map=$here=convoy-backups -ffile-prefix-map=$cargo=cargo"
    # What the script engine hashes names with is drawn at random for each build else. It is no secret in either case.
    export CONST_RANDOM_SEED=convoy-backups
    cargo build --release --locked --bin convoy-backups --target "$target" --target-dir target
    mkdir -p "$package"
    cp "target/$target/release/convoy-backups" "$package/"
    sha256sum "$package/convoy-backups"
    exit
fi

release=target/release/convoy-backups
if [ -z "${BINARY:-}" ]; then
    cargo build --release --locked --bin convoy-backups
elif [ "$(realpath "$BINARY")" != "$(realpath -m "$release")" ]; then
    mkdir -p target/release
    cp "$BINARY" "$release"
fi

# The version has one place, Cargo.toml, and the time of the last commit makes two builds of one state the same.
version=$("$release" --version | cut -d' ' -f2)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

rm -rf "$package/man" "$package/completions"
mkdir -p "$package/man" "$package/completions"
"$release" man "$package/man"
for shell in bash zsh fish; do
    # The builder's own scripts are no commands of anybody else's.
    env -u BKUP_SCRIPTS_DIR "$release" completions "$shell" >"$package/completions/$shell"
done

if [ "$what" = deb ]; then
    maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
    printf 'convoy-backups (%s-1) stable; urgency=medium\n\n  * As the source of this version has it.\n\n -- %s  %s\n' \
        "$version" "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$package/changelog"
    cargo deb --no-build --locked --output "$package/"
    exit
fi

name="convoy-backups-$version-$(uname -m)-linux"
folder=$package/$name
rm -rf "$folder"
mkdir -p "$folder/packaging"
cp -R "$package/man" "$package/completions" "$folder/"
cp -R packaging/systemd packaging/default packaging/logrotate "$folder/packaging/"
cp install.sh convoy.init.d crontab LICENSE README.md "$folder/"
cp -R docs examples "$folder/"
install -m 755 "$release" "$folder/convoy-backups"
strip --strip-unneeded "$folder/convoy-backups" 2>/dev/null || true
(cd "$folder" && find . -type f | LC_ALL=C sort | xargs sha256sum) >"$package/SHA256SUMS"
mv "$package/SHA256SUMS" "$folder/"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    -C "$package" -cf - "$name" | gzip -9n >"$folder.tar.gz"
(cd "$package" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$folder.tar.gz"
