#define _GNU_SOURCE /* F_OFD_SETLK, F_OFD_GETLK */

#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(struct state_device) == 128, "state.py: DEVICE");
_Static_assert(sizeof(struct state_slot) == 272, "state.py: SLOT");
_Static_assert(sizeof(struct state_file) == 64 + 16 * 128 + 256 * 272, "state.py");

static pthread_mutex_t threads = PTHREAD_MUTEX_INITIALIZER;
static struct state_file *state; /* NULL until attached; then never unmapped */
static int state_fd = -1;
static uint32_t own_slot;

/* The threads of one process share its open file, so flock() alone would let
 * two of them in. */
static void lock(void) {
    pthread_mutex_lock(&threads);
    while (flock(state_fd, LOCK_EX) != 0 && errno == EINTR) {
    }
}

static void unlock(void) {
    flock(state_fd, LOCK_UN);
    pthread_mutex_unlock(&threads);
}

static bool slot_lock(uint32_t slot, int command, short *type) {
    struct flock range = {
        .l_type = *type, .l_whence = SEEK_SET, .l_start = slot, .l_len = 1};
    if (fcntl(state_fd, command, &range) != 0) {
        return false;
    }
    *type = range.l_type;
    return true;
}

static bool slot_is_alive(uint32_t slot) {
    short type = F_WRLCK;
    return !slot_lock(slot, F_OFD_GETLK, &type) || type != F_UNLCK;
}

static bool claim_slot(void) {
    uint32_t best = STATE_SLOTS;
    for (uint32_t i = 0; i < STATE_SLOTS; i++) {
        const struct state_slot *slot = &state->slots[i];
        if (slot_is_alive(i)) {
            continue;
        }
        /* An unused slot has claim 0: the oldest of the dead comes after it, so
         * that peaks stay readable as long as they can. */
        if (best == STATE_SLOTS || slot->claim < state->slots[best].claim) {
            best = i;
        }
    }
    short type = F_WRLCK;
    if (best == STATE_SLOTS || !slot_lock(best, F_OFD_SETLK, &type)) {
        return false;
    }
    own_slot = best;
    state->slots[best] =
        (struct state_slot){.pid = (int32_t)getpid(), .claim = ++state->claims};
    return true;
}

static const char *map_file(const char *path) {
    struct stat info;
    state_fd = open(path, O_RDWR | O_CLOEXEC);
    if (state_fd < 0 || fstat(state_fd, &info) != 0) {
        return strerror(errno);
    }
    if ((uint64_t)info.st_size != sizeof *state) {
        return "the file has another size than this version writes";
    }
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, state_fd, 0);
    if (state == MAP_FAILED) {
        state = NULL;
        return strerror(errno);
    }
    if (memcmp(state->magic, STATE_MAGIC, sizeof state->magic) != 0 ||
        state->version != STATE_VERSION || state->device_count == 0 ||
        state->device_count > STATE_DEVICES) {
        return "not a state file of this version";
    }
    return NULL;
}

static void forget_file(void) {
    if (state != NULL) {
        munmap(state, sizeof *state);
        state = NULL;
    }
    if (state_fd >= 0) {
        close(state_fd);
        state_fd = -1;
    }
}

static const char *attach(const char *path) {
    const char *problem = map_file(path);
    if (problem == NULL) {
        flock(state_fd, LOCK_EX);
        problem = claim_slot() ? NULL : "no process slot is left";
        flock(state_fd, LOCK_UN);
    }
    return problem;
}

bool state_attach(void) {
    pthread_mutex_lock(&threads);
    if (state == NULL) {
        const char *path = getenv(STATE_VARIABLE);
        const char *problem = path == NULL ? "the variable is not set" : attach(path);
        if (problem != NULL) {
            fprintf(stderr, "emulated GPUs: " STATE_VARIABLE "=%s: %s\n",
                    path == NULL ? "" : path, problem);
            forget_file();
        }
    }
    bool attached = state != NULL;
    pthread_mutex_unlock(&threads);
    return attached;
}

uint32_t state_device_count(void) { return state->device_count; }

/* What all processes use of a device; what the dead left is given back. */
static uint64_t used_bytes(uint32_t device) {
    uint64_t total = state->devices[device].neighbour_bytes;
    for (uint32_t i = 0; i < STATE_SLOTS; i++) {
        struct state_slot *slot = &state->slots[i];
        if (slot->used_bytes[device] == 0) {
            continue;
        }
        if (i != own_slot && !slot_is_alive(i)) {
            memset(slot->used_bytes, 0, sizeof slot->used_bytes);
        }
        total += slot->used_bytes[device];
    }
    return total;
}

static uint64_t free_bytes(uint32_t device) {
    uint64_t used = used_bytes(device);
    uint64_t capacity = state->devices[device].capacity_bytes;
    return used < capacity ? capacity - used : 0;
}

struct state_view state_look(uint32_t device) {
    struct state_view view;
    lock();
    view.capacity_bytes = state->devices[device].capacity_bytes;
    view.own_bytes = state->slots[own_slot].used_bytes[device];
    view.free_bytes = free_bytes(device);
    memcpy(view.label, state->devices[device].label, sizeof view.label);
    unlock();
    view.label[sizeof view.label - 1] = '\0';
    return view;
}

bool state_charge(uint32_t device, uint64_t bytes) {
    struct state_slot *slot = &state->slots[own_slot];
    lock();
    bool fits = bytes <= free_bytes(device);
    if (fits) {
        slot->used_bytes[device] += bytes;
        if (slot->used_bytes[device] > slot->peak_bytes[device]) {
            slot->peak_bytes[device] = slot->used_bytes[device];
        }
    }
    unlock();
    return fits;
}

void state_discharge(uint32_t device, uint64_t bytes) {
    lock();
    state->slots[own_slot].used_bytes[device] -= bytes;
    unlock();
}
