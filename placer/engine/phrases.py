"""What llama-server says, build by build: one table of patterns.

Log strings move between builds; every spelling that was seen has its row. A pattern
of a failure stands at the start of a message, behind at most a function's name: the
words of a user's prompt, echoed into the log, never do. Cites are to llama.cpp build
10435, unless they say another.
"""

from __future__ import annotations

import re

# "0.00.731.771 E " of newer builds: minutes to microseconds, and the level.
PREFIX = re.compile(
    r"^(?:\d{1,6}\.\d\d\.\d{3}\.\d{3} {1,2})?(?:(?P<level>[DITWE]) {1,2})?"
)
# What a slot says begins with its number and its task.
SLOT = re.compile(r"^slot +\S{1,40}: id +-?\d+ \| task -?\d+ \| ")
NUMBER = r"([\d.]+)"
# "srv    load_model: ", "llama_model_load: error loading model: ", or nothing
SAID = r"^(?:[\w ():~.-]{1,80}: )?\s{0,4}"

BUFFER = re.compile(rf"(\S+) (model|KV|RS|compute) buffer size =\s*{NUMBER} MiB")
# before build 3900 or so
OLD_WEIGHTS = re.compile(rf"^llm_load_tensors:\s+(\S+) buffer size =\s*{NUMBER} MiB")
PROJECTOR = re.compile(rf"worst-case memory usage of mmproj is {NUMBER} MiB")
TABLE_DEVICE = re.compile(
    r"\|\s+- (\S+) \(.*\)\s*\|\s*(\d+) =\s*(\d+) \+ "
    r"\(\s*\d+ =\s*(\d+) \+\s*(\d+) \+\s*(\d+)\)"
)
TABLE_HOST = re.compile(r"\|\s+- Host\s*\|\s*\d+ =\s*(\d+) \+\s*(\d+) \+\s*(\d+)\s*\|")
TABLE_HEAD = re.compile(r"memory breakdown \[MiB\]")
PCI = re.compile(r"using device (\S+) \(.*\) \(([0-9a-fA-F]{4,8}:[0-9a-fA-F:.]+)\)")
FREE = re.compile(r"using device (\S+) \(.*\) - (\d+) MiB free")
FOUND = re.compile(r"[fF]ound (\d+) (CUDA|ROCm|MUSA|Vulkan|SYCL) devices")
# "found 2 ROCm devices": HIP and MUSA builds are ggml-cuda.cu under other names.
CUDA_KIND = re.compile(
    r"(?:found \d+ (ROCm|MUSA) devices|\b(ROCm|MUSA)\d* (?:buffer|model|KV|error))"
)

# ggml-alloc.c:940 and :1133; ggml-metal.cpp:209 of build 11434
FAILED_BUFFER = re.compile(
    SAID + r"failed to allocate (\S+) buffer of (?:size )?(\d+)( bytes)?"
)
# ggml-cuda.cu: the same failure, one line earlier and with the device by number
FAILED_CUDA = re.compile(
    SAID + rf"allocating {NUMBER} MiB on device (\d+): cudaMalloc failed: out of memory"
)
FAILED_CUDA_POOL = re.compile(
    rf"^(CUDA|ROCm|MUSA) pool\[(\d+)\]: alloc of {NUMBER} MiB failed"
)
FAILED_VULKAN = re.compile(
    r"^ggml_vulkan: (?:Device m|M)emory allocation of size (\d+) failed"
)
FAILED_SYCL = re.compile(
    SAID + r"can't allocate (\d+) Bytes of memory on (device|host)"
)
# ggml-metal-device.m:2156 of build 11434, ggml-metal.m before
FAILED_METAL = re.compile(
    rf"^ggml_\w*metal_\w+: error: failed to allocate buffer, size = +{NUMBER} MiB"
)
# ggml-backend.cpp:2607 of build 11434; ggml.c: "attempted to allocate"
FAILED_CPU = re.compile(
    r"^ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size "
    r"(\d+)"
)
HOST_SHORT = re.compile(
    r"(^ggml_aligned_malloc: insufficient memory|std::bad_alloc"
    r"|^ggml_(malloc|calloc): failed to allocate"
    r"|error loading model: .{0,200}Cannot allocate memory)"
)
PHASES = (
    (re.compile(SAID + r"unable to allocate (\S+(?: metal)?) buffer"), "weights"),
    (
        re.compile(
            r"^llama_model_load\w*: error loading model: "
            r"(.{0,200}OutOfDeviceMemory|failed to allocate buffer$)"
        ),
        "weights",
    ),
    (
        re.compile(SAID + r"failed to allocate buffer for (kv|rs) cache"),
        "context",
    ),
    (re.compile(SAID + r"failed to allocate compute (pp|tg) buffers"), "compute"),
    (re.compile(SAID + r"failed to allocate compute buffers"), "compute"),
)
# How far a load came, by what is logged on the way.
REACHED = (
    (re.compile(r"^(llm_load_|load_tensors: )"), "weights"),
    (
        re.compile(
            r"(^llama_new_context_with_model: n_ctx|constructing llama_context"
            r"|^llama_context: n_ctx)"
        ),
        "context",
    ),
    (re.compile(r"( KV buffer size =|KV self size)"), "compute"),
    (re.compile(r"( compute buffer size =|warming up the model)"), "in use"),
)
RETRY = re.compile(r"retrying without pipeline parallelism")
PIPELINED = re.compile(r"pipeline parallelism enabled")
SPLITS_BY_SIZE = re.compile(r"splits = (\d+) \(with bs=\d+\), (\d+) \(with bs=\d+\)")
SPLITS_PAIR = re.compile(r"splits = (\d+) / (\d+)")
SPLITS = re.compile(r"splits = (\d+)")

READY = re.compile(
    SAID + r"((router )?server is )?listening on (http|unix)"
    r"|^(main|srv +\w+): model loaded$|\"msg\":\"model loaded\""
    r"|^llama server listening at http"
)
IDLE = re.compile(r"^srv +\w+: all slots are idle$|\"msg\":\"all slots are idle\"")
# What a flag or a value of it was refused for
FLAG = re.compile(
    SAID + r"(error: ((invalid|unknown) argument|invalid parameter|unknown value)"
    r"|error while handling|unknown buffer type|invalid value for"
    r"|quantized V cache|V cache quantization requires"
    r"|error: .{0,200}is not supported)"
)
MODEL = re.compile(
    SAID + r"(error loading model(?!: unable to allocate)|unknown model architecture"
    r"|failed to open GGUF file|model is corrupted)"
)
# What follows from a refusal, and does not say why
GAVE_UP = re.compile(
    SAID + r"(failed to load model|failed to create.{0,9} ?context"
    r"|failed to load (draft|multimodal) model|error: unable to load model"
    r"|exiting due to \w+ \w+ error)"
)
PORT_TAKEN = re.compile(r"couldn't (bind (HTTP|to) server socket|start HTTP listener)")
# "failed to allocate graph, reserving" is everyday life.
DECODE_FAILED = re.compile(
    SAID + r"(Compute error\.|failed to allocate graph$|failed to decode.*ret = -\d"
    r"|failed to decode the batch(?!.*(KV cache is full|ret = 1\b))"
    r"|failed to allocate compute graph|failed to process (mtmd chunk|image))"
)
CONTEXT_FULL = re.compile(
    r"(Context size has been exceeded|KV cache is full - try increasing"
    r"|failed to find a memory slot)"
)
ABORTED = re.compile(
    r"^(?:\S{1,200}: )?\s{0,4}"
    r"((CUDA|ROCm|MUSA) error\b|GGML_ASSERT|ggml_abort"
    r"|ggml_vulkan: .{0,99}(ErrorOutOfDeviceMemory|ErrorDeviceLost)"
    r"|ggml_vulkan: device lost on|vk::\S+ Error(OutOfDeviceMemory|DeviceLost)"
    r"|error: Insufficient Memory|error: .{0,99}kIOGPUCommandBuffer"
    r"|terminate called|libc\+\+abi: terminating|pre-allocated tensor"
    r"|SYCL error|Native API failed|fattn buffer alloc failed"
    r"|Remote RPC server crashed|Failed to connect to \S+:\d+$"
    r"|RPC handshake failed)"
)
# A buffer that Vulkan does not give: the engine goes on, and says what it was for.
# ggml-vulkan.cpp:13047, build 11434
WENT_ON = re.compile(r"\s{0,4}ggml_vulkan: .{0,99}ErrorOutOfDeviceMemory")
# ggml-cuda.cu:103, the line after "CUDA error: ..."; alone in builds of 2023
CURRENT_DEVICE = re.compile(r"^\s*current device: (\d+)(, in function|$)")
OUT_OF_MEMORY = re.compile(
    r"(out of memory|OutOfDeviceMemory|OUT_OF_DEVICE_MEMORY|Insufficient Memory"
    r"|fattn buffer alloc failed)"
)
DEVICE_LOST = re.compile(
    r"(DeviceLost|DEVICE_LOST|device lost|GPU is lost|fallen off the bus"
    r"|no (CUDA|ROCm|MUSA)-capable device|uncorrectable (NVLink|ECC) error)"
)
NO_KERNEL = re.compile(r"(no kernel image is available|invalid device function)")
# The engine goes on, on the CPU.
NO_GPU = re.compile(
    SAID + r"(failed to initialize (CUDA|ROCm|MUSA)\b|No devices found"
    r"|no usable GPU found)"
)
# A limit on one buffer, whatever is free.
BUFFER_LIMIT = re.compile(r"Requested buffer size exceeds|larger than buffer maximum")
# dmesg, in between: "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus."
KERNEL_LOST = re.compile(r"NVRM: (Xid \(PCI:\S+\): 79\b|GPU at PCI:\S+ has fallen)")
COMPANION = re.compile(
    SAID + r"failed to (load draft model|create MTP context|load multimodal model"
    r"|load mmproj)|^(clip_init|mtmd_init_from_file): .{0,20}(failed|error)"
)
PROJECTOR_LOADS = re.compile(r"^clip_(model_loader|ctx|model_load): ")
# A warning, whatever it quotes: the buffer is made without pinning.
UNPINNED = re.compile(r"pinned memory|cudaMallocHost failed|failed to mlock")
ERROR_LEVEL = re.compile(r"^\S*\d E |^(error|E) ?:")
RPC_GONE = re.compile(r"(Remote RPC server|Failed to connect to|RPC handshake)")
# The kernel's or systemd's, in a journal
OOM_KILLER = re.compile(
    r"((Out of memory|out of memory): Killed process \d+ \(\S*llama"
    r"|killed by the OOM killer|with result 'oom-kill')"
)


def message(line: str) -> str:
    """A line without what stands before its message: time, level, slot."""
    found = PREFIX.match(line)
    said = line[found.end() :] if found else line
    return SLOT.sub("", said, count=1).rstrip()
