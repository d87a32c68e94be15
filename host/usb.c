/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "host/usb.h"

#include <errno.h>
#include <linux/usbdevice_fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <libusb.h>

#include "base/clock.h"
#include "base/log.h"
#include "host/usb_address.h"
#include "host/usb_fault.h"
#include "host/usb_interface.h"
#include "host/usb_port.h"

#define SLICE_MS 100
/* How often the devices are listed anew without an event: events may be lost, and without udevd there
 * are none (libusb takes them from it, and not from the kernel). */
#define LIST_MS 5000
#define LIST_WITHOUT_EVENTS_MS 500
#define UDEVD "/run/udev/control"

#if LIBUSB_API_VERSION < 0x01000109
#define LIBUSB_OPTION_NO_DEVICE_DISCOVERY LIBUSB_OPTION_WEAK_AUTHORITY
#endif

struct usb {
    struct usb_address address;
    const atomic_bool *stop;
    libusb_context *context; /* NULL: not yet */
    bool has_events;
    int64_t listed_ms; /* when the context read the list of devices */
    uint64_t present;  /* a mark of the couriers that were in it */
    bool changed, gone;
    unsigned last;                   /* the place that was tried last, as place_number, 0: none */
    char name[USB_FAULT_NAME_BYTES]; /* of that place */
    bool halted;                     /* a session with ... */
    unsigned halted_place;           /* ... this one has ended by a halt of its endpoints */
    struct usb_port *port;           /* of the present session */
};

static bool stopped(const struct usb *usb)
{
    return usb->stop != NULL && atomic_load(usb->stop);
}

static unsigned place_number(const struct usb_fault_place *place)
{
    return place->bus << 8 | place->device;
}

static struct usb_fault_place place_of(libusb_device *device)
{
    return (struct usb_fault_place){.bus = libusb_get_bus_number(device),
                                    .device = libusb_get_device_address(device),
                                    .fd = -1};
}

/* ---- libusb's context, and what is plugged in ---- */

static int LIBUSB_CALL on_plug(libusb_context *context, libusb_device *device,
                               libusb_hotplug_event event, void *user_data)
{
    struct usb *usb = user_data;

    (void)context;
    (void)device;
    (void)event;
    usb->changed = true;
    return 0;
}

/* The courier's interface of DEVICE, as usb_interface_choose; -1 with ERROR_TEMPORARY for one that is
 * not configured, and so may become one. */
static int look_at(libusb_device *device, struct usb_interface *interface, struct error *error)
{
    struct libusb_config_descriptor *config = NULL;
    int result;

    if (libusb_get_active_config_descriptor(device, &config) != 0)
        return error_set(error, ERROR_TEMPORARY, "is not configured yet, or goes just now");
    result = usb_interface_choose(config, interface, error);
    libusb_free_config_descriptor(config);
    return result;
}

/* Couriers that are plugged in or out change it (FNV-1a over their places). */
static uint64_t mark_of(libusb_device **list, ssize_t count)
{
    uint64_t mark = 0xcbf29ce484222325u;
    struct usb_interface interface;

    for (ssize_t i = 0; i < count; i++) {
        struct usb_fault_place place = place_of(list[i]);

        if (look_at(list[i], &interface, NULL) == 1)
            mark = (mark ^ place_number(&place)) * 0x100000001b3u;
    }
    return mark;
}

static void drop_context(struct usb *usb)
{
    if (usb->context != NULL)
        libusb_exit(usb->context);
    usb->context = NULL;
}

/* A context, with a fresh list of devices. */
static int set_up(struct usb *usb, struct error *error)
{
    bool finds = usb->address.kind != USB_ADDRESS_FD;
    libusb_device **list;
    ssize_t count;
    int code;

    drop_context(usb);
    usb->listed_ms = clock_ms();
    if (!finds)
        (void)libusb_set_option(NULL, LIBUSB_OPTION_NO_DEVICE_DISCOVERY);
    code = libusb_init(&usb->context);
    if (code != 0) {
        usb->context = NULL;
        return error_set(error, ERROR_TEMPORARY,
                         "usb: cannot be looked at: %s; see that /dev/bus/usb is there",
                         libusb_strerror(code));
    }
    if (!finds)
        return 0;
    usb->has_events =
        libusb_has_capability(LIBUSB_CAP_HAS_HOTPLUG) != 0 &&
        libusb_hotplug_register_callback(
            usb->context, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED | LIBUSB_HOTPLUG_EVENT_DEVICE_LEFT, 0,
            LIBUSB_HOTPLUG_MATCH_ANY, LIBUSB_HOTPLUG_MATCH_ANY, LIBUSB_HOTPLUG_MATCH_ANY, on_plug,
            usb, NULL) == 0;
    count = libusb_get_device_list(usb->context, &list);
    if (count >= 0) {
        uint64_t mark = mark_of(list, count);

        usb->changed = usb->changed || mark != usb->present;
        usb->present = mark;
        libusb_free_device_list(list, 1);
    }
    return 0;
}

static bool events_come(const struct usb *usb)
{
    return usb->context != NULL && usb->has_events && access(UDEVD, F_OK) == 0;
}

static void take_events(struct usb *usb, int timeout_ms)
{
    struct timeval time = {.tv_usec = timeout_ms * 1000L};
    struct timespec pause = {.tv_nsec = timeout_ms * 1000000L};

    /* A signal may cut either short. */
    if (usb->context == NULL || usb->address.kind == USB_ADDRESS_FD ||
        libusb_handle_events_timeout_completed(usb->context, &time, NULL) != 0)
        (void)nanosleep(&pause, NULL);
}

/* The session before this one is over. */
static void end_session(struct usb *usb)
{
    if (usb->port == NULL)
        return;
    if (usb_port_halted(usb->port)) {
        usb->halted = true;
        usb->halted_place = usb->last;
    }
    if (!usb_port_free(usb->port))
        usb->context = NULL; /* left to the transfers that are in flight in it */
    usb->port = NULL;
}

/* ---- one device ---- */

static int reset(struct usb *usb, const struct usb_fault_place *place,
                 unsigned char nonce[BULK_NONCE_BYTES], struct error *error)
{
    int code;

    if (getrandom(nonce, BULK_NONCE_BYTES, 0) != BULK_NONCE_BYTES)
        return error_errno(error, errno, "cable: no random bytes for a session");
    code = usb_port_reset(usb->port, nonce);
    if (code == LIBUSB_ERROR_INTERRUPTED && stopped(usb))
        return error_set(error, ERROR_CLOSED, "cable: stopped before a session began");
    if (code != 0)
        return usb_fault_set(error, place, code, "does not answer as a courier does");
    /* Only after a halt: data toggles of a session that ended otherwise are in step. */
    if (!usb->halted || usb->halted_place != place_number(place))
        return 0;
    code = usb_port_unhalt(usb->port);
    if (code != 0)
        return usb_fault_set(error, place, code, "its endpoints stay halted");
    usb->halted = false;
    return 0;
}

static void log_session(const struct usb_fault_place *place, const struct usb_interface *interface)
{
    char name[USB_FAULT_NAME_BYTES];

    usb_fault_name(place, name);
    log_debug("courier at %s: a session begins at interface %u, with packets of %u bytes", name,
              interface->number, interface->packet_bytes);
}

/* A session with the courier behind HANDLE, which is closed in the end, whatever comes of it. */
static struct link *begin(struct usb *usb, libusb_device_handle *handle,
                          const struct usb_fault_place *place,
                          const struct usb_interface *interface, struct error *error)
{
    unsigned char nonce[BULK_NONCE_BYTES];
    struct link *link = NULL;
    int code;

    /* Not on every system; a driver in the way then makes the claim fail. */
    (void)libusb_set_auto_detach_kernel_driver(handle, 1);
    code = libusb_claim_interface(handle, interface->number);
    if (code != 0) {
        libusb_close(handle);
        (void)usb_fault_set(error, place, code, "its interface cannot be claimed");
        return NULL;
    }
    /* From open to close usbfs keeps the device from being suspended (docs/protocol.md, "The end"): it
     * holds it awake unless USBDEVFS_ALLOW_SUSPEND is asked for, which libusb does not. */
    usb->port = usb_port_new(usb->context, handle, interface, usb->stop, error);
    if (usb->port == NULL)
        return NULL;
    if (reset(usb, place, nonce, error) == 0)
        link = usb_port_link(usb->port, nonce, error);
    if (link == NULL)
        end_session(usb);
    else
        log_session(place, interface);
    return link;
}

static struct link *open_device(struct usb *usb, libusb_device *device,
                                const struct usb_interface *interface, struct error *error)
{
    struct usb_fault_place place = place_of(device);
    libusb_device_handle *handle;
    int code;

    usb->last = place_number(&place);
    usb_fault_name(&place, usb->name);
    code = libusb_open(device, &handle);
    if (code != 0) {
        (void)usb_fault_set(error, &place, code, "cannot be opened");
        return NULL;
    }
    return begin(usb, handle, &place, interface, error);
}

/* For a device that was asked for by name: RESULT of look_at is not 1. */
static void no_courier(int result, const struct usb_fault_place *place, struct error *error)
{
    char name[USB_FAULT_NAME_BYTES];

    usb_fault_name(place, name);
    if (result == 0)
        (void)error_set(error, ERROR_CORRUPT, "courier at %s: is none", name);
    else
        (void)error_prefix(error, "courier at %s", name);
}

/* ---- the three kinds of addresses ---- */

/* The courier with the lowest place above LAST, or from the beginning again. */
static libusb_device *next_courier(libusb_device **list, unsigned last,
                                   struct usb_interface *interface)
{
    libusb_device *best = NULL;
    unsigned best_distance = 0;

    for (size_t i = 0; list[i] != NULL; i++) {
        struct usb_fault_place place = place_of(list[i]);
        unsigned distance = (place_number(&place) - last - 1) & 0xffffu;

        if ((best == NULL || distance < best_distance) && look_at(list[i], interface, NULL) == 1) {
            best = list[i];
            best_distance = distance;
        }
    }
    if (best != NULL)
        (void)look_at(best, interface, NULL);
    return best;
}

static struct link *connect_any(struct usb *usb, libusb_device **list, struct error *error)
{
    unsigned first = 0, told = 0;
    struct usb_interface interface;
    struct link *link = NULL;
    libusb_device *device;
    struct error fault;

    (void)error_set(error, ERROR_CLOSED, "usb: no courier is plugged in");
    while (!stopped(usb) && usb->context != NULL &&
           (device = next_courier(list, usb->last, &interface)) != NULL) {
        struct usb_fault_place place = place_of(device);

        if (place_number(&place) == first)
            break; /* once around */
        if (first == 0)
            first = place_number(&place);
        link = open_device(usb, device, &interface, &fault);
        if (link != NULL)
            break;
        log_debug("%s", fault.text);
        /* The same one's in each round, so that nobody has to read of all of them again and again. */
        if (fault.kind != ERROR_CLOSED && (told == 0 || usb->last < told)) {
            told = usb->last;
            *error = fault;
        }
    }
    return link;
}

static struct link *connect_device(struct usb *usb, libusb_device **list, struct error *error)
{
    struct usb_fault_place place = {.bus = usb->address.bus, .device = usb->address.device};
    struct usb_interface interface;
    int result;

    for (size_t i = 0; list[i] != NULL; i++) {
        if (libusb_get_bus_number(list[i]) != place.bus ||
            libusb_get_device_address(list[i]) != place.device)
            continue;
        result = look_at(list[i], &interface, error);
        if (result == 1)
            return open_device(usb, list[i], &interface, error);
        no_courier(result, &place, error);
        return NULL;
    }
    usb->gone = true;
    (void)error_set(error, ERROR_CLOSED, "courier at usb:%03u:%03u: has gone", place.bus,
                    place.device);
    return NULL;
}

static struct link *connect_listed(struct usb *usb, struct error *error)
{
    libusb_device **list;
    struct link *link;

    if (libusb_get_device_list(usb->context, &list) < 0) {
        error_set(error, ERROR_TEMPORARY, "usb: no memory for the list of devices");
        return NULL;
    }
    link = usb->address.kind == USB_ADDRESS_ANY ? connect_any(usb, list, error)
                                                : connect_device(usb, list, error);
    libusb_free_device_list(list, 1);
    return link;
}

/* 0; -1 with errno: ENODEV when the device has gone. */
static int ask_node(int fd)
{
    struct usbdevfs_connectinfo info;

    return ioctl(fd, USBDEVFS_CONNECTINFO, &info) < 0 ? -1 : 0;
}

static struct link *connect_fd(struct usb *usb, struct error *error)
{
    struct usb_fault_place place = {.fd = usb->address.fd};
    libusb_device_handle *handle;
    struct usb_interface interface;
    int code, result;

    usb_fault_name(&place, usb->name);
    if (ask_node(place.fd) != 0 && errno == ENODEV) {
        usb->gone = true;
        error_set(error, ERROR_CLOSED, "courier at usb-fd:%d: has gone", place.fd);
        return NULL;
    }
    code = libusb_wrap_sys_device(usb->context, (intptr_t)place.fd, &handle);
    if (code != 0) {
        (void)usb_fault_set(error, &place, code, "cannot be used");
        return NULL;
    }
    result = look_at(libusb_get_device(handle), &interface, error);
    if (result == 1)
        return begin(usb, handle, &place, &interface, error);
    libusb_close(handle);
    no_courier(result, &place, error);
    return NULL;
}

struct link *usb_connect(struct usb *usb, struct error *error)
{
    struct link *link;
    struct error own;

    if (error == NULL)
        error = &own;
    end_session(usb);
    if (usb->context == NULL || (usb->address.kind != USB_ADDRESS_FD && !events_come(usb))) {
        if (set_up(usb, error) != 0)
            return NULL;
    }
    if (usb->address.kind == USB_ADDRESS_FD)
        return connect_fd(usb, error);
    take_events(usb, 0);
    usb->changed = false;
    link = connect_listed(usb, error);
    /* An old list may lack it. */
    if (link == NULL && usb->gone && clock_ms() - usb->listed_ms > 0) {
        usb->gone = false;
        if (set_up(usb, error) == 0)
            link = connect_listed(usb, error);
    }
    return link;
}

bool usb_wait(struct usb *usb, int timeout_ms)
{
    int64_t until_ms = clock_ms() + timeout_ms, left_ms = timeout_ms;
    bool changed;

    end_session(usb);
    while (!usb->changed && !stopped(usb) && left_ms > 0) {
        int64_t list_ms = events_come(usb) ? LIST_MS : LIST_WITHOUT_EVENTS_MS;

        take_events(usb, (int)(left_ms < SLICE_MS ? left_ms : SLICE_MS));
        if (usb->address.kind != USB_ADDRESS_FD && clock_ms() - usb->listed_ms >= list_ms)
            (void)set_up(usb, NULL);
        left_ms = until_ms - clock_ms();
    }
    changed = usb->changed;
    usb->changed = false;
    return changed;
}

const char *usb_name(const struct usb *usb)
{
    return usb->name;
}

bool usb_gone(const struct usb *usb)
{
    return usb->gone;
}

/* ---- life ---- */

static int check_node(int fd, struct error *error)
{
    struct stat status;

    if (fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
        (ask_node(fd) == 0 || errno == ENODEV))
        return 0;
    return error_set(error, ERROR_USAGE,
                     "usb-fd:%d: is no open USB device; give the file descriptor of a node such as "
                     "/dev/bus/usb/001/005, open for reading and writing",
                     fd);
}

struct usb *usb_open(const char *address, const atomic_bool *stop, struct error *error)
{
    struct usb_address parsed;
    struct usb *usb;

    if (usb_address_parse(address, &parsed, error) != 0 ||
        (parsed.kind == USB_ADDRESS_FD && check_node(parsed.fd, error) != 0))
        return NULL;
    usb = calloc(1, sizeof *usb);
    if (usb == NULL) {
        error_set(error, ERROR_FAILED, "usb: no memory");
        return NULL;
    }
    usb->address = parsed;
    usb->stop = stop;
    return usb;
}

void usb_close(struct usb *usb)
{
    if (usb == NULL)
        return;
    end_session(usb);
    drop_context(usb);
    free(usb);
}
