/* Allocation on a card, and which memory types a resource may lie in. */
#include "layer.h"

#include <stdlib.h>
#include <string.h>

/* --- allocation ----------------------------------------------------------- */

static bool remember(struct device *device, VkDeviceMemory memory, VkDeviceSize bytes) {
    bool kept = true;
    pthread_mutex_lock(&registry);
    if (device->allocation_count == device->allocation_room) {
        size_t room = device->allocation_room == 0 ? 64 : 2 * device->allocation_room;
        struct allocation *grown =
            realloc(device->allocations, room * sizeof *device->allocations);
        kept = grown != NULL;
        if (kept) {
            device->allocations = grown;
            device->allocation_room = room;
        }
    }
    if (kept) {
        device->allocations[device->allocation_count++] =
            (struct allocation){memory, bytes};
    }
    pthread_mutex_unlock(&registry);
    return kept;
}

/* The bytes that were charged for it; 0 when it lies in the host's memory. */
static VkDeviceSize forget(struct device *device, VkDeviceMemory memory) {
    VkDeviceSize bytes = 0;
    pthread_mutex_lock(&registry);
    for (size_t i = 0; i < device->allocation_count; i++) {
        if (device->allocations[i].memory == memory) {
            bytes = device->allocations[i].bytes;
            device->allocations[i] = device->allocations[--device->allocation_count];
            break;
        }
    }
    pthread_mutex_unlock(&registry);
    return bytes;
}

static VKAPI_ATTR VkResult VKAPI_CALL hook_AllocateMemory(
    VkDevice handle, const VkMemoryAllocateInfo *info,
    const VkAllocationCallbacks *allocator, VkDeviceMemory *memory) {
    struct device *device = device_of(handle);
    VkMemoryAllocateInfo mapped = *info;
    mapped.memoryTypeIndex = device->driver_type;
    if (info->memoryTypeIndex != CARD) {
        return device->AllocateMemory(handle, &mapped, allocator, memory);
    }
    VkDeviceSize bytes = info->allocationSize;
    if (!state_charge(device->position, bytes)) {
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    VkResult result = device->AllocateMemory(handle, &mapped, allocator, memory);
    if (result == VK_SUCCESS && !remember(device, *memory, bytes)) {
        device->FreeMemory(handle, *memory, allocator);
        result = VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    if (result != VK_SUCCESS) {
        state_discharge(device->position, bytes);
    }
    return result;
}

static VKAPI_ATTR void VKAPI_CALL hook_FreeMemory(
    VkDevice handle, VkDeviceMemory memory, const VkAllocationCallbacks *allocator) {
    struct device *device = device_of(handle);
    /* Forgotten first: once freed, another thread may get the same handle. */
    VkDeviceSize bytes = forget(device, memory);
    device->FreeMemory(handle, memory, allocator);
    if (bytes != 0) {
        state_discharge(device->position, bytes);
    }
}

/* --- which types a resource may lie in ------------------------------------ */

static uint32_t widen(const struct device *device, uint32_t driver_bits) {
    bool usable = (driver_bits >> device->driver_type & 1) != 0;
    return usable ? 1u << CARD | 1u << HOST : 0;
}

static VKAPI_ATTR void VKAPI_CALL hook_GetBufferMemoryRequirements(
    VkDevice handle, VkBuffer buffer, VkMemoryRequirements *needs) {
    struct device *device = device_of(handle);
    device->GetBufferMemoryRequirements(handle, buffer, needs);
    needs->memoryTypeBits = widen(device, needs->memoryTypeBits);
}

static VKAPI_ATTR void VKAPI_CALL hook_GetImageMemoryRequirements(
    VkDevice handle, VkImage image, VkMemoryRequirements *needs) {
    struct device *device = device_of(handle);
    device->GetImageMemoryRequirements(handle, image, needs);
    needs->memoryTypeBits = widen(device, needs->memoryTypeBits);
}

#define HOOK_REQUIREMENTS2(name, type) \
    static VKAPI_ATTR void VKAPI_CALL hook_##name( \
        VkDevice handle, const type *info, VkMemoryRequirements2 *needs) { \
        struct device *device = device_of(handle); \
        device->name(handle, info, needs); \
        uint32_t *bits = &needs->memoryRequirements.memoryTypeBits; \
        *bits = widen(device, *bits); \
    }

HOOK_REQUIREMENTS2(GetBufferMemoryRequirements2, VkBufferMemoryRequirementsInfo2)
HOOK_REQUIREMENTS2(GetDeviceBufferMemoryRequirements, VkDeviceBufferMemoryRequirements)
HOOK_REQUIREMENTS2(GetImageMemoryRequirements2, VkImageMemoryRequirementsInfo2)
HOOK_REQUIREMENTS2(GetDeviceImageMemoryRequirements, VkDeviceImageMemoryRequirements)

/* What lies in the host's memory already can only be imported there. */
static VKAPI_ATTR VkResult VKAPI_CALL hook_GetMemoryHostPointerPropertiesEXT(
    VkDevice handle, VkExternalMemoryHandleTypeFlagBits type, const void *pointer,
    VkMemoryHostPointerPropertiesEXT *properties) {
    struct device *device = device_of(handle);
    VkResult result =
        device->GetMemoryHostPointerPropertiesEXT(handle, type, pointer, properties);
    properties->memoryTypeBits =
        widen(device, properties->memoryTypeBits) & 1u << HOST;
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL hook_GetMemoryFdPropertiesKHR(
    VkDevice handle, VkExternalMemoryHandleTypeFlagBits type, int fd,
    VkMemoryFdPropertiesKHR *properties) {
    struct device *device = device_of(handle);
    VkResult result = device->GetMemoryFdPropertiesKHR(handle, type, fd, properties);
    properties->memoryTypeBits = widen(device, properties->memoryTypeBits);
    return result;
}

static bool retire(struct device *device, VkBuffer buffer) {
    pthread_mutex_lock(&registry);
    if (device->retired_count == device->retired_room) {
        size_t room = device->retired_room ? 2 * device->retired_room : 64;
        VkBuffer *grown = realloc(device->retired, room * sizeof *grown);
        if (grown != NULL) {
            device->retired = grown;
            device->retired_room = room;
        }
    }
    bool fits = device->retired_count < device->retired_room;
    if (fits) {
        device->retired[device->retired_count++] = buffer;
    }
    pthread_mutex_unlock(&registry);
    return fits;
}

/* Lavapipe (Mesa 22.3) may still let go of a buffer in its queue thread after the
 * application destroyed it, and dies of that: SIGSEGV, seen without this layer as soon
 * as several slots decode at once. So buffers live as long as their device. Their
 * memory does not: it is given back when the application frees it. */
static VKAPI_ATTR void VKAPI_CALL hook_DestroyBuffer(
    VkDevice handle, VkBuffer buffer, const VkAllocationCallbacks *allocator) {
    struct device *device = device_of(handle);
    if (buffer == VK_NULL_HANDLE || !retire(device, buffer)) {
        device->DestroyBuffer(handle, buffer, allocator);
    }
}

/* --- for layer.c ---------------------------------------------------------- */

static uint32_t choose_driver_type(const struct instance *instance,
                                   VkPhysicalDevice card) {
    const VkMemoryPropertyFlags wanted = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                         VK_MEMORY_PROPERTY_HOST_COHERENT_BIT |
                                         VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    VkPhysicalDeviceMemoryProperties memory;
    instance->GetPhysicalDeviceMemoryProperties(card, &memory);
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++) {
        if ((memory.memoryTypes[i].propertyFlags & wanted) == wanted) {
            return i;
        }
    }
    return 0;
}

void resolve_memory(struct device *device, VkDevice handle, VkPhysicalDevice card,
                    const struct instance *instance) {
#define RESOLVE(name) \
    device->name = (PFN_vk##name)device->GetDeviceProcAddr(handle, "vk" #name);
#define RESOLVE_ALIAS(name, alias) \
    if (device->name == NULL) { \
        device->name = (PFN_vk##name)device->GetDeviceProcAddr(handle, alias); \
    }
    MEMORY_FUNCTIONS(RESOLVE)
    MEMORY_ALIASES(RESOLVE_ALIAS)
    device->driver_type = choose_driver_type(instance, card);
}

PFN_vkVoidFunction memory_function(const struct device *device, const char *name) {
#define MATCH_ALIAS(function, text) \
    if (strcmp(name, text) == 0 && (device == NULL || device->function != NULL)) { \
        return (PFN_vkVoidFunction)hook_##function; \
    }
#define MATCH(function) MATCH_ALIAS(function, "vk" #function)
    MEMORY_FUNCTIONS(MATCH)
    MEMORY_ALIASES(MATCH_ALIAS)
    return NULL;
}

void destroy_retired(struct device *device, VkDevice handle) {
    for (size_t i = 0; i < device->retired_count; i++) {
        device->DestroyBuffer(handle, device->retired[i], NULL);
    }
    free(device->retired);
}

void discharge_all(struct device *device) {
    for (size_t i = 0; i < device->allocation_count; i++) {
        state_discharge(device->position, device->allocations[i].bytes);
    }
    free(device->allocations);
}
