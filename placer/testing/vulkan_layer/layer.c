/* How the loader finds the layer, and how instances and devices come and go. */
#include "layer.h"

#include <stdlib.h>
#include <string.h>
#include <vulkan/vk_layer.h>

pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct instance *instances;
static struct device *devices;

/* The loader's dispatch pointer: one for an instance and its physical devices,
 * one for a device and its queues. */
static void *key_of(const void *handle) { return *(void *const *)handle; }

struct instance *instance_of(const void *handle) {
    pthread_mutex_lock(&registry);
    struct instance *found = instances;
    while (found != NULL && found->key != key_of(handle)) {
        found = found->next;
    }
    pthread_mutex_unlock(&registry);
    return found;
}

struct device *device_of(VkDevice handle) {
    pthread_mutex_lock(&registry);
    struct device *found = devices;
    while (found != NULL && found->key != key_of(handle)) {
        found = found->next;
    }
    pthread_mutex_unlock(&registry);
    return found;
}

/* --- instances ------------------------------------------------------------ */

/* The layer's place in the chain that the loader hands down at creation. */
static VkLayerInstanceCreateInfo *instance_link(const void *chain) {
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)chain;
    while (link != NULL &&
           (link->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO ||
            link->function != VK_LAYER_LINK_INFO)) {
        link = (VkLayerInstanceCreateInfo *)link->pNext;
    }
    return link;
}

static VkResult create_next_instance(VkLayerInstanceCreateInfo *link,
                                     const VkInstanceCreateInfo *info,
                                     const VkAllocationCallbacks *allocator,
                                     VkInstance *handle) {
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create =
        (PFN_vkCreateInstance)next(VK_NULL_HANDLE, "vkCreateInstance");
    return create(info, allocator, handle);
}

static VKAPI_ATTR VkResult VKAPI_CALL hook_CreateInstance(
    const VkInstanceCreateInfo *info, const VkAllocationCallbacks *allocator,
    VkInstance *handle) {
    VkLayerInstanceCreateInfo *link = instance_link(info->pNext);
    if (link == NULL || !state_attach()) {
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    struct instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    instance->GetInstanceProcAddr = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    VkResult result = create_next_instance(link, info, allocator, handle);
    if (result != VK_SUCCESS) {
        free(instance);
        return result;
    }
    instance->key = key_of(*handle);
    instance->handle = *handle;
    instance->DestroyInstance = (PFN_vkDestroyInstance)instance->GetInstanceProcAddr(
        *handle, "vkDestroyInstance");
    resolve_cards(instance);
    pthread_mutex_lock(&registry);
    instance->next = instances;
    instances = instance;
    pthread_mutex_unlock(&registry);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL hook_DestroyInstance(
    VkInstance handle, const VkAllocationCallbacks *allocator) {
    if (handle == VK_NULL_HANDLE) {
        return;
    }
    struct instance *instance = instance_of(handle);
    pthread_mutex_lock(&registry);
    struct instance **link = &instances;
    while (*link != instance) {
        link = &(*link)->next;
    }
    *link = instance->next;
    pthread_mutex_unlock(&registry);
    instance->DestroyInstance(handle, allocator);
    free(instance);
}

/* --- devices -------------------------------------------------------------- */

static VkLayerDeviceCreateInfo *device_link(const void *chain) {
    VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)chain;
    while (link != NULL &&
           (link->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO ||
            link->function != VK_LAYER_LINK_INFO)) {
        link = (VkLayerDeviceCreateInfo *)link->pNext;
    }
    return link;
}

/* VK_EXT_memory_budget adds no device function, and lavapipe may not know it. */
static VkResult create_without_budget(PFN_vkCreateDevice create, VkPhysicalDevice card,
                                      const VkDeviceCreateInfo *info,
                                      const VkAllocationCallbacks *allocator,
                                      VkDevice *handle) {
    VkDeviceCreateInfo trimmed = *info;
    const char **kept = calloc(info->enabledExtensionCount + 1, sizeof *kept);
    if (kept == NULL) {
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    trimmed.enabledExtensionCount = 0;
    trimmed.ppEnabledExtensionNames = kept;
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++) {
        if (!names_budget(info->ppEnabledExtensionNames[i])) {
            kept[trimmed.enabledExtensionCount++] = info->ppEnabledExtensionNames[i];
        }
    }
    VkResult result = create(card, &trimmed, allocator, handle);
    free(kept);
    return result;
}

static VkResult create_next_device(VkLayerDeviceCreateInfo *link, VkInstance instance,
                                   VkPhysicalDevice card,
                                   const VkDeviceCreateInfo *info,
                                   const VkAllocationCallbacks *allocator,
                                   VkDevice *handle) {
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateDevice create = (PFN_vkCreateDevice)next(instance, "vkCreateDevice");
    return create_without_budget(create, card, info, allocator, handle);
}

static VKAPI_ATTR VkResult VKAPI_CALL hook_CreateDevice(
    VkPhysicalDevice card, const VkDeviceCreateInfo *info,
    const VkAllocationCallbacks *allocator, VkDevice *handle) {
    struct instance *instance = instance_of(card);
    VkLayerDeviceCreateInfo *link = device_link(info->pNext);
    uint32_t position = position_of(instance, card);
    if (link == NULL || position == NOWHERE) {
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    struct device *device = calloc(1, sizeof *device);
    if (device == NULL) {
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    device->GetDeviceProcAddr = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    VkResult result =
        create_next_device(link, instance->handle, card, info, allocator, handle);
    if (result != VK_SUCCESS) {
        free(device);
        return result;
    }
    device->key = key_of(*handle);
    device->position = position;
    device->DestroyDevice =
        (PFN_vkDestroyDevice)device->GetDeviceProcAddr(*handle, "vkDestroyDevice");
    resolve_memory(device, *handle, card, instance);
    pthread_mutex_lock(&registry);
    device->next = devices;
    devices = device;
    pthread_mutex_unlock(&registry);
    return VK_SUCCESS;
}

static VKAPI_ATTR void VKAPI_CALL hook_DestroyDevice(
    VkDevice handle, const VkAllocationCallbacks *allocator) {
    if (handle == VK_NULL_HANDLE) {
        return;
    }
    struct device *device = device_of(handle);
    pthread_mutex_lock(&registry);
    struct device **link = &devices;
    while (*link != device) {
        link = &(*link)->next;
    }
    *link = device->next;
    pthread_mutex_unlock(&registry);
    destroy_retired(device, handle);
    device->DestroyDevice(handle, allocator);
    discharge_all(device);
    free(device);
}

/* --- how the loader finds all this ---------------------------------------- */

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL get_device_proc_addr(VkDevice handle,
                                                                     const char *name) {
    struct device *device = device_of(handle);
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) {
        return (PFN_vkVoidFunction)get_device_proc_addr;
    }
    if (strcmp(name, "vkDestroyDevice") == 0) {
        return (PFN_vkVoidFunction)hook_DestroyDevice;
    }
    PFN_vkVoidFunction ours = memory_function(device, name);
    return ours != NULL ? ours : device->GetDeviceProcAddr(handle, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL
get_instance_proc_addr(VkInstance handle, const char *name) {
    const struct {
        const char *name;
        PFN_vkVoidFunction function;
    } own[] = {
        {"vkGetInstanceProcAddr", (PFN_vkVoidFunction)get_instance_proc_addr},
        {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)get_device_proc_addr},
        {"vkCreateInstance", (PFN_vkVoidFunction)hook_CreateInstance},
        {"vkDestroyInstance", (PFN_vkVoidFunction)hook_DestroyInstance},
        {"vkCreateDevice", (PFN_vkVoidFunction)hook_CreateDevice},
        {"vkDestroyDevice", (PFN_vkVoidFunction)hook_DestroyDevice},
    };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (strcmp(name, own[i].name) == 0) {
            return own[i].function;
        }
    }
    PFN_vkVoidFunction ours = card_function(name);
    if (ours == NULL) {
        ours = memory_function(NULL, name);
    }
    struct instance *instance = handle == VK_NULL_HANDLE ? NULL : instance_of(handle);
    if (ours != NULL || instance == NULL) {
        return ours;
    }
    return instance->GetInstanceProcAddr(handle, name);
}

__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface) {
    if (interface->loaderLayerInterfaceVersion < 2) {
        return VK_ERROR_INITIALIZATION_FAILED;
    }
    interface->loaderLayerInterfaceVersion = 2;
    interface->pfnGetInstanceProcAddr = get_instance_proc_addr;
    interface->pfnGetDeviceProcAddr = get_device_proc_addr;
    interface->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
