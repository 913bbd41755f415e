#!/bin/sh
# JupyterLab on the image's notebooks: `start.sh [jupyter lab options]`. They are copied to the volume, where they can be changed;
# one that lies there already stays as it is.
set -eu
umask 077
if [ "$(id -u)" = 0 ]; then
    echo "jupyter: this is root. Run it as an ordinary user: the image's is 10001." >&2
    exit 1
fi
here=$(dirname "$(readlink -f "$0")")
state=${TOKENMILL_STATE:-/state}
mkdir -p "$state/notebooks"
cp -Rn "$here/../../notebooks/." "$state/notebooks/"
export JUPYTER_CONFIG_PATH="$here/defaults"
exec jupyter lab --config="$here/jupyter_server_config.py" "$@"
