#!/usr/bin/env bash
# HTTP, measured as a client sees it: requests a second and memory, runs asked for at once, and what the dashboard and Prometheus ask, with many
# volumes and runs in the store. Needs wrk, curl, jq, sqlite3 and chromedriver, and a release build (or BINARY). The figures are in docs/performance.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=$(realpath "${BINARY:-target/release/convoy-backups}")
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
mkdir "$folder/destination"
export BKUP_DATA_DIR="$folder/data" BKUP_BACKUP_URL="vfs://$folder/destination" BKUP_API_LISTEN=127.0.0.1:0
export BKUP_CONVOY="unix://$folder/root/convoy.sock" BKUP_API_TOKEN=a-token-for-this-benchmark BKUP_LOGGER_CONSOLE_LEVEL=error
header="Authorization: Bearer $BKUP_API_TOKEN"

until_there() { for _ in $(seq 200); do [ -e "$1" ] && return; sleep 0.05; done; echo "$1 is not there" >&2; exit 1; }
memory() { awk '/VmHWM/ { printf "%.0f MB", $2 / 1000 }' "/proc/$1/status"; }
median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
timed() { for _ in 1 2 3 4 5 6 7 8 9; do curl -s -o /dev/null -w '%{time_total}\n' -H "$header" "$1"; done | median; }

"$binary" daemon --root "$folder/root" & until_there "$folder/root/convoy.sock"
for volume in vol1 vol2 vol3; do "$binary" create --volume $volume --size 1G --quiet; done
"$binary" serve & serve=$!
until_there "$folder/data/serve.running"
url=$(cat "$folder/data/serve.running")
curl -s -o /dev/null -H "$header" "$url/api/status"
echo "memory at rest: $(memory $serve)"

printf 'wrk.method = "POST"\nwrk.headers["Authorization"] = "Bearer %s"\n' "$BKUP_API_TOKEN" > "$folder/post.lua"
echo "POST /api/volumes, 8 connections, ten seconds, three volumes: $(wrk -t2 -c8 -d10 -s "$folder/post.lua" "$url/api/volumes" |
    awk '/Requests\/sec/ { print $2 " a second" } /Non-2xx/ { print }'), $(memory $serve)"

start=$(date +%s.%N)
for run in $(seq 200); do
    printf 'next\nurl = "%s/api/snapshot"\nrequest = POST\nheader = "%s"\nheader = "Prefer: respond-async"\ndata = "volume=vol%s"\noutput = "/dev/null"\nwrite-out = "%%{http_code}\\n"\n' \
        "$url" "$header" $((run % 3 + 1))
done | sed 1d > "$folder/asks"
accepted=$(curl -s -K "$folder/asks" --parallel --parallel-max 8 | grep -c 202)
while curl -s -H "$header" "$url/api/status?fresh=true" | grep -q '"running":\[{'; do sleep 0.1; done
ended=$(sqlite3 "$folder/data/runs.sqlite" "SELECT count(*) FROM runs WHERE script = 'snapshot' AND status = 'done'")
echo "200 snapshots asked for at once: $accepted accepted, $ended done after $(awk -v start="$start" -v now="$(date +%s.%N)" 'BEGIN { printf "%.1f s", now - start }')"

for volume in $(seq 4 500); do curl -s -o /dev/null -X POST -H "$header" "$url/api/create" -d "volume=vol$volume" -d size=1G; done
sqlite3 "$folder/data/runs.sqlite" "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9500)
    INSERT INTO runs SELECT * FROM (SELECT printf('20260101T000000.%06d-1-%d', i, i), script, status, trigger, dry_run, started, ended, took, digest, origin, host,
        process, boot, entry_key, entry_line, bytes, lines_left_out, cancel_by, cancel_at, interruption_told, routine, reason, arguments, volumes_done, error, failures, plan, result
        FROM n, (SELECT * FROM runs WHERE script = 'snapshot' LIMIT 1))"
curl -s -o /dev/null -H "$header" "$url/api/status?fresh=true"
echo "500 volumes, $(sqlite3 "$folder/data/runs.sqlite" 'SELECT count(*) FROM runs') runs, medians of nine:"
for path in / /api/status "/api/status?fresh=true" /api/runs /api/schedule /metrics /readyz; do echo "  GET $path: $(timed "$url$path") s"; done
echo "memory at the end: $(memory $serve)"

chromedriver --port=0 --log-level=SEVERE > "$folder/driver" & until_there "$folder/driver"
until grep -q 'successfully on port' "$folder/driver"; do sleep 0.05; done
driver="http://127.0.0.1:$(grep -o 'successfully on port [0-9]*' "$folder/driver" | cut -d ' ' -f 4)/session"
tell() { curl -s -X POST "$driver/$1" -H 'Content-Type: application/json' -d "$2" | jq -r .value; }
driver="$driver/$(curl -s -X POST "$driver" -H 'Content-Type: application/json' \
    -d '{"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": ["--headless=new", "--no-sandbox"]}}}}' | jq -r .value.sessionId)"
tell url "{\"url\": \"$url/\"}" > "$folder/answer"
tell execute/async "$(jq -n --arg token "$BKUP_API_TOKEN" '{args: [$token], script: "fetch(\"/session\", {method: \"POST\", headers: {\"Content-Type\": \"application/json\"}, body: JSON.stringify({token: arguments[0]})}).then(arguments[1])"}')" > "$folder/answer"
shown='const done = arguments[0], look = () => { const mark = performance.getEntriesByName("overview")[0]; mark ? done(mark.startTime) : setTimeout(look, 5) }; look()'
for _ in 1 2 3 4 5 6 7 8 9; do
    tell url "{\"url\": \"$url/\"}" > "$folder/answer"
    tell execute/async "$(jq -n --arg script "$shown" '{args: [], script: $script}')"
done > "$folder/shown"
echo "the overview in Chromium, from the request to its rows, median of nine: $(median < "$folder/shown" | cut -d . -f 1) ms"
curl -s -X DELETE "$driver" > "$folder/answer"
