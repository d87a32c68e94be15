#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# A batch that Boda sealed is opened with the openssl and zstd command lines alone, as docs/batch.md says, and one that
# those made is opened by Boda. A changed byte is refused by openssl, too.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/batch.XXXXXX")
trap 'rm -r "$work"' EXIT
flavour=$(dirname "$BIN")
tests=$flavour/tests/unit/batch_test

make -s FLAVOUR="$(basename "$flavour")" BUILD="$(dirname "$flavour")" "$tests" >/dev/null
BATCH_FILES=$work "$tests" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
cd "$work"

# docs/batch.md, "Opening one by hand"
openssl pkcs12 -in server.p12 -nodes -out server.pem -passin pass:test
openssl cms -decrypt -binary -inform DER -in batch -recip server.pem -inkey server.pem -out signed.der
openssl cms -verify -binary -inform DER -in signed.der -CAfile ca.crt -no_check_time -signer signer.pem -out lines.zst
zstd -q -d -c lines.zst >opened
cmp opened lines
openssl x509 -in signer.pem -noout -subject | grep -q 'OU = tablet, CN = t1, UID = chw1'

# With the revocation list.
cat ca.crt crl.pem >both.pem
openssl cms -verify -binary -inform DER -in signed.der -CAfile both.pem -crl_check -no_check_time -out again.zst
cmp lines.zst again.zst

# The algorithms are those of the page.
openssl cms -cmsout -print -noout -inform DER -in batch >structure
for word in id-smime-ct-authEnvelopedData aes-256-gcm dhSinglePass-stdDH-sha256kdf-scheme id-aes256-wrap; do
    grep -q "$word" structure || { echo "the sealed layer has no $word"; exit 1; }
done
openssl cms -cmsout -print -noout -inform DER -in signed.der >structure
for word in pkcs7-signedData sha256 ecdsa-with-SHA256; do
    grep -q "$word" structure || { echo "the signed layer has no $word"; exit 1; }
done

# A changed last byte.
head -c -1 batch >changed
tail -c 1 batch | tr '\000-\377' '\001-\377\000' >>changed
if openssl cms -decrypt -binary -inform DER -in changed -recip server.pem -inkey server.pem -out nothing 2>/dev/null; then
    echo 'openssl opened a changed batch'
    exit 1
fi

# The other way round: a batch by openssl and zstd, here signed by the server for itself.
printf '%s\n' '{"boda":1,"from":"server","to":"server","epoch":"0123456789abcdef","seq":1,"kind":"docs","db":"medic","user":"","docs":1,"created":""}' \
    '{"_id":"a"}' >mine
zstd -q -c mine >mine.zst
openssl cms -sign -binary -nodetach -md sha256 -in mine.zst -signer server.pem -inkey server.pem -outform DER -out mine.signed
openssl cms -encrypt -binary -aes-256-gcm -in mine.signed -outform DER -out mine.batch -recip server.pem \
    -keyopt ecdh_kdf_md:sha256
echo test >passphrase
chmod 600 passphrase
"$BIN/boda" batch open --identity server.p12 --passphrase-file passphrase mine.batch >mine.opened
cmp mine mine.opened
"$BIN/boda" batch verify --identity server.p12 --passphrase-file passphrase batch mine.batch
"$BIN/boda" batch list batch | grep -q "^$(sha256sum batch | cut -d ' ' -f 1) "
if "$BIN/boda" batch open --identity server.p12 --passphrase-file passphrase changed >nothing 2>said; then
    echo 'boda opened a changed batch'
    exit 1
fi
test ! -s nothing
grep -q 'was altered or cut' said
