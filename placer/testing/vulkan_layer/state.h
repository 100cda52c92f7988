/* The state file of an emulated machine, as every process on it shares it.
 *
 * placer/testing/state.py reads and writes the same bytes: change both together.
 * All integers are little-endian (the layer is built for the machine it runs on,
 * and lavapipe is used on little-endian machines only).
 *
 * Two locks: flock() on the file covers every read and write of its content; an
 * open-file-description lock on byte `slot` of the file is held by the process
 * that owns the slot, for as long as it lives. The kernel drops it when the
 * process dies, however it dies, and it is seen across PID namespaces: that is
 * how a killed process is told from a living one.
 */
#ifndef PLACER_VULKAN_STATE_H
#define PLACER_VULKAN_STATE_H

#include <stdbool.h>
#include <stdint.h>

#define STATE_VARIABLE "PLACER_EMULATED_STATE"
#define STATE_MAGIC "PLCRVRAM"

enum {
    STATE_VERSION = 1,
    STATE_DEVICES = 16,
    STATE_SLOTS = 256,
    STATE_LABEL_SIZE = 112,
};

struct state_device {
    uint64_t capacity_bytes;
    uint64_t neighbour_bytes; /* taken by a process that is only pretended */
    char label[STATE_LABEL_SIZE];
};

struct state_slot {
    int32_t pid; /* 0: never used */
    uint32_t reserved;
    uint64_t claim; /* counts up: of two slots with one pid, the higher is newer */
    uint64_t used_bytes[STATE_DEVICES];
    uint64_t peak_bytes[STATE_DEVICES];
};

struct state_file {
    char magic[8];
    uint32_t version;
    uint32_t device_count;
    uint64_t claims;
    uint8_t reserved[40];
    struct state_device devices[STATE_DEVICES];
    struct state_slot slots[STATE_SLOTS];
};

struct state_view {
    uint64_t capacity_bytes;
    uint64_t own_bytes;  /* used by this process */
    uint64_t free_bytes; /* not used by any process, 0 when over capacity */
    char label[STATE_LABEL_SIZE];
};

/* Maps the file that STATE_VARIABLE names and claims a slot, once a process. */
bool state_attach(void);
uint32_t state_device_count(void);
struct state_view state_look(uint32_t device);
/* False, and nothing charged, when the device has fewer bytes free. */
bool state_charge(uint32_t device, uint64_t bytes);
void state_discharge(uint32_t device, uint64_t bytes);

#endif
