#!/bin/bash
# One run on several machines that ssh reaches without a password: one process each, which uses all of its devices.
#
#   launch/ssh.sh host1,host2 --config lsun_bedroom_256 --run.dir /shared/runs/bedroom --data.path /shared/data/bedroom
#
# The first host is process 0, which the others must reach at PORT (default 12346). All need the same stylegen; TRAIN is
# how it is called there (default: stylegen train). Ctrl-C, or SIGTERM, stops all of them after the same step; the same
# command goes on with the run.
set -uo pipefail

if [ $# -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
IFS=, read -ra hosts <<<"$1"
shift
port=${PORT:-12346}
train=${TRAIN:-stylegen train}
first=${hosts[0]##*@} # of user@host, the host
pid_file=".stylegen-$port.pid"

quoted=
for word in "$@"; do
    quoted+=" $(printf '%q' "$word")"
done

stop() {
    # ssh hands no signals on. One process is enough: it tells the others, and all stop after the same step.
    ssh -o BatchMode=yes "${hosts[0]}" "kill -TERM \$(cat $pid_file)"
}
trap stop INT TERM

pids=()
for index in "${!hosts[@]}"; do
    place="--distributed.coordinator $first:$port --distributed.num-processes ${#hosts[@]} --distributed.process-id $index"
    before=
    if [ "$index" -eq 0 ]; then before="echo \$\$ >$pid_file; "; fi
    ssh -o BatchMode=yes "${hosts[$index]}" "${before}exec $train$quoted $place" &
    pids+=($!)
done

status=0
for pid in "${pids[@]}"; do
    code=129
    # The trap interrupts wait with a status above 128: wait again for what is still there.
    while [ "$code" -gt 128 ]; do
        wait "$pid" && code=0 || code=$?
        kill -0 "$pid" 2>/dev/null || break
    done
    if [ "$code" -ne 0 ]; then status=$code; fi
done
exit "$status"
