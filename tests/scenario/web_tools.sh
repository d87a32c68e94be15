#!/bin/sh
# Goal: the tests' own tools are to be trusted: the CHT front behaves as CHT does, the comparison sees each sort of difference.
set -eu
cd "$(dirname "$0")/../.."
exec node tests/web/selftest.js
