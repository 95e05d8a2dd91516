#!/usr/bin/env bash
# Prints the licences of all crates that are in the binary, with their texts. Which licences may be there at all, deny.toml says.
set -euo pipefail

usage() {
    cat <<'END'
usage: third-party.sh [TARGET] > THIRD-PARTY.md

Prints the licences of all crates that are in the binary, with their texts.

  TARGET     what the binary was built for (cargo build --target); else this machine's

Needs cargo and jq, and the crates' sources, which a build has fetched.
Exit codes: 0 done, 1 failed, 2 wrong usage.
END
}

case "${1:-}" in
    -h | --help)
        usage
        exit
        ;;
    -*)
        echo "error: \"$1\" is no option" >&2
        usage >&2
        exit 2
        ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="${1:-$(rustc -vV | sed -n 's/^host: //p')}"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/texts" "$scratch/crates"

# What is linked, without what only builds or tests: "name version".
cargo tree --locked --edges normal,no-proc-macro --target "$target" --prefix none --format '{p}' |
    sed -E 's/^([^ ]+) v([^ ]+).*/\1 \2/' | sort -u | grep -v '^convoy-backups ' > "$scratch/linked"

cargo metadata --locked --format-version 1 --filter-platform "$target" |
    jq -r '.packages[] | [.name + " " + .version, .license // "see its text", .repository // "-", .manifest_path] | @tsv' |
    sort > "$scratch/known"
join -t $'\t' "$scratch/linked" "$scratch/known" > "$scratch/crates.tsv"
if [ "$(wc -l < "$scratch/linked")" != "$(wc -l < "$scratch/crates.tsv")" ]; then
    echo "error: not every crate of \"cargo tree\" is known to \"cargo metadata\"" >&2
    exit 1
fi

echo "# Licences of what convoy-backups is made of"
echo
echo "convoy-backups itself is under the MIT licence ($target)."
echo
echo "| crate | licence | where it is from |"
echo "|---|---|---|"
while IFS=$'\t' read -r crate licence repository manifest; do
    echo "| $crate | $licence | $repository |"
    found=false
    for file in "$(dirname "$manifest")"/{LICEN[CS]E,COPYING,COPYRIGHT,NOTICE,UNLICENSE,license,copying}*; do
        [ -f "$file" ] || continue
        # Texts that differ in blanks only are one.
        sum="$(tr -s '[:space:]' ' ' < "$file" | sha256sum | cut -c 1-16)"
        cp "$file" "$scratch/texts/$sum"
        echo "$crate" >> "$scratch/crates/$sum"
        found=true
    done
    $found || echo "$crate" >> "$scratch/without"
done < "$scratch/crates.tsv"

if [ -s "$scratch/without" ]; then
    printf '\nWithout a text of their own in their package: %s.\n' "$(paste -sd , "$scratch/without" | sed 's/,/, /g')"
fi

for text in "$scratch"/texts/*; do
    printf '\n## %s\n\n```text\n' "$(sort -u "$scratch/crates/${text##*/}" | paste -sd , | sed 's/,/, /g')"
    tr -d '\r' < "$text"
    printf '\n```\n'
done
