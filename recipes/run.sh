#!/bin/sh
# Runs wdt-lake for a scheduler that knows only success and failure, such as cron, systemd and DolphinScheduler:
#
#   run.sh sync --lake /var/lib/wdt-lake/lake
#
# - 0: success.
# - 3: success too, and somebody is told.
# - 5, 6, 7: the same command runs again after RUN_PAUSE seconds (300), RUN_TRIES times in all (3).
# - all else: failure at once; running again does not help.
#
# It prints the summary as one line of JSON, and ends with 0 or with the last exit code. Whatever is not 0 goes to alert.py beside this file,
# which sends it to a group chat, or prints it where none is set up. A signal is passed on, and the run ends in order within ten seconds.
set -u
here=$(dirname "$0")
tries=${RUN_TRIES:-3}
pause=${RUN_PAUSE:-300}

summary=$(mktemp) || exit 1
child=
signalled=
trap 'rm -f "$summary"' EXIT
trap 'signalled=yes; again=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP

# Waits for a command that a signal may reach through this script. Sets `code`.
run() {
    "$@" &
    child=$!
    # A signal ends `wait`, not the command, so that it is waited for again. 127 is what `wait` says of a command that it knows no more.
    code=127
    again=yes
    while [ -n "$again" ]; do
        again=
        wait "$child"
        ended=$?
        [ "$ended" -eq 127 ] || code=$ended
    done
    child=
}

while :; do
    run wdt-lake "$@" --json >"$summary"
    cat "$summary"
    tries=$((tries - 1))
    case $code in
        5 | 6 | 7) [ "$tries" -gt 0 ] && [ -z "$signalled" ] || break ;;
        *) break ;;
    esac
    ended_with=$code
    run sleep "$pause"
    if [ -n "$signalled" ]; then
        code=$ended_with
        break
    fi
done

# Whoever ended the run knows of it.
if [ "$code" -ne 0 ] && [ -z "$signalled" ]; then
    "$here/alert.py" "$code" <"$summary"
fi
[ "$code" -ne 3 ] || code=0
exit "$code"
