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
export BKUP_DEFAULTS=off BKUP_DOCKER=off BKUP_DATA_DIR="$folder/data" BKUP_S3_ENDPOINT=$endpoint
export BKUP_S3_ACCESS_KEY_ID=x BKUP_S3_SECRET_ACCESS_KEY=y BKUP_REPOSITORY_PASSWORD=p
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y RESTIC_PASSWORD=p RESTIC_CACHE_DIR="$folder/cache"

volume=data/daemon/volumes/vol1
"$binary" create --volume vol1 --size 1G --quiet
for number in $(seq 4000); do head -c 25000 /dev/urandom > "$volume/$number"; done
head -c 200000000 /dev/urandom > "$volume/large"
# Seconds and KiB of each run. What was written before it is on the disk: nobody pays for another's.
measure() { sync; /usr/bin/time -a -o "$1.runs" -f "%e %M" "${@:2}" > /dev/null; }
theirs() { restic -r "s3:$endpoint/bucket1/theirs-$run" -q "$@"; }
export -f theirs
for run in $(seq "${RUNS:-5}"); do
  export run endpoint BKUP_BACKUP_URL=s3://bucket1@us-east-1/ours-$run/
  theirs init
  measure ours-first "$binary" backup --create-snapshot --quiet
  measure restic-first bash -c "theirs backup $volume"
  measure ours-unchanged "$binary" backup --create-snapshot --quiet
  measure restic-unchanged bash -c "theirs backup $volume"
  measure ours-backups "$binary" backups --quiet
  url=$("$binary" backups --json | jq -r '.[0].BackupURL')
  measure ours-restore "$binary" restore --quiet --volume "restored-$run" --backupurl "$url"
  measure restic-restore bash -c "theirs restore latest --target restored-$run && sync -f restored-$run"
  diff -r "$volume" "data/daemon/volumes/restored-$run"
  # moto has all objects in memory.
  curl -s -o answer -X POST "$endpoint/moto-api/reset"
  curl -s -o answer -X PUT "$endpoint/bucket1" -H "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"
done
median() { sort -n "$1.runs" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
most() { sort -k 2 -n "$1.runs" | awk 'END { printf "%.0f MB", $2 * 1024 / 1e6 }'; }
echo "| what | convoy-backups | restic | ratio | memory (ours, restic's) |"
echo "|---|---|---|---|---|"
for what in first unchanged restore; do
  ours=$(median ours-$what) theirs=$(median restic-$what)
  echo "| $what | $ours s | $theirs s | $(awk -v ours="$ours" -v theirs="$theirs" 'BEGIN { printf "%.2f", ours / theirs }') | $(most ours-$what), $(most restic-$what) |"
done
echo "| \`backups\` | $(median ours-backups) s | | | $(most ours-backups) |"
