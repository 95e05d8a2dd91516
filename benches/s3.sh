#!/usr/bin/env bash
# S3, beside restic: a volume of 300 MB (4,000 files of 25 KB, one of 200 MB, none of which can be compressed), the service being moto on this machine
# (pip install 'moto[server]'). Needs restic, jq, curl and time, and a release build (or BINARY). The figures are in docs/performance.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=$(realpath "${BINARY:-target/release/convoy-backups}")
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
endpoint=http://127.0.0.1:5999
python3 -m moto.server -p 5999 > moto.log 2>&1 &
until curl -s -o answer -X PUT "$endpoint/bucket1" -H "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"; do sleep 0.2; done
export BKUP_DEFAULTS=off BKUP_DATA_DIR="$folder/data" BKUP_BACKUP_URL=s3://bucket1@us-east-1/ours/ BKUP_S3_ENDPOINT=$endpoint
export BKUP_S3_ACCESS_KEY_ID=x BKUP_S3_SECRET_ACCESS_KEY=y BKUP_REPOSITORY_PASSWORD=p
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y RESTIC_PASSWORD=p RESTIC_CACHE_DIR="$folder/cache" RESTIC_REPOSITORY="s3:$endpoint/bucket1/theirs"

volume=data/daemon/volumes/vol1
"$binary" create --volume vol1 --size 1G --quiet
for number in $(seq 4000); do head -c 25000 /dev/urandom > "$volume/$number"; done
head -c 200000000 /dev/urandom > "$volume/large"
restic -q init
measure() { /usr/bin/time -f "$1: %e s, %M KB" "${@:2}" > /dev/null; }
measure "first snapshot and backup" "$binary" backup --create-snapshot --quiet
measure "first backup, restic" restic -q backup "$volume"
measure "nothing changed" "$binary" backup --create-snapshot --quiet
measure "nothing changed, restic" restic -q backup "$volume"
measure "restore" "$binary" restore --quiet --volume restored --backupurl "$("$binary" backups --json | jq -r '.[0].BackupURL')"
measure "restore, restic" restic -q restore latest --target restored
diff -r "$volume" data/daemon/volumes/restored
