/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/usb_port.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define RESET_MS 3000
#define TURN_MS 100   /* the longest wait that does not look at *stop */
#define CLOSE_MS 5000 /* for cancelled transfers to come back */

struct slot {
    struct usb_port *port;
    struct libusb_transfer *transfer;
    unsigned number;
    bool flying;
};

struct usb_port {
    libusb_context *context;
    libusb_device_handle *handle; /* NULL: given free */
    struct usb_interface interface;
    const atomic_bool *stop;
    struct slot in[BULK_SLOTS], out[BULK_SLOTS], control;
    unsigned char request[LIBUSB_CONTROL_SETUP_SIZE + BULK_NONCE_BYTES];
    unsigned flying;
    int completed; /* for libusb: something was, so that waiting ends */
    bool heard;    /* the courier has sent something */
    bool closing, halted;
    struct bulk *bulk;
};

static bool stopped(const struct usb_port *port)
{
    return port->stop != NULL && atomic_load(port->stop);
}

/* ---- transfers ---- */

static int gone(struct error *error)
{
    return error_set(error, ERROR_CLOSED, "cable: the courier has gone");
}

/* Let libusb report, waiting at most TIMEOUT_MS.  0 or its code. */
static int take_events(struct usb_port *port, int timeout_ms)
{
    struct timeval time = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000L};
    int code;

    port->completed = 0;
    code = libusb_handle_events_timeout_completed(port->context, &time, &port->completed);
    return code == LIBUSB_ERROR_INTERRUPTED ? 0 : code;
}

static int submit(struct slot *slot)
{
    int code = libusb_submit_transfer(slot->transfer);

    if (code != 0)
        return code;
    slot->flying = true;
    slot->port->flying++;
    return 0;
}

static void land(struct slot *slot)
{
    slot->flying = false;
    slot->port->flying--;
    slot->port->completed = 1;
}

/* Why a bulk transfer was not completed. */
static void fail(struct usb_port *port, enum libusb_transfer_status status)
{
    struct error error;

    switch (status) {
    case LIBUSB_TRANSFER_NO_DEVICE:
        (void)gone(&error);
        break;
    case LIBUSB_TRANSFER_STALL:
        port->halted = true;
        (void)error_set(&error, ERROR_CLOSED, "cable: the courier has halted the session");
        break;
    case LIBUSB_TRANSFER_OVERFLOW:
        (void)error_set(&error, ERROR_CORRUPT, "cable: the courier sent more than was asked for");
        break;
    default: /* the first that is seen of a pulled cable */
        (void)error_set(&error, ERROR_CLOSED,
                        "cable: a transfer failed; if the courier is still plugged in, try "
                        "another cable or port");
        break;
    }
    bulk_fail(port->bulk, &error);
}

static void LIBUSB_CALL on_sent(struct libusb_transfer *transfer)
{
    struct slot *slot = transfer->user_data;
    struct usb_port *port = slot->port;
    struct error error;

    land(slot);
    if (port->closing)
        return;
    if (transfer->status != LIBUSB_TRANSFER_COMPLETED) {
        fail(port, transfer->status);
    } else if (transfer->actual_length != transfer->length) {
        (void)error_set(&error, ERROR_CORRUPT, "cable: only %d of %d bytes were sent",
                        transfer->actual_length, transfer->length);
        bulk_fail(port->bulk, &error);
    } else {
        bulk_sent(port->bulk, slot->number);
    }
}

static void LIBUSB_CALL on_received(struct libusb_transfer *transfer)
{
    struct slot *slot = transfer->user_data;
    struct usb_port *port = slot->port;

    land(slot);
    if (port->closing)
        return;
    if (transfer->status != LIBUSB_TRANSFER_COMPLETED) {
        fail(port, transfer->status);
        return;
    }
    port->heard = true;
    bulk_received(port->bulk, slot->number, (size_t)transfer->actual_length);
}

/* ---- the port of the link ---- */

static int begin(struct slot *slot, struct error *error)
{
    int code = submit(slot);

    if (code == 0)
        return 0;
    if (code == LIBUSB_ERROR_NO_DEVICE)
        return gone(error);
    return error_set(error, ERROR_FAILED, "cable: a transfer cannot be begun: %s",
                     libusb_strerror(code));
}

static int port_send(void *context, unsigned slot, const unsigned char *bytes, size_t length,
                     struct error *error)
{
    struct usb_port *port = context;
    struct slot *out = &port->out[slot];

    /* libusb has one struct for both directions; bytes that are sent are only read. */
    libusb_fill_bulk_transfer(out->transfer, port->handle, port->interface.out,
                              (unsigned char *)bytes, (int)length, on_sent, out, 0);
    return begin(out, error);
}

static int port_receive(void *context, unsigned slot, unsigned char *bytes, struct error *error)
{
    struct usb_port *port = context;
    struct slot *in = &port->in[slot];

    libusb_fill_bulk_transfer(in->transfer, port->handle, port->interface.in, bytes,
                              (int)BULK_TRANSFER_BYTES, on_received, in, 0);
    return begin(in, error);
}

static int port_turn(void *context, int timeout_ms, struct error *error)
{
    struct usb_port *port = context;
    int code;

    if (!port->heard && stopped(port))
        return error_set(error, ERROR_CLOSED, "cable: stopped before the courier said anything");
    code = take_events(port, timeout_ms < TURN_MS ? timeout_ms : TURN_MS);
    if (code == 0)
        return 0;
    if (code == LIBUSB_ERROR_NO_DEVICE)
        return gone(error);
    return error_set(error, ERROR_FAILED, "cable: transfers cannot be waited for: %s",
                     libusb_strerror(code));
}

static void cancel(struct slot *slot)
{
    /* A failure says that it is over, or that the device has gone, which ends it too. */
    if (slot->flying)
        (void)libusb_cancel_transfer(slot->transfer);
}

/* Everything comes back from the kernel: 0, or -1 when it does not. */
static int take_back(struct usb_port *port)
{
    int64_t until_ms = clock_ms() + CLOSE_MS, left_ms = CLOSE_MS;

    port->closing = true;
    cancel(&port->control);
    for (unsigned i = 0; i < BULK_SLOTS; i++) {
        cancel(&port->out[i]);
        cancel(&port->in[i]);
    }
    while (port->flying > 0 && left_ms > 0) {
        if (take_events(port, (int)left_ms) != 0)
            break;
        left_ms = until_ms - clock_ms();
    }
    if (port->flying == 0)
        return 0;
    log_warning("cable: %u transfers do not come back from the kernel; their memory is left to it",
                port->flying);
    return -1;
}

static int port_close(void *context)
{
    struct usb_port *port = context;

    if (take_back(port) != 0)
        return -1;
    /* Both may say that the device has gone. */
    (void)libusb_release_interface(port->handle, port->interface.number);
    libusb_close(port->handle);
    port->handle = NULL;
    return 0;
}

static const struct bulk_port operations = {
    .send = port_send,
    .receive = port_receive,
    .turn = port_turn,
    .close = port_close,
};

struct link *usb_port_link(struct usb_port *port, const unsigned char nonce[BULK_NONCE_BYTES],
                           struct error *error)
{
    return bulk_new(&operations, port, BULK_HOST, nonce, &port->bulk, error);
}

/* ---- requests ---- */

static int code_of(enum libusb_transfer_status status)
{
    switch (status) {
    case LIBUSB_TRANSFER_COMPLETED:
        return 0;
    case LIBUSB_TRANSFER_TIMED_OUT:
        return LIBUSB_ERROR_TIMEOUT;
    case LIBUSB_TRANSFER_STALL:
        return LIBUSB_ERROR_PIPE;
    case LIBUSB_TRANSFER_NO_DEVICE:
        return LIBUSB_ERROR_NO_DEVICE;
    case LIBUSB_TRANSFER_CANCELLED:
        return LIBUSB_ERROR_INTERRUPTED;
    default:
        return LIBUSB_ERROR_IO;
    }
}

static void LIBUSB_CALL on_request(struct libusb_transfer *transfer)
{
    land(transfer->user_data);
}

int usb_port_reset(struct usb_port *port, const unsigned char nonce[BULK_NONCE_BYTES])
{
    int64_t until_ms = clock_ms() + RESET_MS + CLOSE_MS; /* libusb ends it before that */
    struct slot *slot = &port->control;
    bool cancelled = false;
    int code;

    libusb_fill_control_setup(
        port->request,
        LIBUSB_ENDPOINT_OUT | LIBUSB_REQUEST_TYPE_VENDOR | LIBUSB_RECIPIENT_INTERFACE,
        BULK_RESET_REQUEST, BULK_RESET_VALUE, port->interface.number, BULK_NONCE_BYTES);
    memcpy(port->request + LIBUSB_CONTROL_SETUP_SIZE, nonce, BULK_NONCE_BYTES);
    libusb_fill_control_transfer(slot->transfer, port->handle, port->request, on_request, slot,
                                 RESET_MS);
    code = submit(slot);
    while (code == 0 && slot->flying) {
        if (stopped(port) && !cancelled) {
            cancelled = true;
            cancel(slot);
        }
        code = take_events(port, TURN_MS);
        if (code == 0 && slot->flying && clock_ms() > until_ms)
            code = LIBUSB_ERROR_TIMEOUT;
    }
    if (code == 0)
        code = code_of(slot->transfer->status);
    if (code == 0 && slot->transfer->actual_length != BULK_NONCE_BYTES)
        code = LIBUSB_ERROR_IO;
    return code;
}

int usb_port_unhalt(struct usb_port *port)
{
    int code = libusb_clear_halt(port->handle, port->interface.in);

    return code == 0 ? libusb_clear_halt(port->handle, port->interface.out) : code;
}

/* ---- life ---- */

static int set_up_slot(struct usb_port *port, struct slot *slot, unsigned number)
{
    slot->port = port;
    slot->number = number;
    slot->transfer = libusb_alloc_transfer(0);
    return slot->transfer != NULL ? 0 : -1;
}

struct usb_port *usb_port_new(libusb_context *context, libusb_device_handle *handle,
                              const struct usb_interface *interface, const atomic_bool *stop,
                              struct error *error)
{
    struct usb_port *port = calloc(1, sizeof *port);
    int result;

    if (port == NULL) {
        libusb_close(handle);
        error_set(error, ERROR_FAILED, "cable: no memory");
        return NULL;
    }
    port->context = context;
    port->handle = handle;
    port->interface = *interface;
    port->stop = stop;
    result = set_up_slot(port, &port->control, 0);
    for (unsigned i = 0; i < BULK_SLOTS && result == 0; i++) {
        result = set_up_slot(port, &port->in[i], i);
        if (result == 0)
            result = set_up_slot(port, &port->out[i], i);
    }
    if (result == 0)
        return port;
    (void)usb_port_free(port);
    error_set(error, ERROR_FAILED, "cable: no memory");
    return NULL;
}

bool usb_port_halted(const struct usb_port *port)
{
    return port->halted;
}

bool usb_port_free(struct usb_port *port)
{
    if (port == NULL)
        return true;
    if (port->handle != NULL && port_close(port) != 0)
        return false;
    libusb_free_transfer(port->control.transfer);
    for (unsigned i = 0; i < BULK_SLOTS; i++) {
        libusb_free_transfer(port->in[i].transfer);
        libusb_free_transfer(port->out[i].transfer);
    }
    free(port);
    return true;
}
