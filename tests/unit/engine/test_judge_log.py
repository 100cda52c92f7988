"""The rules on a log alone, one by one, and what a text tells of its end."""

from __future__ import annotations

import signal

import pytest

from placer.engine.advice import OF_CAUSE, OF_OUTCOME, advice
from placer.engine.judge import Cause, Outcome, Verdict, judge_log, signal_of
from placer.engine.log import read_log
from placer.engine.paste import read_paste

READY = "main: server is listening on http://127.0.0.1:8080"
LOADING = "load_tensors: loading model tensors, this can take a while... (mmap = true)"
CUDA_OOM = (
    "CUDA error: out of memory",
    "  current device: 1, in function alloc at ggml-cuda.cu:595",
)


def verdict_on(*lines: str, exit_code: int | None = None) -> Verdict:
    """The verdict on these lines."""
    return judge_log(read_log(lines), exit_code=exit_code)


@pytest.mark.parametrize("code", [None, 0, 124, 130, -2, 143, -15])
def test_a_server_that_came_up_and_was_stopped_is_ok(code: int | None) -> None:
    """Ctrl-C, kill, timeout(1), or still running."""
    assert verdict_on(READY, exit_code=code).outcome is Outcome.OK


@pytest.mark.parametrize("code", [None, 0, 130])
def test_a_log_that_stops_says_nothing(code: int | None) -> None:
    """Neither OK nor a crash: nobody knows."""
    assert verdict_on(LOADING, exit_code=code).outcome is Outcome.UNKNOWN


def test_an_exit_code_alone_is_a_crash() -> None:
    """A server that ended with an error and said nothing."""
    verdict = verdict_on(READY, exit_code=1)
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.evidence == ("exit code 1",)


def test_time_that_was_over_while_it_loaded_is_a_stall() -> None:
    """timeout(1) ends with 124."""
    verdict = verdict_on(LOADING, exit_code=124)
    assert verdict.outcome is Outcome.STALLED
    assert verdict.cause is Cause.TIME_OUT


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        (132, Cause.ILLEGAL_INSTRUCTION),
        (-4, Cause.ILLEGAL_INSTRUCTION),
        (0xC000001D, Cause.ILLEGAL_INSTRUCTION),
        (-1073741795, Cause.ILLEGAL_INSTRUCTION),
        (139, Cause.SEGMENTATION_FAULT),
        (0xC0000005, Cause.SEGMENTATION_FAULT),
        (135, Cause.BUS_ERROR),
        (137, Cause.KILLED),
    ],
)
def test_each_signal_is_its_own_crash(code: int, cause: Cause) -> None:
    """As a shell, Python or Windows tells it; and each has advice of its own."""
    verdict = verdict_on(LOADING, exit_code=code)
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.cause is cause
    assert advice(verdict) == OF_CAUSE[cause]


def test_windows_tells_an_abort_as_a_signal() -> None:
    """0xC0000409 is what abort() ends with there."""
    assert signal_of(0xC0000409) == signal.SIGABRT


def test_an_abort_before_the_server_was_up_is_of_the_phase_it_had_come_to() -> None:
    """Weights, context, compute; in use where nothing tells."""
    context = "llama_new_context_with_model: n_ctx      = 4096"
    cache = "llama_kv_cache_init:      CUDA1 KV buffer size =   64.00 MiB"
    for lines, outcome in (
        ((LOADING,), Outcome.OOM_WEIGHTS),
        ((LOADING, context), Outcome.OOM_CONTEXT),
        ((LOADING, context, cache), Outcome.OOM_COMPUTE),
        ((LOADING, READY), Outcome.OOM_IN_USE),
        ((), Outcome.OOM_IN_USE),
    ):
        verdict = verdict_on(*lines, *CUDA_OOM)
        assert verdict.outcome is outcome
        assert verdict.device == "CUDA1"


def test_what_was_lost_while_idle_lines_follow_is_not_forgotten() -> None:
    """A paste may begin with the failure: "all slots are idle" is no new start."""
    verdict = verdict_on(
        "ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 1048576",
        "llama_decode: failed to decode, ret = -2",
        "srv  update_slots: all slots are idle",
    )
    assert verdict.outcome is Outcome.OOM_IN_USE
    assert verdict.device == "CUDA0"


@pytest.mark.parametrize(
    "line",
    [
        "ggml_cuda_host_malloc: failed to allocate 9 MiB of pinned memory: no memory",
        "W ggml_vulkan: Failed to allocate pinned memory (ErrorOutOfDeviceMemory)",
        "warning: failed to mlock 8192-byte buffer: Cannot allocate memory",
        "llama_params_fit: failed to fit params to free device memory: abort",
        "W srv  start: SO_REUSEPORT is not supported",
        "srv  load_model: ctx_shift is not supported by multimodal, disabled",
        "slot print: id  0 | task 1 | prompt: 'CUDA error: out of memory'",
        'srv  log_server_r: request:  {"prompt":"CUDA error: out of memory"}',
        "D ggml_backend_sched_alloc_graph: failed to allocate graph, reserving (1)",
        "ggml_backend_sched: failed to allocate graph, reserving",
    ],
)
def test_a_warning_or_a_quotation_is_no_failure(line: str) -> None:
    """Before the server is up and after: it stays OK."""
    assert verdict_on(line, READY).outcome is Outcome.OK
    assert verdict_on(READY, line).outcome is Outcome.OK


def test_a_batch_without_a_reason_is_a_crash() -> None:
    """``ret = -3`` names no memory; the server may live on."""
    verdict = verdict_on(READY, "llama_decode: failed to decode, ret = -3")
    assert verdict.outcome is Outcome.CRASHED
    assert verdict.evidence == ("llama_decode: failed to decode, ret = -3",)


def test_all_outcomes_but_ok_have_advice() -> None:
    """And the device is named where it is known."""
    assert (
        set(OF_OUTCOME)
        == set(Outcome)
        - {
            Outcome.FITS,
            Outcome.OK,
            Outcome.REFUSED,  # each cause has its own
        }
        | set()
    )
    verdict = Verdict(outcome=Outcome.OOM_WEIGHTS, device="CUDA1")
    assert "CUDA1" in (advice(verdict) or "")
    assert "{" not in (advice(Verdict(outcome=Outcome.OOM_WEIGHTS)) or "")
    assert advice(Verdict(outcome=Outcome.OK)) is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("llama-1 exited with code 137", 137),
        ("llama-1 exited with code 1 (restarting)", 1),
        ("x.service: Main process exited, code=exited, status=1/FAILURE", 1),
        ("x.service: Main process exited, code=dumped, status=4/ILL", -4),
        ("Illegal instruction (core dumped)", -4),
        (
            "./run.sh: line 3: 77 Segmentation fault      (core dumped) llama-server",
            -11,
        ),
        ("zsh: illegal hardware instruction  ./llama-server -m a.gguf", -4),
        ("zsh: killed     ./llama-server -m a.gguf", -9),
        ("Killed", -9),
        ("Aborted (core dumped)", -6),
        ("Out of memory: Killed process 7 (llama-server) total-vm:1kB", -9),
        ("Out of memory: Killed process 7 (firefox) total-vm:1kB", None),
        ("killed by boredom", None),
        ("slot x: id  0 | task 1 | job-1 exited with code 137", None),
    ],
)
def test_a_text_tells_how_a_process_ended(line: str, code: int | None) -> None:
    """A shell, compose, systemd and the kernel each in their way."""
    found = read_paste(f"{LOADING}\n{line}\n".encode())
    assert found.exit_code == code
    assert found.ending == (None if code is None else line)


def test_the_newest_process_of_a_journal_is_judged() -> None:
    """Lines of the one before, however late, are left out."""
    found = read_paste(
        b"Nov 28 12:00:00 box llama-server[1]: main: model loaded\n"
        b"Nov 28 12:00:01 box llama-server[2]: main: loading model\n"
        b"Nov 28 12:00:02 box llama-server[1]: srv  update_slots: all slots are idle\n"
        b"Nov 28 12:00:03 box llama-server[2]: main: model loaded\n"
    )
    assert found.launches == 2
    assert found.lines == ("main: loading model", "main: model loaded")


def test_docker_keeps_a_log_as_json() -> None:
    """A file of /var/lib/docker/containers is read, torn lines too."""
    found = read_paste(
        b'{"log":"main: model loaded\\n","stream":"stderr","time":"2026"}\n{"log":"mai'
    )
    assert found.lines[0] == "main: model loaded"
    assert len(found.lines) == 2
