/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "tests/unit/support/world.h"

#include <stdlib.h>

int world_set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    if (world == NULL)
        return -1;
    world->folder = folder_new();
    world->store = stores_open(world->folder);
    *state = world;
    return 0;
}

int world_tear_down(void **state)
{
    struct world *world = *state;

    store_close(world->store);
    folder_remove(world->folder);
    free(world);
    return 0;
}
