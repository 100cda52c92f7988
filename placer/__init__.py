"""Places GGUF models on GPUs for llama.cpp, and proves it."""
