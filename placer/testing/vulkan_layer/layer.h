/* VK_LAYER_PLACER_capacity: lavapipe, seen as a row of discrete cards.
 *
 * Each physical device, known by its position in vkEnumeratePhysicalDevices, gets
 * the capacity that the state file (state.h) gives to that position: it is
 * reported as the device's own heap, and an allocation past it is refused. A
 * second heap and memory type stand for the host's memory, as a card with
 * resizable BAR shows them, so that pinned host buffers are not charged. Both
 * types are lavapipe's one type underneath.
 *
 *     layer.c    how the loader finds the layer; instances and devices come and go
 *     cards.c    positions, and what a card says of itself
 *     memory.c   allocation, and which memory types a resource may lie in
 *     state.c    the state file
 */
#ifndef PLACER_LAYER_H
#define PLACER_LAYER_H

#include "state.h"

#include <pthread.h>
#include <stddef.h>
#include <vulkan/vulkan.h>

#define LAYER_NAME "VK_LAYER_PLACER_capacity"

enum {
    CARD = 0, /* memory type and heap of the card's own memory */
    HOST = 1, /* memory type and heap of the host's memory */
    NOWHERE = STATE_DEVICES, /* position of a device that is not emulated */
};

#define CARD_FUNCTIONS(X) \
    X(EnumeratePhysicalDevices) \
    X(EnumerateDeviceExtensionProperties) \
    X(GetPhysicalDeviceProperties) \
    X(GetPhysicalDeviceProperties2) \
    X(GetPhysicalDeviceMemoryProperties) \
    X(GetPhysicalDeviceMemoryProperties2)

#define CARD_ALIASES(X) \
    X(GetPhysicalDeviceProperties2, "vkGetPhysicalDeviceProperties2KHR") \
    X(GetPhysicalDeviceMemoryProperties2, "vkGetPhysicalDeviceMemoryProperties2KHR")

#define MEMORY_FUNCTIONS(X) \
    X(AllocateMemory) \
    X(FreeMemory) \
    X(DestroyBuffer) \
    X(GetBufferMemoryRequirements) \
    X(GetBufferMemoryRequirements2) \
    X(GetDeviceBufferMemoryRequirements) \
    X(GetImageMemoryRequirements) \
    X(GetImageMemoryRequirements2) \
    X(GetDeviceImageMemoryRequirements) \
    X(GetMemoryHostPointerPropertiesEXT) \
    X(GetMemoryFdPropertiesKHR)

#define MEMORY_ALIASES(X) \
    X(GetBufferMemoryRequirements2, "vkGetBufferMemoryRequirements2KHR") \
    X(GetDeviceBufferMemoryRequirements, "vkGetDeviceBufferMemoryRequirementsKHR") \
    X(GetImageMemoryRequirements2, "vkGetImageMemoryRequirements2KHR") \
    X(GetDeviceImageMemoryRequirements, "vkGetDeviceImageMemoryRequirementsKHR")

#define MEMBER(name) PFN_vk##name name;

/* The next layer's functions stand in the two structures, resolved once: looking
 * them up at each call goes round in a circle when an application makes a second
 * instance. */
struct instance {
    struct instance *next;
    void *key;
    VkInstance handle;
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
    PFN_vkDestroyInstance DestroyInstance;
    CARD_FUNCTIONS(MEMBER)
    uint32_t card_count;
    VkPhysicalDevice cards[STATE_DEVICES]; /* by position */
};

struct allocation {
    VkDeviceMemory memory;
    VkDeviceSize bytes;
};

struct device {
    struct device *next;
    void *key;
    uint32_t position;
    uint32_t driver_type; /* the driver's memory type under both of ours */
    PFN_vkGetDeviceProcAddr GetDeviceProcAddr;
    PFN_vkDestroyDevice DestroyDevice;
    MEMORY_FUNCTIONS(MEMBER)
    struct allocation *allocations; /* those that are charged */
    size_t allocation_count;
    size_t allocation_room;
    VkBuffer *retired; /* destroyed by the application, alive for the driver */
    size_t retired_count;
    size_t retired_room;
};

extern pthread_mutex_t registry; /* guards every list and table of the layer */

/* By the loader's dispatch pointer: an instance or one of its physical devices. */
struct instance *instance_of(const void *handle);
struct device *device_of(VkDevice handle);

uint32_t position_of(struct instance *instance, VkPhysicalDevice card);
bool names_budget(const char *extension);

/* What the layer does for a function; NULL where it does nothing. */
PFN_vkVoidFunction card_function(const char *name);
/* Likewise; NULL, too, for what the driver of a given device cannot do. */
PFN_vkVoidFunction memory_function(const struct device *device, const char *name);

void resolve_cards(struct instance *instance);
void resolve_memory(struct device *device, VkDevice handle, VkPhysicalDevice card,
                    const struct instance *instance);
void discharge_all(struct device *device);
void destroy_retired(struct device *device, VkDevice handle); /* what it never freed; frees the table */

#endif
