#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# boda init, enroll, revoke: what they write is what openssl accepts, keys are private, names are given once, wrong words
# are refused with exit status 2 and other faults with 1, and nothing is left behind by what failed.
set -euo pipefail
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/identities.XXXXXX")
trap 'rm -r "$work"' EXIT
cd "$work"
boda=$BIN/boda

# refuse STATUS WORDS COMMAND...: the command ends with STATUS and says WORDS.
refuse() {
    local status=0 expected=$1 words=$2
    shift 2
    "$@" >out 2>said </dev/null || status=$?
    if [[ $status -ne $expected ]] || ! grep -qF -- "$words" said; then
        echo "$*: status $status, expected $expected with '$words', but it said:"
        cat said
        exit 1
    fi
}

# value NAME FILE: the value of the line 'NAME VALUE'.
value() {
    sed -n "s/^$1 //p" "$2"
}

secret_file() {
    printf '%s\n' "$2" >"$1"
    chmod 600 "$1"
}

# A generated passphrase opens what init made.
"$boda" init d --name 'district 9' >made
secret_file pass "$(value passphrase made)"
for file in ca.p12 server.p12 dock.p12; do
    [[ $(stat -c %a "d/$file") == 600 ]]
    openssl pkcs12 -in "d/$file" -noout -passin file:pass
done
openssl verify -CAfile d/ca.crt d/stations/server.crt d/stations/dock.crt >/dev/null
refuse 2 'has a deployment already' "$boda" init d --name again
refuse 2 'give one DIR and --name' "$boda" init e

# Enrolling: the printed lines, the file, the record.
enroll() {
    "$boda" enroll "$@" --deployment d --passphrase-file pass
}
enroll tablet t1 --user chw1 -o t1.p12 >tablet.said
[[ $(value identity tablet.said) == t1.p12 ]]
[[ $(value secret tablet.said) =~ ^[a-z2-7]{32}$ ]]
[[ $(stat -c %a t1.p12) == 600 ]]
secret_file t1.pass "$(value passphrase tablet.said)"
openssl pkcs12 -in t1.p12 -noout -passin file:t1.pass
openssl x509 -in d/stations/t1.crt -noout -subject -enddate >said
grep -q 'OU = tablet, CN = t1, UID = chw1' said
grep -q 'notAfter=Dec 31 23:59:59 9999 GMT' said
openssl verify -purpose smimesign -CAfile d/ca.crt d/stations/t1.crt >/dev/null
openssl verify -purpose sslclient -CAfile d/ca.crt d/stations/t1.crt >/dev/null
enroll courier c1 -o c1.p12 --new-passphrase-file t1.pass >courier.said
if grep -q 'passphrase\|secret' courier.said; then
    echo 'enroll printed what was read from a file'
    exit 1
fi

# A dock for another PC gets all but the CA's key.
mkdir pc
enroll dock dock2 -o pc/dock.p12 --new-passphrase-file t1.pass >dock.said
[[ $(cd pc && echo *) == 'ca.crt crl.pem dock.p12 server.p12' ]]
openssl pkcs12 -in pc/server.p12 -noout -passin file:t1.pass

# Words that are off.
refuse 2 'a name is given once' enroll tablet t1 --user chw1 -o t1b.p12
refuse 2 'exists' enroll tablet t5 --user chw1 -o t1.p12
refuse 2 'give --user' enroll tablet t5 -o t5.p12
refuse 2 'only a tablet has a CHT user' enroll courier c5 --user chw1 -o c5.p12
refuse 2 'a name is 1 to 64' enroll courier ../c5 -o c5.p12
refuse 2 "is the server's and no other's" enroll dock server -o c5.p12
refuse 2 'is none of tablet, courier, dock' enroll server x -o c5.p12
refuse 2 'is not an option' enroll courier c5 --nonsense -o c5.p12
refuse 2 'needs a value' "$boda" enroll courier c5 -o
refuse 2 'is not a subcommand' "$boda" nonsense
refuse 2 'no subcommand' "$boda"
[[ ! -e c5.p12 && ! -e t5.p12 && ! -e t1b.p12 && ! -e d/stations/c5.crt ]]

# Faults: wrong passphrase, one that others can read, an output that cannot be written, which leaves no record.
secret_file wrong nonsense
refuse 1 'the passphrase is wrong' "$boda" enroll courier c5 -o c5.p12 --deployment d --passphrase-file wrong
cp pass open
chmod 644 open
refuse 1 'chmod 600' "$boda" enroll courier c5 -o c5.p12 --deployment d --passphrase-file open
refuse 1 'cannot be' enroll courier c5 -o nowhere/c5.p12
enroll courier c5 -o c5.p12 >/dev/null

# From a request: the key stays here, only it counts.
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
openssl req -new -key key.pem -subj '/CN=server/OU=server' -out t2.csr
enroll tablet t2 --user chw2 --csr t2.csr -o t2.pem >made 2>said
[[ $(value certificates made) == t2.pem ]]
grep -q -- '--show-secret' said
openssl x509 -in t2.pem -noout -subject | grep -q 'OU = tablet, CN = t2, UID = chw2'
openssl pkcs12 -export -inkey key.pem -in t2.pem -out t2.p12 -passout file:t1.pass
chmod 600 t2.p12
echo nonsense >no.batch
refuse 1 'is not a batch' "$boda" batch open --identity t2.p12 --passphrase-file t1.pass no.batch
chmod 644 t2.p12
refuse 1 'chmod 600' "$boda" batch open --identity t2.p12 --passphrase-file t1.pass no.batch
sed '3s/[A-M]/Z/' t2.csr >changed.csr
refuse 1 'changed.csr: ' enroll tablet t3 --user chw2 --csr changed.csr -o t3.pem
openssl ecparam -name secp384r1 -genkey -noout -out key384.pem
openssl req -new -key key384.pem -subj /CN=t3 -out t3.csr
refuse 1 'not on the curve P-256' enroll tablet t3 --user chw2 --csr t3.csr -o t3.pem
openssl req -new -newkey rsa:2048 -nodes -keyout rsa.pem -subj /CN=t3 -out rsa.csr 2>/dev/null
refuse 1 'not on the curve P-256' enroll tablet t3 --user chw2 --csr rsa.csr -o t3.pem
[[ ! -e t3.pem && ! -e d/stations/t3.crt ]]

# Revoking: the list grows and counts up; a name is not given again.
revoke() {
    "$boda" revoke "$@" --deployment d --passphrase-file pass
}
revoke t1 | grep -q '^list 2$'
revoke c1 | grep -q '^list 3$'
openssl crl -in d/crl.pem -noout -CAfile d/ca.crt 2>said
grep -q 'verify OK' said
cat d/ca.crt d/crl.pem >both.pem
refuse 2 'revoked' openssl verify -CAfile both.pem -crl_check d/stations/t1.crt
openssl verify -CAfile both.pem -crl_check d/stations/t2.crt >/dev/null
refuse 2 'is on the revocation list already' revoke t1
refuse 2 'is not of the deployment' revoke nobody
refuse 2 'make a new deployment' revoke server
refuse 2 'a name is given once' enroll tablet t1 --user chw1 -o t1b.p12

# Help and version of each.
for command in init enroll revoke status batch; do
    "$boda" "$command" --help | grep -q "^usage: boda $command"
    "$boda" "$command" --version | grep -q '^boda '
done
"$boda" --version | grep -q '^boda '
