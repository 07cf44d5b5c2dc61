#!/bin/sh
# Makes a lake of 1,000 committed windows from the sandbox, one run an hour of modified time, and measures a run that finds its range covered.
# usage: benches/covered.sh BINARY FOLDER      needs hyperfine and GNU time
set -eu
binary=$1 folder=$2
mkdir -p "$folder"
"$binary" sandbox --requisitions 3000 --days 42 --end "2026-10-31 00:00:00" --hold-clock >"$folder/environment" &
sandbox=$!
trap 'kill $sandbox' EXIT
until grep -q WDT_BASE_URL "$folder/environment"; do sleep 0.1; done
. "$folder/environment"
first=$(TZ=Asia/Shanghai date -d "2026-09-13" +%s)
end() { TZ=Asia/Shanghai date -d "@$((first + $1 * 3600 - 1))" "+%F %T"; }
sync() { "$binary" sync --lake "$folder/lake" --from 2026-09-13 --to "$(end "$1")" --calls-per-minute 0 --log-level error; }
hours=1
while [ $hours -le 1000 ]; do
    sync $hours >"$folder/last"
    hours=$((hours + 1))
done
covered="$binary sync --lake $folder/lake --from 2026-09-13 --to '$(end 1000)'"
# Whoever calls the gateway now fails.
export WDT_BASE_URL=http://127.0.0.1:9/openapi2
for run in 1 2 3; do eval "command time -f '%e s, %M KiB' $covered"; done
hyperfine --warmup 5 --runs 50 --shell=none "$covered"
find "$folder/lake/_manifest" -name '*.json' -not -path '*/_checkpoint/*' | wc -l
