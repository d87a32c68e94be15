/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The deployment's folder, as the administrator has it:
 *
 *   ca.crt crl.pem        the CA's certificate and the revocation list, both PEM
 *   ca.p12                the CA's key
 *   server.p12 dock.p12   the server's identity, the first dock's
 *   stations/NAME.crt     the certificate of every station, revoked ones too
 *
 * all .p12 files under one passphrase.  ca.crt is written last: without it there is no deployment.
 */
#ifndef BODA_HOST_BODA_ADMIN_H
#define BODA_HOST_BODA_ADMIN_H

#include "store/authority.h"

/* Write "DIR/NAME" to PATH, which has PATH_MAX bytes. */
int admin_path(const char *dir, const char *name, char *path, struct error *error);

/* Its CA with the newest list.  The passphrase is got as secret_obtain does. */
struct authority *admin_open(const char *dir, const struct secret *passphrase, struct error *error);

/* Get the passphrase of the deployment DIR from FILE or wherever else secret_obtain looks. */
int admin_passphrase(const char *dir, const char *file, struct secret *passphrase,
                     struct error *error);

/* The passphrase of something new: the first line of FILE, or generated (FILE NULL). */
int admin_new_passphrase(const char *file, struct secret *passphrase, struct error *error);

/* The certificate of station NAME; NULL with ERROR_USAGE when there is none. */
X509 *admin_station(const char *dir, const char *name, struct error *error);

/* Record the certificate of a new station; -1 with ERROR_USAGE when the name was given before, also
 * to one that is revoked now.  admin_forget takes the record back when enrolling failed. */
int admin_record(const char *dir, const char *name, X509 *certificate, struct error *error);
void admin_forget(const char *dir, const char *name);

/* Write DIR/ca.crt and DIR/crl.pem. */
int admin_write_ca(const char *dir, const struct authority *authority, struct error *error);
int admin_write_list(const char *dir, const struct authority *authority, struct error *error);

/* CERTIFICATE as PEM, appended to OUT. */
int admin_pem(X509 *certificate, struct buffer *out, struct error *error);

#endif
