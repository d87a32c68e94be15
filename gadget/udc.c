/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "gadget/udc.h"

#include <stdio.h>
#include <string.h>

#define UDCS "/sys/class/udc"
#define GADGETS "/sys/kernel/config/usb_gadget"
#define WORDS_BYTES 256

void udc_of(const char *root, const char *gadget, char udc[TREE_NAME_BYTES])
{
    (void)tree_read(root, udc, TREE_NAME_BYTES, GADGETS "/%s/UDC", gadget);
}

/* The name of what drives UDC: of a gadget of configfs its folder's; "" when nothing does. */
static void read_function(const char *root, const char *udc, char function[TREE_NAME_BYTES * 2])
{
    (void)tree_read(root, function, (size_t)TREE_NAME_BYTES * 2, UDCS "/%s/function", udc);
}

bool udc_is_driven_by(const char *root, const char *udc, const char *gadget)
{
    char function[TREE_NAME_BYTES * 2];

    read_function(root, udc, function);
    return strcmp(function, gadget) == 0;
}

/* Whether nobody but GADGET has UDC; else WORDS says who, and what to do. */
static bool is_free(const char *root, const char *udc, const char *gadget, char words[WORDS_BYTES])
{
    char function[TREE_NAME_BYTES * 2], registered[TREE_NAME_BYTES];
    struct tree_names gadgets;

    tree_list(root, "", &gadgets, GADGETS);
    for (unsigned i = 0; i < gadgets.count; i++) {
        if (strcmp(gadgets.names[i], gadget) == 0)
            continue;
        udc_of(root, gadgets.names[i], registered);
        if (strcmp(registered, udc) != 0)
            continue;
        snprintf(words, WORDS_BYTES,
                 "the gadget '%s' holds it; end the program that made that, or give another --udc",
                 gadgets.names[i]);
        return false;
    }
    read_function(root, udc, function);
    if (function[0] == '\0' || strcmp(function, gadget) == 0)
        return true;
    snprintf(words, WORDS_BYTES,
             "'%s' holds it; take it away (a module of the kernel: modprobe -r), or give another "
             "--udc",
             function);
    return false;
}

int udc_choose(const char *root, const char *wanted, const char *gadget, char udc[TREE_NAME_BYTES],
               struct error *error)
{
    char words[WORDS_BYTES] = "", list[WORDS_BYTES];
    struct tree_names udcs;
    unsigned match = 0;

    tree_list(root, "", &udcs, UDCS);
    for (unsigned i = 0; i < udcs.count; i++) {
        if (wanted != NULL && strcmp(udcs.names[i], wanted) != 0)
            continue;
        match = i + 1;
        if (!is_free(root, udcs.names[i], gadget, words))
            continue;
        memcpy(udc, udcs.names[i], TREE_NAME_BYTES);
        return 0;
    }
    if (match > 0)
        return error_set(error, ERROR_TEMPORARY, "UDC %s: %s", udcs.names[match - 1], words);
    if (udcs.count == 0)
        return error_set(error, ERROR_TEMPORARY,
                         "UDC: this board has none now; boda-courier check tells why");
    tree_join(&udcs, list, sizeof list);
    return error_set(error, ERROR_TEMPORARY, "UDC %s: is not there; there is: %s", wanted, list);
}
