/* Which card is which, and what each says of itself. */
#include "layer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* lavapipe addresses a buffer with 32 bits; what cards report is about the same. */
static const VkDeviceSize LARGEST_BUFFER_BYTES = UINT32_MAX;

/* --- positions ------------------------------------------------------------ */

/* Asks the driver for all devices; those past the state file's count are hidden. */
static VkResult number_cards(struct instance *instance) {
    uint32_t count = 0;
    VkResult result =
        instance->EnumeratePhysicalDevices(instance->handle, &count, NULL);
    if (result != VK_SUCCESS) {
        return result;
    }
    VkPhysicalDevice *all = calloc(count + 1, sizeof *all);
    if (all == NULL) {
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    result = instance->EnumeratePhysicalDevices(instance->handle, &count, all);
    if (result == VK_SUCCESS) {
        uint32_t shown = state_device_count();
        pthread_mutex_lock(&registry);
        instance->card_count = count < shown ? count : shown;
        memcpy(instance->cards, all, instance->card_count * sizeof *all);
        pthread_mutex_unlock(&registry);
    }
    free(all);
    return result;
}

static uint32_t find_card(const struct instance *instance, VkPhysicalDevice card) {
    uint32_t position = 0;
    pthread_mutex_lock(&registry);
    while (position < instance->card_count && instance->cards[position] != card) {
        position++;
    }
    bool found = position < instance->card_count;
    pthread_mutex_unlock(&registry);
    return found ? position : NOWHERE;
}

uint32_t position_of(struct instance *instance, VkPhysicalDevice card) {
    uint32_t position = find_card(instance, card);
    if (position == NOWHERE && number_cards(instance) == VK_SUCCESS) {
        position = find_card(instance, card);
    }
    return position;
}

static VKAPI_ATTR VkResult VKAPI_CALL hook_EnumeratePhysicalDevices(
    VkInstance handle, uint32_t *count, VkPhysicalDevice *cards) {
    struct instance *instance = instance_of(handle);
    VkResult result = number_cards(instance);
    if (result != VK_SUCCESS) {
        return result;
    }
    pthread_mutex_lock(&registry);
    uint32_t shown = instance->card_count;
    if (cards == NULL) {
        *count = shown;
    } else if (*count > shown) {
        *count = shown;
    }
    if (cards != NULL) {
        memcpy(cards, instance->cards, *count * sizeof *cards);
    }
    pthread_mutex_unlock(&registry);
    return *count < shown ? VK_INCOMPLETE : VK_SUCCESS;
}

/* --- what a card says of itself ------------------------------------------- */

static void disguise(uint32_t position, VkPhysicalDeviceProperties *properties) {
    struct state_view view = state_look(position);
    properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    snprintf(properties->deviceName, sizeof properties->deviceName, "%s", view.label);
    properties->limits.maxStorageBufferRange = UINT32_MAX;
}

/* Engines take two devices with one UUID for one card under two drivers. */
static void number_uuid(uint32_t position, uint8_t *uuid) {
    uuid[VK_UUID_SIZE - 1] = (uint8_t)(position + 1);
}

static void disguise_chain(uint32_t position, void *chain) {
    for (VkBaseOutStructure *link = chain; link != NULL; link = link->pNext) {
        switch (link->sType) {
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES:
            number_uuid(position, ((VkPhysicalDeviceIDProperties *)link)->deviceUUID);
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES: {
            VkPhysicalDeviceVulkan11Properties *core = (void *)link;
            number_uuid(position, core->deviceUUID);
            core->maxMemoryAllocationSize = LARGEST_BUFFER_BYTES;
            break;
        }
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES:
            ((VkPhysicalDeviceMaintenance3Properties *)link)->maxMemoryAllocationSize =
                LARGEST_BUFFER_BYTES;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES:
            ((VkPhysicalDeviceVulkan13Properties *)link)->maxBufferSize =
                LARGEST_BUFFER_BYTES;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES:
            ((VkPhysicalDeviceMaintenance4Properties *)link)->maxBufferSize =
                LARGEST_BUFFER_BYTES;
            break;
        default:
            break;
        }
    }
}

static VKAPI_ATTR void VKAPI_CALL hook_GetPhysicalDeviceProperties(
    VkPhysicalDevice card, VkPhysicalDeviceProperties *properties) {
    struct instance *instance = instance_of(card);
    uint32_t position = position_of(instance, card);
    instance->GetPhysicalDeviceProperties(card, properties);
    if (position != NOWHERE) {
        disguise(position, properties);
    }
}

static VKAPI_ATTR void VKAPI_CALL hook_GetPhysicalDeviceProperties2(
    VkPhysicalDevice card, VkPhysicalDeviceProperties2 *properties) {
    struct instance *instance = instance_of(card);
    uint32_t position = position_of(instance, card);
    instance->GetPhysicalDeviceProperties2(card, properties);
    if (position != NOWHERE) {
        disguise(position, &properties->properties);
        disguise_chain(position, properties->pNext);
    }
}

/* --- its memory ----------------------------------------------------------- */

static VkDeviceSize host_bytes(void) {
    return (VkDeviceSize)sysconf(_SC_PHYS_PAGES) * (VkDeviceSize)sysconf(_SC_PAGESIZE);
}

/* As NVIDIA shows a card with resizable BAR. The engine asks for device-local
 * first, and for host-cached where it wants pinned memory. */
static void show_memory(
    const struct state_view *view, VkPhysicalDeviceMemoryProperties *memory) {
    const VkMemoryPropertyFlags coherent =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    memset(memory, 0, sizeof *memory);
    memory->memoryHeapCount = 2;
    memory->memoryHeaps[CARD] =
        (VkMemoryHeap){view->capacity_bytes, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    memory->memoryHeaps[HOST] = (VkMemoryHeap){host_bytes(), 0};
    memory->memoryTypeCount = 2;
    memory->memoryTypes[CARD] =
        (VkMemoryType){coherent | VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, CARD};
    memory->memoryTypes[HOST] =
        (VkMemoryType){coherent | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, HOST};
}

/* heapBudget counts what this process uses already: budget - usage is free. */
static void show_budget(const struct state_view *view, void *chain) {
    for (VkBaseOutStructure *link = chain; link != NULL; link = link->pNext) {
        if (link->sType ==
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) {
            VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (void *)link;
            memset(budget->heapBudget, 0, sizeof budget->heapBudget);
            memset(budget->heapUsage, 0, sizeof budget->heapUsage);
            budget->heapBudget[CARD] = view->own_bytes + view->free_bytes;
            budget->heapUsage[CARD] = view->own_bytes;
            budget->heapBudget[HOST] = host_bytes();
        }
    }
}

static VKAPI_ATTR void VKAPI_CALL hook_GetPhysicalDeviceMemoryProperties(
    VkPhysicalDevice card, VkPhysicalDeviceMemoryProperties *memory) {
    struct instance *instance = instance_of(card);
    uint32_t position = position_of(instance, card);
    if (position == NOWHERE) {
        instance->GetPhysicalDeviceMemoryProperties(card, memory);
        return;
    }
    struct state_view view = state_look(position);
    show_memory(&view, memory);
}

static VKAPI_ATTR void VKAPI_CALL hook_GetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice card, VkPhysicalDeviceMemoryProperties2 *memory) {
    struct instance *instance = instance_of(card);
    uint32_t position = position_of(instance, card);
    instance->GetPhysicalDeviceMemoryProperties2(card, memory);
    if (position != NOWHERE) {
        struct state_view view = state_look(position);
        show_memory(&view, &memory->memoryProperties);
        show_budget(&view, memory->pNext);
    }
}

static VkResult write_extensions(const VkExtensionProperties *from, uint32_t n,
                                 uint32_t *count, VkExtensionProperties *to) {
    if (to == NULL) {
        *count = n;
        return VK_SUCCESS;
    }
    if (*count > n) {
        *count = n;
    }
    memcpy(to, from, *count * sizeof *to);
    return *count < n ? VK_INCOMPLETE : VK_SUCCESS;
}

bool names_budget(const char *extension) {
    return strcmp(extension, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME) == 0;
}

static const VkExtensionProperties BUDGET = {
    VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, VK_EXT_MEMORY_BUDGET_SPEC_VERSION};

static VkResult all_extensions(struct instance *instance, VkPhysicalDevice card,
                               uint32_t *count, VkExtensionProperties **all) {
    VkResult result =
        instance->EnumerateDeviceExtensionProperties(card, NULL, count, NULL);
    if (result != VK_SUCCESS) {
        return result;
    }
    *all = calloc(*count + 1, sizeof **all);
    if (*all == NULL) {
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    return instance->EnumerateDeviceExtensionProperties(card, NULL, count, *all);
}

static VKAPI_ATTR VkResult VKAPI_CALL hook_EnumerateDeviceExtensionProperties(
    VkPhysicalDevice card, const char *layer, uint32_t *count,
    VkExtensionProperties *extensions) {
    struct instance *instance = instance_of(card);
    if (layer != NULL && strcmp(layer, LAYER_NAME) == 0) {
        return write_extensions(&BUDGET, 1, count, extensions);
    }
    if (layer != NULL) {
        return instance->EnumerateDeviceExtensionProperties(card, layer, count,
                                                            extensions);
    }
    uint32_t n = 0;
    VkExtensionProperties *all = NULL;
    VkResult result = all_extensions(instance, card, &n, &all);
    if (result == VK_SUCCESS) {
        uint32_t i = 0;
        while (i < n && !names_budget(all[i].extensionName)) {
            i++;
        }
        if (i == n) {
            all[n++] = BUDGET;
        }
        result = write_extensions(all, n, count, extensions);
    }
    free(all);
    return result;
}

/* --- for layer.c ---------------------------------------------------------- */

void resolve_cards(struct instance *instance) {
    VkInstance handle = instance->handle;
#define RESOLVE(name) \
    instance->name = (PFN_vk##name)instance->GetInstanceProcAddr(handle, "vk" #name);
#define RESOLVE_ALIAS(name, alias) \
    if (instance->name == NULL) { \
        instance->name = (PFN_vk##name)instance->GetInstanceProcAddr(handle, alias); \
    }
    CARD_FUNCTIONS(RESOLVE)
    CARD_ALIASES(RESOLVE_ALIAS)
}

PFN_vkVoidFunction card_function(const char *name) {
#define MATCH_ALIAS(function, text) \
    if (strcmp(name, text) == 0) { \
        return (PFN_vkVoidFunction)hook_##function; \
    }
#define MATCH(function) MATCH_ALIAS(function, "vk" #function)
    CARD_FUNCTIONS(MATCH)
    CARD_ALIASES(MATCH_ALIAS)
    return NULL;
}
