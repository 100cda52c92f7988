#!/usr/bin/env bash
# Starts a profile of models.conf, and shows its dashboard.
#
#   ./start.sh                        a menu of the profiles
#   ./start.sh --list                 what there is, and what is known of it
#   ./start.sh glm-q8 [OPTION...]     that one; options are those of placer serve:
#                                     --no-dashboard, --port 8081, --refit ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

placer=.venv/bin/placer
if [ ! -x "$placer" ]; then
    placer=$(command -v placer) || {
        echo "start.sh: placer is not installed; scripts/setup does that" >&2
        exit 3
    }
fi

if [ "${1:-}" = --list ]; then
    shift
    exec "$placer" profiles "$@"
fi
exec "$placer" serve "$@"
