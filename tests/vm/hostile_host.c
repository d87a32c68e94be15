/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A host that means harm, for tests in the test machine: hostile_host BUS:DEV MODE [COUNT]; what the
 * modes do is in the table at the end.  SEED in the environment decides all that is random.  Exit
 * status 0: it was done; 1: the courier did what it must not, or cannot be reached; 2 wrong usage.
 */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libusb.h>

#include "link/bulk.h"

#define CONTROL_MS 3000 /* docs/protocol.md gives a courier no longer */
#define RESET_MS 3000
#define BULK_MS 50
#define GREETING_MS 3000
#define GREETING_BYTES 16
#define CONTROL_BYTES 4096 /* usbfs takes no more */
#define RESET_TYPE (LIBUSB_ENDPOINT_OUT | LIBUSB_REQUEST_TYPE_VENDOR | LIBUSB_RECIPIENT_INTERFACE)

struct host {
    libusb_context *context;
    libusb_device_handle *handle;
    uint8_t interface, in, out;
    uint64_t random;
    unsigned char nonce[BULK_NONCE_BYTES];
    unsigned char bytes[BULK_TRANSFER_BYTES];
};

static const char *const recipients[] = {"device", "interface", "endpoint", "other"};

/* ---- small things ---- */

/* SplitMix64: repeatable, unlike the C library's from one to another. */
static uint64_t next_random(struct host *host)
{
    uint64_t z = host->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static unsigned below(struct host *host, unsigned bound)
{
    return (unsigned)(next_random(host) % bound);
}

static void randomize(struct host *host, unsigned char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (unsigned char)next_random(host);
}

static void sleep_us(long us)
{
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

    (void)nanosleep(&time, NULL);
}

static int complain(const char *what, int code)
{
    printf("hostile host: %s: %s\n", what, libusb_strerror(code));
    return -1;
}

/* For the test, which then looks at the courier and ends this program. */
static int say_and_wait(const char *what)
{
    printf("%s\n", what);
    (void)fflush(stdout);
    while (pause() < 0 && errno == EINTR)
        continue;
    return 0;
}

/* ---- sessions, as an honest host begins them ---- */

static int claim(struct host *host)
{
    int code = libusb_claim_interface(host->handle, host->interface);

    return code == 0 ? 0 : complain("claim", code);
}

static int reset(struct host *host)
{
    int code;

    randomize(host, host->nonce, sizeof host->nonce);
    code = libusb_control_transfer(host->handle, RESET_TYPE, BULK_RESET_REQUEST, BULK_RESET_VALUE,
                                   host->interface, host->nonce, sizeof host->nonce, RESET_MS);
    return code == (int)sizeof host->nonce ? 0 : complain("RESET", code < 0 ? code : 0);
}

static int begin(struct host *host)
{
    return claim(host) == 0 ? reset(host) : -1;
}

/* LENGTH of the host's bytes; how many were taken, or libusb's code if none. */
static int send_bytes(struct host *host, size_t length, unsigned timeout_ms)
{
    int done = 0;
    int code =
        libusb_bulk_transfer(host->handle, host->out, host->bytes, (int)length, &done, timeout_ms);

    return done > 0 ? done : code;
}

static int send_greeting(struct host *host)
{
    int code;

    memcpy(host->bytes, "BODA USB", 8);
    memcpy(host->bytes + 8, host->nonce, BULK_NONCE_BYTES);
    code = send_bytes(host, GREETING_BYTES, GREETING_MS);
    return code == GREETING_BYTES ? 0 : complain("greeting", code);
}

/* A session in which both have greeted. */
static int greet(struct host *host)
{
    unsigned char answer[512];
    int code, done = 0;

    if (begin(host) != 0 || send_greeting(host) != 0)
        return -1;
    code = libusb_bulk_transfer(host->handle, host->in, answer, sizeof answer, &done, GREETING_MS);
    if (code == 0 && done == GREETING_BYTES && memcmp(answer, host->bytes, GREETING_BYTES) == 0)
        return 0;
    return complain("the courier's greeting", code);
}

/* The first thing that a host says in TLS: its length, in the host's bytes. */
static int make_hello(struct host *host)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = context != NULL ? SSL_new(context) : NULL;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    int length = -1;

    if (ssl != NULL && in != NULL && out != NULL) {
        SSL_set_bio(ssl, in, out);
        SSL_set_connect_state(ssl);
        (void)SSL_do_handshake(ssl);
        length = BIO_read(out, host->bytes, sizeof host->bytes);
    }
    SSL_free(ssl); /* the two BIOs as well */
    SSL_CTX_free(context);
    return length;
}

/* ---- control requests ---- */

struct request {
    uint8_t type, number;
    uint16_t value, index, length;
};

static struct request random_request(struct host *host)
{
    static const uint16_t lengths[] = {0, 1, 2, 7, BULK_NONCE_BYTES, 9, 18, 64, 255, CONTROL_BYTES};
    struct request request = {
        .type = (uint8_t)((next_random(host) & LIBUSB_ENDPOINT_IN) | below(host, 4) << 5 |
                          (below(host, 20) == 0 ? below(host, 32) : below(host, 4))),
        .number = (uint8_t)(below(host, 4) == 0 ? next_random(host) : below(host, 14)),
        .value = (uint16_t)(below(host, 2) == 0 ? next_random(host) : below(host, 4)),
        .index = (uint16_t)(below(host, 4) == 0 ? next_random(host) : host->interface),
        .length = below(host, 2) == 0 ? lengths[below(host, sizeof lengths / sizeof lengths[0])]
                                      : (uint16_t)below(host, CONTROL_BYTES + 1),
    };

    if ((request.type & 31) == LIBUSB_RECIPIENT_ENDPOINT && below(host, 4) != 0)
        request.index = below(host, 2) == 0 ? host->in : host->out;
    if (below(host, 4) == 0) { /* nearly RESET */
        request.type = RESET_TYPE;
        request.number = BULK_RESET_REQUEST;
        if (below(host, 3) != 0)
            request.value = BULK_RESET_VALUE;
        if (below(host, 3) != 0)
            request.length = BULK_NONCE_BYTES;
    }
    return request;
}

/* Of the standard requests to the device these would leave it without the host's driver knowing it:
 * what comes next would go nowhere. */
static bool takes_away(const struct request *request)
{
    return (request->type & 0x7f) == 0 && (request->number == LIBUSB_REQUEST_SET_ADDRESS ||
                                           request->number == LIBUSB_REQUEST_SET_CONFIGURATION);
}

static void set_configuration(struct host *host, uint16_t value)
{
    (void)libusb_control_transfer(host->handle, 0, LIBUSB_REQUEST_SET_CONFIGURATION, value, 0, NULL,
                                  0, CONTROL_MS);
}

static int control(struct host *host, unsigned count)
{
    static unsigned char data[CONTROL_BYTES];
    unsigned done = 0, stalled = 0, refused = 0, to[4] = {0};

    for (unsigned i = 0; i < count; i++) {
        struct request request = random_request(host);
        int code;

        if (takes_away(&request)) { /* so it comes back */
            set_configuration(host, below(host, 2) == 0 ? 0 : request.value);
            set_configuration(host, 1);
            continue;
        }
        randomize(host, data, 64);
        code = libusb_control_transfer(host->handle, request.type, request.number, request.value,
                                       request.index, data, request.length, CONTROL_MS);
        if (code == LIBUSB_ERROR_NO_DEVICE || code == LIBUSB_ERROR_TIMEOUT) {
            printf("request %u of %u: type %02x number %02x value %04x index %04x length %u\n",
                   i + 1, count, request.type, request.number, request.value, request.index,
                   request.length);
            return complain("a control request", code);
        }
        if (code >= 0)
            to[request.type & 3]++;
        done += code >= 0;
        stalled += code == LIBUSB_ERROR_PIPE;
        refused += code < 0 && code != LIBUSB_ERROR_PIPE;
    }
    printf("%u requests: %u done (", count, done);
    for (unsigned i = 0; i < 4; i++)
        printf("%s%u to %s", i > 0 ? ", " : "", to[i], recipients[i]);
    printf("), %u stalled, %u refused by this host\n", stalled, refused);
    return 0;
}

static int configure(struct host *host, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int code = libusb_set_configuration(host->handle, -1);

        if (code == 0)
            code = libusb_set_configuration(host->handle, 1);
        if (code != 0)
            return complain("SET_CONFIGURATION", code);
        if (below(host, 2) == 0 && begin(host) != 0)
            return -1;
        (void)libusb_set_interface_alt_setting(host->handle, host->interface, (int)below(host, 2));
        (void)libusb_release_interface(host->handle, host->interface);
    }
    printf("configured %u times\n", count);
    return 0;
}

static int resets(struct host *host, unsigned count)
{
    if (claim(host) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        if (reset(host) != 0) {
            printf("at RESET %u of %u\n", i + 1, count);
            return -1;
        }
    }
    printf("%u RESETs\n", count);
    return 0;
}

static void LIBUSB_CALL on_request(struct libusb_transfer *transfer)
{
    *(int *)transfer->user_data = 1;
}

/* RESET, given up US after it was begun, or (BUS_RESET) ended by a reset of the port. */
static int give_up(struct host *host, long us, bool bus_reset)
{
    unsigned char buffer[LIBUSB_CONTROL_SETUP_SIZE + BULK_NONCE_BYTES];
    struct libusb_transfer *transfer = libusb_alloc_transfer(0);
    int completed = 0, code, result = -1;

    if (transfer == NULL)
        return -1;
    libusb_fill_control_setup(buffer, RESET_TYPE, BULK_RESET_REQUEST, BULK_RESET_VALUE,
                              host->interface, BULK_NONCE_BYTES);
    randomize(host, buffer + LIBUSB_CONTROL_SETUP_SIZE, BULK_NONCE_BYTES);
    libusb_fill_control_transfer(transfer, host->handle, buffer, on_request, &completed, RESET_MS);
    code = libusb_submit_transfer(transfer);
    if (code == 0) {
        sleep_us(us);
        if (bus_reset)
            code = libusb_reset_device(host->handle);
        (void)libusb_cancel_transfer(transfer);
        while (!completed)
            (void)libusb_handle_events_completed(host->context, &completed);
        result = transfer->status == LIBUSB_TRANSFER_COMPLETED;
    }
    libusb_free_transfer(transfer);
    return code == 0 ? result : complain("RESET to be given up", code);
}

static int give_up_again(struct host *host, unsigned count, bool bus_reset)
{
    unsigned done = 0;

    if (claim(host) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        int result = give_up(host, (long)below(host, bus_reset ? 500 : 4000), bus_reset);

        if (result < 0)
            return -1;
        done += (unsigned)result;
    }
    printf("%u RESETs, of which %u were not given up in time\n", count, done);
    return 0;
}

static int given_up(struct host *host, unsigned count)
{
    return give_up_again(host, count, false);
}

static int bus_resets(struct host *host, unsigned count)
{
    return give_up_again(host, count, true);
}

/* The courier is stopped meanwhile: it finds the request, but nobody who sends its data. */
static int no_data(struct host *host, unsigned count)
{
    (void)count;
    if (claim(host) != 0)
        return -1;
    if (give_up(host, 100000, false) != 0) {
        printf("the courier took the data\n");
        return -1;
    }
    return say_and_wait("given up");
}

/* ---- the pipes ---- */

static int junk(struct host *host, unsigned count)
{
    int done = 0;

    if (claim(host) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        randomize(host, host->bytes, sizeof host->bytes);
        (void)send_bytes(host, below(host, BULK_TRANSFER_BYTES + 1), BULK_MS);
        (void)libusb_bulk_transfer(host->handle, host->in, host->bytes, BULK_TRANSFER_BYTES, &done,
                                   BULK_MS);
        if (done > 0) {
            printf("the courier sent %d bytes without a session\n", done);
            return -1;
        }
    }
    printf("%u transfers without a session\n", count);
    return 0;
}

static int noise(struct host *host, unsigned count)
{
    unsigned taken = 0;

    if (greet(host) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        randomize(host, host->bytes, sizeof host->bytes);
        host->bytes[0] |= 0x80; /* no TLS record, ever */
        taken += send_bytes(host, 1 + below(host, BULK_TRANSFER_BYTES), BULK_MS) > 0;
    }
    printf("%u of %u random transfers were taken\n", taken, count);
    return 0;
}

static int record(struct host *host, unsigned count)
{
    static const unsigned char header[] = {22, 3, 1, 0x40, 0};

    (void)count;
    if (greet(host) != 0)
        return -1;
    memcpy(host->bytes, header, sizeof header);
    if (send_bytes(host, sizeof header, GREETING_MS) != (int)sizeof header)
        return -1;
    return say_and_wait("a record has begun");
}

static int mute(struct host *host, unsigned count)
{
    (void)count;
    return begin(host) == 0 ? say_and_wait("RESET is done") : -1;
}

static int deaf(struct host *host, unsigned count)
{
    int length;

    (void)count;
    if (greet(host) != 0)
        return -1;
    length = make_hello(host);
    if (length <= 0 || send_bytes(host, (size_t)length, GREETING_MS) != length)
        return -1;
    return say_and_wait("the handshake has begun");
}

static int drip(struct host *host, unsigned count)
{
    int length;

    (void)count;
    if (greet(host) != 0)
        return -1;
    length = make_hello(host);
    printf("the handshake has begun\n");
    (void)fflush(stdout);
    for (int i = 0; i < length; i++) {
        (void)send_bytes(host, 1, GREETING_MS);
        memmove(host->bytes, host->bytes + 1, sizeof host->bytes - 1);
        sleep_us(300000);
    }
    return 0;
}

/* Transfers of LENGTH without an end. */
static int endless(struct host *host, size_t length)
{
    randomize(host, host->bytes, sizeof host->bytes);
    printf("begins\n");
    (void)fflush(stdout);
    while (send_bytes(host, length, RESET_MS) != LIBUSB_ERROR_NO_DEVICE)
        continue;
    return 0;
}

static int flood(struct host *host, unsigned count)
{
    (void)count;
    return begin(host) == 0 ? endless(host, BULK_TRANSFER_BYTES) : -1;
}

static int empty(struct host *host, unsigned count)
{
    (void)count;
    return greet(host) == 0 ? endless(host, 0) : -1;
}

/* ---- halts and claims ---- */

static void set_halt(struct host *host, uint8_t endpoint, bool on)
{
    (void)libusb_control_transfer(host->handle, LIBUSB_RECIPIENT_ENDPOINT,
                                  on ? LIBUSB_REQUEST_SET_FEATURE : LIBUSB_REQUEST_CLEAR_FEATURE,
                                  0 /* ENDPOINT_HALT */, endpoint, NULL, 0, CONTROL_MS);
}

static int halts(struct host *host, unsigned count)
{
    const uint8_t endpoints[] = {host->in, host->out, 0};

    if (greet(host) != 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        uint8_t endpoint = endpoints[below(host, 3)];

        if (endpoint != 0 && below(host, 4) == 0)
            (void)libusb_clear_halt(host->handle, endpoint);
        else
            set_halt(host, endpoint, below(host, 2) == 0);
        (void)send_bytes(host, below(host, 100), 2);
    }
    set_halt(host, host->in, true);
    set_halt(host, host->out, true);
    printf("%u halts, and both endpoints are left so\n", count);
    return 0;
}

static int claims(struct host *host, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (begin(host) != 0)
            return -1;
        if (below(host, 2) == 0)
            (void)send_greeting(host);
        if (below(host, 4) == 0)
            (void)libusb_set_interface_alt_setting(host->handle, host->interface, 0);
        (void)libusb_release_interface(host->handle, host->interface);
    }
    printf("%u claims\n", count);
    return 0;
}

/* ---- life ---- */

static int find_interface(struct host *host)
{
    struct libusb_config_descriptor *config;
    int result = -1;

    if (libusb_get_active_config_descriptor(libusb_get_device(host->handle), &config) != 0)
        return -1;
    for (unsigned i = 0; i < config->bNumInterfaces; i++) {
        const struct libusb_interface_descriptor *setting = config->interface[i].altsetting;

        if (setting->bInterfaceClass != BULK_INTERFACE_CLASS ||
            setting->bInterfaceSubClass != BULK_INTERFACE_SUBCLASS || setting->bNumEndpoints != 2)
            continue;
        host->interface = setting->bInterfaceNumber;
        for (unsigned j = 0; j < 2; j++) {
            uint8_t address = setting->endpoint[j].bEndpointAddress;

            *((address & LIBUSB_ENDPOINT_IN) != 0 ? &host->in : &host->out) = address;
        }
        result = 0;
    }
    libusb_free_config_descriptor(config);
    return result;
}

static int open_device(struct host *host, const char *address)
{
    libusb_device **list;
    ssize_t count;
    unsigned bus, device;
    int result = -1;

    if (sscanf(address, "%u:%u", &bus, &device) != 2 || libusb_init(&host->context) != 0)
        return -1;
    count = libusb_get_device_list(host->context, &list);
    for (ssize_t i = 0; i < count; i++) {
        if (libusb_get_bus_number(list[i]) == bus && libusb_get_device_address(list[i]) == device)
            result = libusb_open(list[i], &host->handle);
    }
    return result == 0 ? find_interface(host) : result;
}

static const struct mode {
    const char *name;
    int (*run)(struct host *host, unsigned count);
    const char *words;
} modes[] = {
    {"control", control, "COUNT random control requests"},
    {"configure", configure, "configuration 0 and 1, COUNT times, with sessions in between"},
    {"resets", resets, "COUNT RESETs"},
    {"given-up", given_up, "COUNT RESETs, which are given up before they are done"},
    {"bus-resets", bus_resets, "COUNT RESETs, in each of which the port is reset"},
    {"no-data", no_data, "RESET of a stopped courier, given up; then waits"},
    {"junk", junk, "COUNT random transfers without RESET"},
    {"noise", noise, "a session, then COUNT random transfers"},
    {"record", record, "a session, then a TLS record that does not end"},
    {"mute", mute, "RESET, then silence"},
    {"deaf", deaf, "a session whose handshake has begun, and of which nothing is read"},
    {"drip", drip, "a session, then a byte of the handshake now and then"},
    {"flood", flood, "RESET, then random transfers without an end and without greeting"},
    {"empty", empty, "a session, then empty transfers without an end"},
    {"halts", halts, "COUNT halts of endpoints, which are left halted"},
    {"claims", claims, "COUNT claims, each with RESET, some with a greeting"},
};

static int usage(void)
{
    printf("usage: hostile_host BUS:DEV MODE [COUNT]\n");
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        printf("  %-12s %s\n", modes[i].name, modes[i].words);
    return 2;
}

int main(int argc, char **argv)
{
    const char *seed = getenv("SEED");
    unsigned count = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 1;
    static struct host host;
    int result = 2;

    host.random = seed != NULL ? strtoull(seed, NULL, 10) : 1;
    if (argc < 3)
        return usage();
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[2], modes[i].name) != 0)
            continue;
        if (open_device(&host, argv[1]) != 0) {
            printf("hostile host: cannot open %s as a courier\n", argv[1]);
            return 1;
        }
        result = modes[i].run(&host, count) == 0 ? 0 : 1;
        libusb_close(host.handle);
        libusb_exit(host.context);
        return result;
    }
    return usage();
}
