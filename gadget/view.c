/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/view.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gadget/claim.h"

int view_error(int result, const char *name, const char *what, struct error *error)
{
    return error_set(error, ERROR_FAILED, "gadget " VIEW_PREFIX "%s: %s: %s", name, what,
                     usbg_strerror((usbg_error)result));
}

/* "view/usb_gadget/boda-NAME", a link to the real one, as libusbgx looks for it below "view". */
static int make(const char *name, struct error *error)
{
    static const char *const folders[] = {"view", "view/usb_gadget"};
    char path[CLAIM_PATH_BYTES], link[64 + VIEW_GADGET_BYTES], target[sizeof VIEW_GADGETS + 80];

    for (unsigned i = 0; i < 2; i++) {
        claim_path(path, name, folders[i]);
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return error_errno(error, errno, "%s: cannot be made", path);
    }
    snprintf(link, sizeof link, "view/usb_gadget/" VIEW_PREFIX "%s", name);
    claim_path(path, name, link);
    snprintf(target, sizeof target, VIEW_GADGETS "/" VIEW_PREFIX "%s", name);
    if (symlink(target, path) != 0 && errno != EEXIST)
        return error_errno(error, errno, "%s: cannot be made", path);
    return 0;
}

int view_open(struct view *view, const char *name, struct error *error)
{
    char path[CLAIM_PATH_BYTES], gadget[VIEW_GADGET_BYTES];
    int result;

    if (make(name, error) != 0)
        return -1;
    claim_path(path, name, "view");
    result = usbg_init(path, &view->state);
    if (result != USBG_SUCCESS)
        return view_error(result, name, "cannot be read", error);
    snprintf(gadget, sizeof gadget, VIEW_PREFIX "%s", name);
    view->gadget = usbg_get_gadget(view->state, gadget);
    if (view->gadget != NULL)
        return 0;
    usbg_cleanup(view->state);
    return error_set(error, ERROR_FAILED, "gadget %s: is not there", gadget);
}

void view_close(struct view *view)
{
    usbg_cleanup(view->state);
}
