#!/bin/bash
# One run on all hosts of a TPU pod slice (Cloud TPU VMs), from your own machine.
#
#   launch/tpu_pod.sh NAME ZONE setup                                   # once: installs stylegen on every host
#   launch/tpu_pod.sh NAME ZONE copy gs://BUCKET/bedroom --out ~/data/bedroom  # once: the data to every host's disk
#   launch/tpu_pod.sh NAME ZONE train --config lsun_bedroom_256 \
#       --run.dir gs://BUCKET/runs/bedroom --data.path ~/data/bedroom
#   launch/tpu_pod.sh NAME ZONE stop                                    # SIGTERM: all save and stop
#
# Hosts of a pod share no disk, so the run lives in a bucket. Each host keeps a working copy of it under ~/.cache.
# The same `train` command goes on with the run. STYLEGEN is what pip installs; default: stylegen[tpu,gcs].
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
name=$1 zone=$2 verb=$3
shift 3

on_all_hosts() {
    gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker all --command "$1"
}

quoted=
for word in "$@"; do
    quoted+=" $(printf '%q' "$word")"
done

case $verb in
setup) on_all_hosts "python3 -m venv ~/stylegen-venv && ~/stylegen-venv/bin/pip install -q '${STYLEGEN:-stylegen[tpu,gcs]}'" ;;
copy) on_all_hosts "~/stylegen-venv/bin/stylegen prepare copy$quoted" ;;
train) on_all_hosts "~/stylegen-venv/bin/stylegen train$quoted" ;;
stop) on_all_hosts "pkill -TERM -u \"\$USER\" -f 'stylegen-venv/bin/stylegen train' || true" ;;
*)
    echo "error: $verb: give setup, copy, train or stop." >&2
    exit 2
    ;;
esac
