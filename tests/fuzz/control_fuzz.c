/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A whole exchange against a peer that says anything at all: frames out of the input go to a host or
 * a gadget with a real store (in memory where /dev/shm is).  It must answer or end, never crash, and
 * what it says back must be frames.
 *
 * The first byte: bit 0 the role (0 gadget, 1 host), bit 1 the host is a dock, bit 2 the input has no
 * HELLO of its own, give one.  The rest: frames.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "link/exchange.h"
#include "store/authority.h"
#include "store/batches.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct bench {
    struct authority *authority;
    char folder[64];
    struct store *store;
    unsigned runs;
};

static void die(const struct error *error)
{
    fprintf(stderr, "control_fuzz: %s\n", error->text);
    exit(1);
}

static void add(struct store *store, const char *from, const char *to, unsigned char id,
                size_t size)
{
    struct label label = {.epoch = "00000000000000e1", .seq = id, .size = size};
    unsigned char *bytes = calloc(1, size);
    struct error error;

    snprintf(label.from, sizeof label.from, "%s", from);
    snprintf(label.to, sizeof label.to, "%s", to);
    memset(label.id, id, sizeof label.id);
    if (bytes == NULL || store_begin(store, &error) != 0 ||
        batches_add(store, &label, bytes, size, &error) != 0 || store_commit(store, &error) != 0)
        die(&error);
    free(bytes);
}

/* A new store now and then, with something to offer to anybody. */
static void open_store(struct bench *bench)
{
    struct store_options options = {.station = "x1", .role = "courier", .reserve_bytes = 1};
    struct error error;

    snprintf(bench->folder, sizeof bench->folder, "%s/boda-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(bench->folder) == NULL)
        exit(1);
    options.directory = bench->folder;
    bench->store = store_open(&options, &error);
    if (bench->store == NULL)
        die(&error);
    add(bench->store, "t1", "server", 1, 70000);
    add(bench->store, "t1", "server", 2, 10);
    add(bench->store, "server", "t1", 3, 200);
    add(bench->store, "server", "t2", 4, 200);
}

static void close_store(struct bench *bench)
{
    char command[128];

    store_close(bench->store);
    bench->store = NULL;
    snprintf(command, sizeof command, "rm -rf '%s'", bench->folder);
    if (system(command) != 0)
        exit(1);
}

static void hear(struct exchange *exchange, struct buffer *out)
{
    struct frame frame;
    size_t at = 0, used;
    struct error error;
    int got;

    (void)exchange_send(exchange, out, 1u << 16, &error);
    if (out->length == 0)
        return;
    while ((got = frame_decode(out->data + at, out->length - at, &frame, &used, &error)) == 1)
        at += used;
    if (got != 0 || at != out->length)
        abort();
    out->length = 0;
}

static void feed(struct exchange *exchange, const uint8_t *data, size_t size)
{
    struct buffer out = {0};
    struct frame frame;
    size_t at = 0, used;
    struct error error;
    int64_t now_ms = 0;

    hear(exchange, &out);
    while (frame_decode(data + at, size - at, &frame, &used, &error) == 1) {
        error.text[0] = '\0';
        if (exchange_receive(exchange, &frame, &error) != 0 &&
            (error.text[0] == '\0' || exchange_phase(exchange) != EXCHANGE_OVER))
            abort();
        at += used;
        hear(exchange, &out);
        now_ms += 150;
        (void)exchange_tick(exchange, now_ms, &error);
        hear(exchange, &out);
    }
    buffer_free(&out);
}

static void greet(struct exchange *exchange)
{
    static const char hello[] = "{\"protocol\":1,\"software\":\"fuzz\",\"store\":"
                                "\"00112233445566778899aabbccddeeff\",\"free_bytes\":1,\"crl\":0}";
    const struct frame frame = {FRAME_HELLO, 0, (const unsigned char *)hello, sizeof hello - 1};
    struct error error;

    if (exchange_receive(exchange, &frame, &error) != 0)
        die(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bench bench;
    struct station tablet = {.name = "t1", .role = ROLE_TABLET},
                   dock = {.name = "d1", .role = ROLE_DOCK},
                   courier = {.name = "c1", .role = ROLE_COURIER};
    struct exchange_options options = {0};
    struct exchange *exchange;
    struct error error;
    const struct station *host;

    if (size < 1)
        return 0;
    if (bench.authority == NULL) {
        (void)log_set_level("error");
        bench.authority = authority_new("fuzz", &error);
        if (bench.authority == NULL)
            die(&error);
    }
    if (bench.store != NULL && ++bench.runs % 500 == 0)
        close_store(&bench);
    if (bench.store == NULL)
        open_store(&bench);
    host = (data[0] & 2) != 0 ? &dock : &tablet;
    options.store = bench.store;
    options.self = (data[0] & 1) != 0 ? host : &courier;
    options.peer = (data[0] & 1) != 0 ? &courier : host;
    options.own_mail = (data[0] & 1) == 0 ? NULL : host == &dock ? SERVER_NAME : host->name;
    options.trust = trust_new(authority_certificate(bench.authority), &error);
    exchange = (data[0] & 1) != 0 ? exchange_host_new(&options, &error)
                                  : exchange_gadget_new(&options, &error);
    if (options.trust == NULL || exchange == NULL)
        die(&error);
    if ((data[0] & 4) != 0)
        greet(exchange);
    feed(exchange, data + 1, size - 1);
    exchange_free(exchange);
    trust_free(options.trust);
    return 0;
}
