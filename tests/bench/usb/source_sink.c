/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/bench/usb/source_sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <libusb.h>

#include "link/bulk.h"
#include "tests/bench/support/bench.h"

#define GADGET "/sys/kernel/config/usb_gadget/yardstick"
#define VENDOR 0x0525
#define PRODUCT 0xa4a0
#define ENUMERATION_S 600 /* virtual time jumps over what the disk outside takes */

struct source_sink {
    libusb_context *context;
    libusb_device_handle *handle;
    unsigned char in, out; /* endpoints */
};

/* One run in one direction. */
struct run {
    uint64_t left_to_submit, left;
    int flying;
};

static void shell(const char *command)
{
    if (system(command) != 0) /* NOLINT(cert-env33-c): our own words */
        bench_die(command, NULL);
}

/* The pattern is not looked at, so that the kernel's side costs as little as it can. */
static void make_gadget(void)
{
    char command[1024];

    (void)snprintf(command, sizeof command,
                   "set -e; mkdir -p " GADGET "/strings/0x409 " GADGET "/configs/c.1 " GADGET
                   "/functions/SourceSink.0; cd " GADGET "; echo 0x%04x >idVendor; "
                   "echo 0x%04x >idProduct; echo 2 >functions/SourceSink.0/pattern; "
                   "echo %u >functions/SourceSink.0/bulk_buflen; "
                   "ln -s functions/SourceSink.0 configs/c.1/; ls /sys/class/udc | head -n 1 >UDC",
                   VENDOR, PRODUCT, BULK_TRANSFER_BYTES);
    shell(command);
}

static void find_endpoints(struct source_sink *self)
{
    struct libusb_config_descriptor *config;

    if (libusb_get_active_config_descriptor(libusb_get_device(self->handle), &config) != 0)
        bench_die("yardstick: no configuration", NULL);
    for (int i = 0; i < config->interface[0].altsetting[0].bNumEndpoints; i++) {
        unsigned char address = config->interface[0].altsetting[0].endpoint[i].bEndpointAddress;

        if ((address & LIBUSB_ENDPOINT_IN) != 0)
            self->in = address;
        else
            self->out = address;
    }
    libusb_free_config_descriptor(config);
}

struct source_sink *source_sink_open(void)
{
    struct source_sink *self = calloc(1, sizeof *self);
    double until = bench_now() + ENUMERATION_S;

    if (self == NULL)
        bench_die("memory", NULL);
    make_gadget();
    while (self->handle == NULL && bench_now() < until) {
        if (self->context != NULL)
            libusb_exit(self->context);
        if (libusb_init(&self->context) != 0)
            bench_die("libusb", NULL);
        self->handle = libusb_open_device_with_vid_pid(self->context, VENDOR, PRODUCT);
        if (self->handle != NULL && libusb_claim_interface(self->handle, 0) != 0) {
            libusb_close(self->handle);
            self->handle = NULL;
        }
        if (self->handle == NULL)
            (void)usleep(100000);
    }
    if (self->handle == NULL)
        bench_die("yardstick: was not enumerated", NULL);
    find_endpoints(self);
    return self;
}

void source_sink_close(struct source_sink *self)
{
    libusb_close(self->handle);
    libusb_exit(self->context);
    free(self);
    shell("cd " GADGET " && echo >UDC && rm configs/c.1/SourceSink.0 && rmdir configs/c.1 "
          "functions/SourceSink.0 strings/0x409 && rmdir " GADGET);
}

static void submit(struct libusb_transfer *transfer, struct run *run)
{
    if (run->left_to_submit == 0)
        return;
    run->left_to_submit -= BULK_TRANSFER_BYTES;
    run->flying++;
    if (libusb_submit_transfer(transfer) != 0)
        bench_die("yardstick: a transfer is not taken", NULL);
}

static void LIBUSB_CALL done(struct libusb_transfer *transfer)
{
    struct run *run = transfer->user_data;

    run->flying--;
    if (transfer->status != LIBUSB_TRANSFER_COMPLETED ||
        transfer->actual_length != (int)BULK_TRANSFER_BYTES)
        bench_die("yardstick: a transfer has failed", NULL);
    submit(transfer, run);
}

double source_sink_move(struct source_sink *self, bool in, uint64_t bytes)
{
    struct libusb_transfer *transfers[BULK_SLOTS];
    struct run run = {.left_to_submit = bytes / BULK_TRANSFER_BYTES * BULK_TRANSFER_BYTES};
    double start = bench_now();

    for (unsigned i = 0; i < BULK_SLOTS; i++) {
        unsigned char *buffer = calloc(1, BULK_TRANSFER_BYTES);

        transfers[i] = libusb_alloc_transfer(0);
        if (transfers[i] == NULL || buffer == NULL)
            bench_die("memory", NULL);
        libusb_fill_bulk_transfer(transfers[i], self->handle, in ? self->in : self->out, buffer,
                                  BULK_TRANSFER_BYTES, done, &run, 0);
        transfers[i]->flags = LIBUSB_TRANSFER_FREE_BUFFER;
        submit(transfers[i], &run);
    }
    while (run.flying > 0)
        if (libusb_handle_events(self->context) != 0)
            bench_die("yardstick: events", NULL);
    for (unsigned i = 0; i < BULK_SLOTS; i++)
        libusb_free_transfer(transfers[i]);
    return bench_now() - start;
}
