#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# The demo: a PouchDB's documents reach a server through tablet, courier and dock. demo.js tells what the environment may say.
set -eu
here=$(dirname "$0")
if [ ! -d "$here/node_modules/pouchdb" ]; then
	echo "demo: $here/node_modules is missing: run 'npm ci --ignore-scripts' in $here" >&2
	exit 1
fi
exec node "$here/demo.js"
