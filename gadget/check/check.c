/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/check/check.h"

#include <errno.h>
#include <unistd.h>

#include "gadget/check/check_parts.h"

static void check_user(struct findings *findings)
{
    if (geteuid() == 0)
        findings_ok(findings, "user: is root, as setting up the gadget needs");
    else
        findings_note(findings,
                      "user: is not root: setting up the gadget needs root (a systemd unit "
                      "or sudo), and some of the above may be hidden from this user");
}

static void check_lamp(const char *root, struct findings *findings)
{
    struct tree_names leds;
    char list[512];

    tree_list(root, "", &leds, "/sys/class/leds");
    tree_join(&leds, list, sizeof list);
    if (leds.count == 0)
        findings_note(findings,
                      "lamp: this board has no LED for --lamp; the log alone tells when it "
                      "is safe to unplug");
    else
        findings_note(findings, "lamp: --lamp NAME shows how things stand; the LEDs are: %s", list);
}

int check_run(const struct check_options *options, FILE *out, struct error *error)
{
    const char *root = options->root != NULL ? options->root : "";
    struct findings findings = {.out = out};
    char udc[TREE_NAME_BYTES];

    check_udc(root, options->udc, &findings, udc);
    check_board(root, udc, &findings);
    check_kernel(root, &findings);
    if (options->drive)
        check_drive(root, &findings);
    check_user(&findings);
    check_lamp(root, &findings);
    check_station(root, options, &findings);
    if (findings.missing == 0)
        fputs("This board can be a courier.\n", out);
    else
        fprintf(out, "This board cannot be a courier yet: mend what is marked missing (%u).\n",
                findings.missing);
    if (fflush(out) != 0 || ferror(out))
        return error_errno(error, errno, "check: what was found cannot be written");
    return findings.missing == 0 ? 0 : 1;
}
