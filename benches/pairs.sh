#!/bin/sh
# Measures two builds in turn on 200,000 requisitions of the sandbox, so that a slow minute meets both: pairs, each in the other order than the one before.
# usage: benches/pairs.sh BEFORE NOW FOLDER [PAIRS]      needs GNU time and awk
set -eu
before=$1 now=$2 folder=$3 pairs=${4:-9}
mkdir -p "$folder"
"$now" sandbox --requisitions 200000 --days 180 --end "2024-06-28 23:59:59" >"$folder/environment" &
sandbox=$!
trap 'kill $sandbox' EXIT
until grep -q WDT_BASE_URL "$folder/environment"; do sleep 0.1; done
. "$folder/environment"
sync() {
    rm -rf "$folder/lake"
    command time -a -o "$folder/times" -f "$1 %U %S %e %M" "$2" sync --lake "$folder/lake" --from 2024-01-01 --to 2024-06-28 \
        --calls-per-minute 0 --concurrency 8 --log-level error >"$folder/last"
}
sync before "$before" && sync now "$now"
rm "$folder/times"
for pair in $(seq "$pairs"); do
    if [ $((pair % 2)) = 1 ]; then sync before "$before" && sync now "$now"; else sync now "$now" && sync before "$before"; fi
done
awk '
    function median(of, from, n, i, j, swapped) {
        n = 0
        for (i in of) if (index(i, from SUBSEP) == 1) sorted[++n] = of[i]
        for (i = 1; i < n; i++) for (j = i + 1; j <= n; j++) if (sorted[j] < sorted[i]) { swapped = sorted[i]; sorted[i] = sorted[j]; sorted[j] = swapped }
        return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
    }
    { pair = ++seen[$1]; cpu[$1, pair] = $2 + $3; wall[$1, pair] = $4; peak[$1, pair] = $5 / 1024 }
    END {
        for (pair = 1; pair <= seen["now"]; pair++) {
            cpu["ratio", pair] = cpu["now", pair] / cpu["before", pair]
            wall["ratio", pair] = wall["now", pair] / wall["before", pair]
            peak["ratio", pair] = peak["now", pair] / peak["before", pair]
        }
        print "        user+sys s  wall s  peak MiB"
        split("before now ratio", names, " ")
        for (n = 1; n <= 3; n++) printf "%-7s %10.2f %7.2f %9.2f\n", names[n], median(cpu, names[n]), median(wall, names[n]), median(peak, names[n])
    }' "$folder/times"
