#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# The demo in a test machine (tests/vm): a real USB stack between courier, tablet and office PC, udev and systemd start what is to
# start. The environment: BIN, DOCS_COUNT, DOCS=FILE, PLACE as demo.js has them.
set -eu
if [ -n "${DOCS:-}" ]; then
	DOCS=$(realpath -- "$DOCS")
	export DOCS
fi
exec "$(dirname "$0")/../vm/run" --systemd --timeout 3600 --memory 2048 \
	--env USB --env BIN --env DOCS --env DOCS_COUNT --env PLACE --env KEEP -- "$(dirname "$0")/demo.sh"
