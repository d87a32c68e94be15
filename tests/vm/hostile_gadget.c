/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * A device that means harm, for tests in the test machine: hostile_gadget UDC MODE; what the modes do
 * is in the table at the end.  It says "ready" when hosts can see it, and goes at SIGTERM.  One on a
 * UDC, as root; configfs is mounted.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/usb/functionfs.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "link/bulk.h"

#define GADGETS "/sys/kernel/config/usb_gadget"
#define NAME_BYTES 128 /* a string descriptor has 126 UTF-16 units at most */
#define PATH_BYTES 256
#define ENDPOINTS_MOST 2
#define BULK USB_ENDPOINT_XFER_BULK
#define INTERRUPT USB_ENDPOINT_XFER_INT
#define IN USB_DIR_IN
#define OUT USB_DIR_OUT

struct gadget;

struct mode {
    const char *name;
    unsigned endpoints;
    uint8_t address[ENDPOINTS_MOST], type[ENDPOINTS_MOST];
    bool deaf;                            /* no event is ever read */
    bool strange;                         /* names of the longest kind */
    void (*asked)(struct gadget *gadget); /* RESET waits for its data; NULL: a stall */
    void (*sends)(struct gadget *gadget); /* a session begins: in a thread of its own */
    const char *words;
};

struct gadget {
    const struct mode *mode;
    const char *udc;
    char folder[PATH_BYTES], mount[PATH_BYTES], function[PATH_BYTES];
    int ep0, in, out;
    unsigned char nonce[BULK_NONCE_BYTES];
    pthread_t sender;
    bool sending;
};

/* ---- files ---- */

static void die(const char *what, const char *which)
{
    printf("hostile gadget: %s %s: %s\n", what, which, strerror(errno));
    exit(1);
}

__attribute__((format(printf, 2, 3))) static void make_path(char path[PATH_BYTES],
                                                            const char *format, ...)
{
    va_list list;

    va_start(list, format);
    (void)vsnprintf(path, PATH_BYTES, format, list);
    va_end(list);
}

static void make_folder(const struct gadget *gadget, const char *name)
{
    char path[PATH_BYTES];

    make_path(path, "%s/%s", gadget->folder, name);
    if (mkdir(path, 0755) != 0)
        die("cannot make", path);
}

static int write_file(const struct gadget *gadget, const char *name, const char *text)
{
    char path[PATH_BYTES];
    ssize_t put;
    int fd;

    make_path(path, "%s/%s", gadget->folder, name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        die("cannot open", path);
    put = write(fd, text, strlen(text));
    (void)close(fd);
    return put < 0 ? -1 : 0;
}

static void must_write(const struct gadget *gadget, const char *name, const char *text)
{
    if (write_file(gadget, name, text) != 0)
        die("cannot write", name);
}

/* ---- descriptors ---- */

struct bytes {
    unsigned char data[512];
    size_t length;
};

static void put(struct bytes *bytes, const void *data, size_t length)
{
    if (length > sizeof bytes->data - bytes->length)
        abort();
    memcpy(bytes->data + bytes->length, data, length);
    bytes->length += length;
}

static void put_u32(struct bytes *bytes, uint32_t value)
{
    value = htole32(value);
    put(bytes, &value, sizeof value);
}

static void put_interface(struct bytes *bytes, const struct mode *mode, bool high)
{
    const struct usb_interface_descriptor interface = {
        .bLength = USB_DT_INTERFACE_SIZE,
        .bDescriptorType = USB_DT_INTERFACE,
        .bNumEndpoints = (__u8)mode->endpoints,
        .bInterfaceClass = BULK_INTERFACE_CLASS,
        .bInterfaceSubClass = BULK_INTERFACE_SUBCLASS,
        .bInterfaceProtocol = BULK_INTERFACE_PROTOCOL,
        .iInterface = 1,
    };

    put(bytes, &interface, sizeof interface);
    for (unsigned i = 0; i < mode->endpoints; i++) {
        const struct usb_endpoint_descriptor_no_audio endpoint = {
            .bLength = USB_DT_ENDPOINT_SIZE,
            .bDescriptorType = USB_DT_ENDPOINT,
            .bEndpointAddress = (__u8)(mode->address[i] | (i + 1)),
            .bmAttributes = mode->type[i],
            .wMaxPacketSize = htole16(mode->type[i] == BULK && high ? 512 : 64),
            .bInterval = mode->type[i] == BULK ? 0 : 4,
        };

        put(bytes, &endpoint, sizeof endpoint);
    }
}

/* Every unit of TEXT but the last is one of these: what a log, a shell or a format would stumble over. */
static void make_name(char text[NAME_BYTES], bool strange)
{
    static const char odd[] = "\"'`$(reboot)\\;\n\r\t\x1b[31m%s%n<b>&\x7f../\x01";

    if (!strange) {
        (void)snprintf(text, NAME_BYTES, "hostile");
        return;
    }
    for (size_t i = 0; i < 126; i++)
        text[i] = odd[i % (sizeof odd - 1)];
    text[125] = 'x'; /* configfs takes a newline at the end for its own */
    text[126] = '\0';
}

static void write_descriptors(const struct gadget *gadget)
{
    const struct mode *mode = gadget->mode;
    struct bytes bytes = {.length = 0}, strings = {.length = 0};
    char name[NAME_BYTES];
    uint16_t language = htole16(0x0409);
    uint32_t length;

    put_u32(&bytes, FUNCTIONFS_DESCRIPTORS_MAGIC_V2);
    put_u32(&bytes, 0); /* the length, below */
    put_u32(&bytes, FUNCTIONFS_HAS_FS_DESC | FUNCTIONFS_HAS_HS_DESC);
    put_u32(&bytes, 1 + mode->endpoints);
    put_u32(&bytes, 1 + mode->endpoints);
    put_interface(&bytes, mode, false);
    put_interface(&bytes, mode, true);
    length = htole32((uint32_t)bytes.length);
    memcpy(bytes.data + 4, &length, sizeof length);

    make_name(name, mode->strange);
    put_u32(&strings, FUNCTIONFS_STRINGS_MAGIC);
    put_u32(&strings, (uint32_t)(4 * sizeof length + sizeof language + strlen(name) + 1));
    put_u32(&strings, 1);
    put_u32(&strings, 1);
    put(&strings, &language, sizeof language);
    put(&strings, name, strlen(name) + 1);
    if (write(gadget->ep0, bytes.data, bytes.length) != (ssize_t)bytes.length ||
        write(gadget->ep0, strings.data, strings.length) != (ssize_t)strings.length)
        die("cannot write", "descriptors");
}

/* ---- the device comes and goes ---- */

static void make_gadget(const struct gadget *gadget)
{
    char name[NAME_BYTES], from[PATH_BYTES], to[PATH_BYTES];

    if (mkdir(gadget->folder, 0755) != 0)
        die("cannot make", gadget->folder);
    must_write(gadget, "idVendor", "0x1d6b");
    must_write(gadget, "idProduct", "0x0104");
    make_folder(gadget, "strings/0x409");
    make_name(name, gadget->mode->strange);
    must_write(gadget, "strings/0x409/manufacturer", name);
    must_write(gadget, "strings/0x409/product", name);
    must_write(gadget, "strings/0x409/serialnumber", name);
    make_folder(gadget, "configs/c.1");
    make_folder(gadget, gadget->function);
    make_path(from, "%s/%s", gadget->folder, gadget->function);
    make_path(to, "%s/configs/c.1/f", gadget->folder);
    if (symlink(from, to) != 0)
        die("cannot link", to);
    if (mkdir(gadget->mount, 0755) != 0 && errno != EEXIST)
        die("cannot make", gadget->mount);
    if (mount(gadget->udc, gadget->mount, "functionfs", 0, NULL) != 0)
        die("cannot mount", gadget->mount);
}

static int open_endpoint(const struct gadget *gadget, const char *name)
{
    char path[PATH_BYTES];
    int fd;

    make_path(path, "%s/%s", gadget->mount, name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        die("cannot open", path);
    return fd;
}

static void remove_gadget(const struct gadget *gadget)
{
    const char *const folders[] = {"configs/c.1", gadget->function, "strings/0x409", ""};
    char path[PATH_BYTES];

    (void)write_file(gadget, "UDC", "\n");
    (void)umount2(gadget->mount, MNT_DETACH);
    make_path(path, "%s/configs/c.1/f", gadget->folder);
    (void)unlink(path);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        make_path(path, "%s/%s", gadget->folder, folders[i]);
        if (rmdir(path) != 0)
            die("cannot remove", path);
    }
}

/* ---- what modes do ---- */

static bool take_nonce(struct gadget *gadget)
{
    return read(gadget->ep0, gadget->nonce, sizeof gadget->nonce) == (ssize_t)sizeof gadget->nonce;
}

static void *send_in_thread(void *context)
{
    struct gadget *gadget = context;

    gadget->mode->sends(gadget);
    return NULL;
}

static void accept_session(struct gadget *gadget)
{
    if (!take_nonce(gadget) || gadget->mode->sends == NULL || gadget->sending)
        return;
    gadget->sending = pthread_create(&gadget->sender, NULL, send_in_thread, gadget) == 0;
}

/* In the middle of RESET. */
static void vanish(struct gadget *gadget)
{
    (void)write_file(gadget, "UDC", "\n");
    printf("vanished\n");
    (void)fflush(stdout);
}

static void send_greeting(struct gadget *gadget, size_t first_part)
{
    unsigned char greeting[16] = "BODA USB";

    memcpy(greeting + 8, gadget->nonce, BULK_NONCE_BYTES);
    (void)!write(gadget->in, greeting, first_part);
    if (first_part < sizeof greeting)
        (void)!write(gadget->in, greeting + first_part, sizeof greeting - first_part);
}

/* Without an end, in whatever session there is. */
static void flood(struct gadget *gadget)
{
    static unsigned char bytes[BULK_TRANSFER_BYTES];

    memset(bytes, 0xb0, sizeof bytes);
    for (;;)
        if (write(gadget->in, bytes, sizeof bytes) < 0 && errno != EINTR)
            (void)usleep(1000);
}

static void greet_and_flood(struct gadget *gadget)
{
    send_greeting(gadget, 16);
    flood(gadget);
}

static void greet_in_parts(struct gadget *gadget)
{
    send_greeting(gadget, 8);
}

static void greet_and_be_empty(struct gadget *gadget)
{
    char nothing = 0;

    send_greeting(gadget, 16);
    for (;;)
        if (write(gadget->in, &nothing, 0) < 0 && errno != EINTR)
            (void)usleep(1000);
}

/* What the host says comes back to it, beginning with its greeting, which is right. */
static void echo(struct gadget *gadget)
{
    static unsigned char bytes[BULK_TRANSFER_BYTES];
    ssize_t got;

    for (;;) {
        got = read(gadget->out, bytes, sizeof bytes);
        if (got > 0)
            (void)!write(gadget->in, bytes, (size_t)got);
        else
            (void)usleep(1000);
    }
}

/* A transfer in the wrong direction halts an endpoint. */
static void halt(struct gadget *gadget)
{
    char byte = 0;

    (void)!read(gadget->in, &byte, 1);
    (void)!write(gadget->out, &byte, 1);
}

/* ---- ep0 ---- */

static void answer(struct gadget *gadget, const struct usb_ctrlrequest *setup)
{
    char nothing;

    if (setup->bRequestType == (USB_DIR_OUT | USB_TYPE_VENDOR | USB_RECIP_INTERFACE) &&
        setup->bRequest == BULK_RESET_REQUEST && gadget->mode->asked != NULL)
        gadget->mode->asked(gadget);
    else if ((setup->bRequestType & USB_DIR_IN) != 0)
        (void)!read(gadget->ep0, &nothing, 0);
    else
        (void)!write(gadget->ep0, &nothing, 0);
}

static void serve(struct gadget *gadget)
{
    struct usb_functionfs_event event;

    while (gadget->mode->deaf)
        (void)pause();
    for (;;)
        if (read(gadget->ep0, &event, sizeof event) == (ssize_t)sizeof event &&
            event.type == FUNCTIONFS_SETUP)
            answer(gadget, &event.u.setup);
}

#define PIPES .endpoints = 2, .address = {IN, OUT}, .type = {BULK, BULK}

static const struct mode modes[] = {
    {"no-endpoints", .endpoints = 0, .words = "an interface without endpoints"},
    {"only-in", .endpoints = 1, .address = {IN}, .type = {BULK}, .words = "with only bulk IN"},
    {"two-in", .endpoints = 2, .address = {IN, IN}, .type = {BULK, BULK}, .words = "with two INs"},
    {"interrupt", .endpoints = 2, .address = {IN, OUT}, .type = {INTERRUPT, INTERRUPT},
     .words = "with interrupt endpoints"},
    {"names", PIPES, .strange = true,
     .words = "names of the longest and oddest kind; stalls RESET"},
    {"deaf", PIPES, .deaf = true, .words = "answers nothing"},
    {"stall", PIPES, .words = "stalls RESET"},
    {"vanish", PIPES, .asked = vanish, .words = "goes away during RESET"},
    {"silent", PIPES, .asked = accept_session, .words = "takes RESET and never greets"},
    {"parts", PIPES, .asked = accept_session, .sends = greet_in_parts,
     .words = "greets in two transfers"},
    {"flood", PIPES, .asked = accept_session, .sends = flood, .words = "sends without an end"},
    {"noise", PIPES, .asked = accept_session, .sends = greet_and_flood,
     .words = "greets, then sends without an end"},
    {"empty", PIPES, .asked = accept_session, .sends = greet_and_be_empty,
     .words = "greets, then sends empty transfers without an end"},
    {"echo", PIPES, .asked = accept_session, .sends = echo, .words = "sends back what it hears"},
    {"halt", PIPES, .asked = accept_session, .sends = halt, .words = "halts its endpoints"},
};

/* ---- life ---- */

static int usage(void)
{
    printf("usage: hostile_gadget UDC MODE\n");
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        printf("  %-12s %s\n", modes[i].name, modes[i].words);
    return 2;
}

static void *serve_in_thread(void *context)
{
    serve(context);
    return NULL;
}

static void run(struct gadget *gadget)
{
    const char *const names[] = {"ep1", "ep2"};
    pthread_t server;
    sigset_t end;
    int number;

    (void)sigemptyset(&end);
    (void)sigaddset(&end, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &end, NULL);
    make_gadget(gadget);
    gadget->ep0 = open_endpoint(gadget, "ep0");
    write_descriptors(gadget);
    for (unsigned i = 0; i < gadget->mode->endpoints && i < ENDPOINTS_MOST; i++)
        *(gadget->mode->address[i] == IN ? &gadget->in : &gadget->out) =
            open_endpoint(gadget, names[i]);
    must_write(gadget, "UDC", gadget->udc);
    printf("ready\n");
    (void)fflush(stdout);
    if (pthread_create(&server, NULL, serve_in_thread, gadget) == 0)
        (void)sigwait(&end, &number);
    remove_gadget(gadget);
}

int main(int argc, char **argv)
{
    static struct gadget gadget;

    if (argc != 3)
        return usage();
    gadget.udc = argv[1];
    make_path(gadget.folder, GADGETS "/hostile-%s", gadget.udc);
    make_path(gadget.mount, "/run/hostile-%s", gadget.udc);
    make_path(gadget.function, "functions/ffs.%s", gadget.udc);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(argv[2], modes[i].name) == 0)
            gadget.mode = &modes[i];
    }
    if (gadget.mode == NULL)
        return usage();
    run(&gadget);
    _exit(0); /* threads may be in the kernel still */
}
