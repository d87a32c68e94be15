/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * boda batch: look at batch files.
 */
#include "store/batch.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hex.h"
#include "host/boda/command.h"
#include "store/crypto.h"
#include "store/envelope.h"

enum { OPTION_IDENTITY = COMMAND_OWN, OPTION_PASSPHRASE, OPTION_CRL };

static const struct option options[] = {
    COMMAND_OPTIONS,
    {"identity", required_argument, NULL, OPTION_IDENTITY},
    {"passphrase-file", required_argument, NULL, OPTION_PASSPHRASE},
    {"crl", required_argument, NULL, OPTION_CRL},
    {NULL, 0, NULL, 0},
};

struct reader {
    struct identity *identity; /* NULL: hashes and structure only */
    struct trust *trust;
};

struct file {
    const char *path;
    struct buffer bytes;
    char id[BATCH_ID_TEXT_BYTES];
};

static int load(const char *path, struct file *file, struct error *error)
{
    unsigned char id[BATCH_ID_BYTES];

    memset(file, 0, sizeof *file);
    file->path = path;
    if (file_read(path, BATCH_MAX_BYTES, &file->bytes, error) != 0)
        return -1;
    if (EVP_Digest(file->bytes.data, file->bytes.length, id, NULL, EVP_sha256(), NULL) != 1) {
        buffer_free(&file->bytes);
        return crypto_error(error, ERROR_FAILED, "%s: cannot be hashed", path);
    }
    hex_encode(id, sizeof id, file->id);
    return 0;
}

/* Exported files are named by their id: such a name is checked. */
static int check_name(const struct file *file, struct error *error)
{
    char copy[PATH_MAX];
    const char *name;
    size_t digits;

    (void)snprintf(copy, sizeof copy, "%s", file->path);
    name = basename(copy);
    digits = strspn(name, "0123456789abcdef");
    if (digits == BATCH_ID_TEXT_BYTES - 1 && (name[digits] == '\0' || name[digits] == '.') &&
        strncmp(name, file->id, digits) != 0)
        return error_set(error, ERROR_CORRUPT, "%s: is named by another id, its own is %s",
                         file->path, file->id);
    return 0;
}

static int open_file(const struct reader *reader, const struct file *file,
                     struct opened_batch *opened, struct error *error)
{
    if (batch_open(reader->identity, reader->trust, NULL, file->bytes.data, file->bytes.length,
                   opened, NULL, error) != 0)
        return error_prefix(error, "%s", file->path);
    return 0;
}

static void print_opened(const struct file *file, const struct opened_batch *opened)
{
    const struct manifest *manifest = &opened->manifest;

    (void)printf("%s %zu %s %s %s %llu %s %llu\n", file->id, file->bytes.length, manifest->from,
                 manifest->to, manifest->epoch, (unsigned long long)manifest->seq, manifest->kind,
                 (unsigned long long)manifest->docs);
}

/* One line: id, size, and with the key what the signed manifest says. */
static int list(const struct reader *reader, const struct file *file, struct error *error)
{
    struct opened_batch opened;

    if (reader->identity == NULL) {
        (void)printf("%s %zu\n", file->id, file->bytes.length);
        return 0;
    }
    if (open_file(reader, file, &opened, error) != 0)
        return -1;
    print_opened(file, &opened);
    opened_batch_free(&opened);
    return 0;
}

static int verify(const struct reader *reader, const struct file *file, struct error *error)
{
    struct opened_batch opened;

    if (check_name(file, error) != 0)
        return -1;
    if (!envelope_is_sealed(file->bytes.data, file->bytes.length))
        return error_set(error, ERROR_CORRUPT, "%s: is not a batch", file->path);
    if (reader->identity == NULL) {
        (void)printf("%s: id %s, a sealed batch; who signed it can be told by its destination "
                     "alone (--identity)\n",
                     file->path, file->id);
        return 0;
    }
    if (open_file(reader, file, &opened, error) != 0)
        return -1;
    (void)printf("%s: id %s, signed by %s %s, whole\n", file->path, file->id,
                 role_name(opened.signer.role), opened.signer.name);
    opened_batch_free(&opened);
    return 0;
}

/* Manifest and documents to standard output. */
static int open_to_output(const struct reader *reader, const struct file *file, struct error *error)
{
    struct opened_batch opened;
    int result = 0;

    if (open_file(reader, file, &opened, error) != 0)
        return -1;
    if (fwrite(opened.plain.data, 1, opened.plain.length, stdout) != opened.plain.length)
        result = error_errno(error, errno, "standard output: cannot be written");
    opened_batch_free(&opened);
    return result;
}

static const struct action {
    const char *name;
    bool needs_key;
    int (*act)(const struct reader *reader, const struct file *file, struct error *error);
} actions[] = {
    {"verify", false, verify},
    {"list", false, list},
    {"open", true, open_to_output},
};

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(name, actions[i].name) == 0)
            return &actions[i];
    return NULL;
}

static int take_list(struct trust *trust, const char *path, struct error *error)
{
    FILE *stream = fopen(path, "re");
    X509_CRL *list;
    unsigned char *der = NULL;
    int size, result = -1;

    if (stream == NULL)
        return error_errno(error, errno, "%s: cannot be opened", path);
    list = PEM_read_X509_CRL(stream, NULL, NULL, NULL);
    (void)fclose(stream);
    size = list != NULL ? i2d_X509_CRL(list, &der) : -1;
    if (size <= 0)
        (void)crypto_error(error, ERROR_CORRUPT, "%s: is not a revocation list in PEM", path);
    else if (trust_update(trust, der, (size_t)size, NULL, error) < 0)
        (void)error_prefix(error, "%s", path);
    else
        result = 0;
    OPENSSL_free(der);
    X509_CRL_free(list);
    return result;
}

static int open_reader(struct reader *reader, const char *identity, const char *passphrase_file,
                       const char *crl, struct error *error)
{
    struct secret passphrase = {{0}};

    if (identity == NULL)
        return 0;
    if (secret_obtain(&passphrase, passphrase_file, "passphrase of the identity", error) == 0)
        reader->identity = identity_open(identity, &passphrase, error);
    secret_cleanse(&passphrase);
    if (reader->identity == NULL)
        return -1;
    reader->trust = trust_new(identity_ca(reader->identity), error);
    if (reader->trust == NULL)
        return -1;
    return crl != NULL ? take_list(reader->trust, crl, error) : 0;
}

/* Every file is looked at; the last fault is what the command ends with, earlier ones are printed. */
static int act_on_files(const struct action *action, const struct reader *reader, char **paths,
                        int count, struct error *error)
{
    struct error fault;
    struct file file;
    bool failed = false;

    for (int i = 0; i < count; i++) {
        if (load(paths[i], &file, &fault) == 0 && action->act(reader, &file, &fault) == 0) {
            buffer_free(&file.bytes);
            continue;
        }
        buffer_free(&file.bytes);
        if (failed)
            (void)fprintf(stderr, "boda: %s\n", error->text);
        *error = fault;
        failed = true;
    }
    return failed ? -1 : command_flush(error);
}

static int run(const struct command *command, int argc, char **argv, struct error *error)
{
    const char *identity = NULL, *passphrase_file = NULL, *crl = NULL;
    struct reader reader = {0};
    const struct action *action;
    int option, result = -1;

    while ((option = command_option(command, argc, argv, options, error)) != -1) {
        if (option == OPTION_IDENTITY)
            identity = optarg;
        else if (option == OPTION_PASSPHRASE)
            passphrase_file = optarg;
        else if (option == OPTION_CRL)
            crl = optarg;
        else if (option == '?')
            return -1;
        else
            return error_set(error, ERROR_USAGE, "-o: is not an option of boda batch");
    }
    action = optind < argc ? find_action(argv[optind]) : NULL;
    if (action == NULL || optind + 1 >= argc)
        return error_set(error, ERROR_USAGE, "batch: give verify, open or list, and FILE...");
    if (action->needs_key && identity == NULL)
        return error_set(error, ERROR_USAGE, "batch %s: give --identity FILE", action->name);
    if (open_reader(&reader, identity, passphrase_file, crl, error) == 0)
        result = act_on_files(action, &reader, argv + optind + 1, argc - optind - 1, error);
    trust_free(reader.trust);
    identity_free(reader.identity);
    return result;
}

const struct command batch_command = {
    "batch",
    "usage: boda batch verify|list|open [--identity FILE] [--passphrase-file FILE] [--crl FILE]\n"
    "                  FILE...\n"
    "\n"
    "Look at batch files (docs/batch.md). Without an identity only what anybody can see is known:\n"
    "the id and whether it is a batch at all. With the identity of its destination:\n"
    "  verify   check everything; also that a file named by an id has that id\n"
    "  list     print id, size, from, to, epoch, seq, kind, documents\n"
    "  open     write manifest and documents, one a line, to standard output: patients' records\n"
    "\n"
    "  --identity FILE          the destination's: server.p12, or a tablet's\n"
    "  --passphrase-file FILE   its passphrase\n"
    "  --crl FILE               the deployment's crl.pem: refuse what revoked stations signed\n"
    "  --log-level LEVEL        error, warning, info, debug\n"
    "  --help, --version\n",
    run,
};
