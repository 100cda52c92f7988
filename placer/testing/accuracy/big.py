"""Models of published shape, with the hyperparameters of their config files."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from placer.testing.accuracy.described import Described, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.testing.accuracy.described import Value

TIED: Final = "token_embd E V\noutput_norm E"
ROPE_FREQS: Final = "token_embd E V\noutput_norm E\noutput E V\nrope_freqs 64"

NORM: Final = "attn_norm E\n"
ATTENTION: Final = """\
attn_q E H*D
attn_k E K*D
attn_v E K*D
attn_output H*D E
"""
BIASES: Final = "attn_q.bias H*D\nattn_k.bias K*D\nattn_v.bias K*D\n"
HEAD_NORMS: Final = "attn_q_norm D\nattn_k_norm D\n"
FFN: Final = "ffn_gate E F\nffn_down F E\nffn_up E F\n"
EXPERTS: Final = """\
ffn_gate_inp E X
ffn_gate_exps E G X
ffn_down_exps G E X
ffn_up_exps E G X
"""
SHARED: Final = "ffn_gate_shexp E S\nffn_down_shexp S E\nffn_up_shexp E S\n"
DENSE: Final = NORM + ATTENTION + "ffn_norm E\n" + FFN
GEMMA_4: Final = """\
attn_norm E
attn_q E H*{head}
attn_k E {kv}*{head}
attn_output H*{head} E
attn_q_norm {head}
attn_k_norm {head}
post_attention_norm E
layer_output_scale 1
ffn_norm E
ffn_gate E F
ffn_up E F
ffn_down F E
post_ffw_norm E
"""
GEMMA_4_EXPERTS: Final = """\
ffn_gate_inp E X
ffn_gate_inp.scale! E
pre_ffw_norm_2 E
post_ffw_norm_1 E
post_ffw_norm_2 E
ffn_gate_up_exps E 2*G X
ffn_down_exps G E X
"""
MAMBA2: Final = """\
ssm_in E 2*I+2*N*Z+T
ssm_conv1d 4 I+2*N*Z
ssm_conv1d.bias I+2*N*Z
ssm_dt.bias T
ssm_a 1 T
ssm_d 1 T
ssm_norm IN N
ssm_out I E
"""

SSM_KEYS: Final[Mapping[str, Value | None]] = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": "I",
    "ssm.state_size": "Z",
    "ssm.time_step_rank": "T",
    "ssm.group_count": "N",
}
EXPERT_KEYS: Final[Mapping[str, Value | None]] = {
    "expert_count": "X",
    "expert_used_count": "U",
    "expert_feed_forward_length": "G",
}
GEMMA_4_KEYS: Final[Mapping[str, Value | None]] = {
    "attention.key_length_swa": "DW",
    "attention.value_length_swa": "DW",
    "attention.sliding_window": "W",
    "attention.sliding_window_pattern": {"w": 1, "f": 0},
    "final_logit_softcapping": 30.0,
    "rope.dimension_count_swa": "DW",
}
NO_ATTENTION: Final[Mapping[str, Value | None]] = {
    "attention.key_length": None,
    "attention.value_length": None,
    "rope.dimension_count": None,
}

_NEMOTRON: Final = "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"

BIG: Final[Mapping[str, Described]] = MappingProxyType(
    {
        "Llama-3.1-70B": Described(
            architecture="llama",
            numbers=numbers(
                "L=80 E=8192 F=28672 H=64 K=8 D=128 R=128 V=128256 C=131072"
            ),
            layers={"a": DENSE},
            outer=ROPE_FREQS,
            type_name="Q4_K",
        ),
        "Mixtral-8x7B": Described(
            architecture="llama",
            numbers=numbers(
                "L=32 E=4096 F=14336 G=14336 H=32 K=8 D=128 R=128 X=8 U=2 "
                "V=32000 C=32768"
            ),
            layers={"a": NORM + ATTENTION + "ffn_norm E\n" + EXPERTS},
            keys={"expert_count": "X", "expert_used_count": "U"},
            type_name="Q4_K",
        ),
        "Qwen2.5-7B": Described(
            architecture="qwen2",
            numbers=numbers(
                "L=28 E=3584 F=18944 H=28 K=4 D=128 R=128 V=152064 C=32768"
            ),
            layers={"a": DENSE + BIASES},
        ),
        "Qwen2.5-32B": Described(
            architecture="qwen2",
            numbers=numbers(
                "L=64 E=5120 F=27648 H=40 K=8 D=128 R=128 V=152064 C=32768"
            ),
            layers={"a": DENSE + BIASES},
            type_name="Q4_K",
        ),
        "Qwen3-VL-32B": Described(
            architecture="qwen3vl",
            numbers=numbers(
                "L=64 E=5120 F=25600 H=64 K=8 D=128 R=128 V=151936 C=262144"
            ),
            layers={"a": DENSE + HEAD_NORMS},
            keys={"rope.dimension_sections": (24, 20, 20, 0), "n_deepstack_layers": 3},
            type_name="Q4_K",
        ),
        "Gemma-4-26B-A4B": Described(
            architecture="gemma4",
            numbers=numbers(
                "L=30 E=2816 F=2112 G=704 H=16 K=8 KF=2 D=512 DW=256 R=512 X=128 U=8 "
                "V=262144 C=262144 W=1024"
            ),
            layers={
                "w": GEMMA_4.format(kv="K", head="DW")
                + "attn_v E K*DW\n"
                + GEMMA_4_EXPERTS,
                "f": GEMMA_4.format(kv="KF", head="D") + GEMMA_4_EXPERTS,
            },
            pattern="wwwwwf",
            outer=TIED + "\nrope_freqs DW",
            keys={
                **GEMMA_4_KEYS,
                **EXPERT_KEYS,
                "attention.head_count_kv": {"w": 8, "f": 2},
                "embedding_length_per_layer_input": 0,
            },
            type_name="Q4_K",
        ),
        "Gemma-4-E4B": Described(
            architecture="gemma4",
            numbers=numbers(
                "L=42 E=2560 F=10240 H=8 K=2 D=512 DW=256 R=512 P=256 S=18 "
                "V=262144 C=131072 W=512"
            ),
            layers={
                letter: GEMMA_4.format(kv="K", head=head)
                + f"attn_v E K*{head}\n"
                + "inp_gate E P\nproj P E\npost_norm E\n"
                for letter, head in (("w", "DW"), ("f", "D"))
            },
            pattern="wwwwwf",
            outer=TIED
            + "\nrope_freqs DW\nper_layer_token_embd P*L V"
            + "\nper_layer_model_proj E P*L\nper_layer_proj_norm P",
            keys={
                **GEMMA_4_KEYS,
                "attention.shared_kv_layers": "S",
                "embedding_length_per_layer_input": "P",
            },
        ),
        "Gemma-3-27B": Described(
            architecture="gemma3",
            numbers=numbers(
                "L=62 E=5376 F=21504 H=32 K=16 D=128 R=128 V=262208 C=131072"
            ),
            layers={
                "a": DENSE + HEAD_NORMS + "post_attention_norm E\npost_ffw_norm E\n"
            },
            outer=TIED,
            keys={"attention.sliding_window": 1024},
        ),
        "Llama-4-Scout": Described(
            architecture="llama4",
            numbers=numbers(
                "L=48 E=5120 F=16384 G=8192 S=8192 H=40 K=8 D=128 R=128 X=16 "
                "U=1 V=202048 C=10485760"
            ),
            layers={"a": NORM + ATTENTION + "ffn_norm E\n" + EXPERTS + SHARED},
            outer=ROPE_FREQS,
            keys={**EXPERT_KEYS, "interleave_moe_layer_step": 1},
            type_name="Q4_K",
        ),
        "MiniMax-M2": Described(
            architecture="minimax-m2",
            numbers=numbers(
                "L=62 E=3072 F=1536 G=1536 H=48 K=8 D=128 R=64 X=256 U=8 "
                "V=200064 C=196608"
            ),
            layers={
                "a": NORM + ATTENTION + "attn_q_norm H*D\nattn_k_norm K*D\n"
                "ffn_norm E\n" + EXPERTS + "exp_probs_b.bias X\n"
            },
            keys={**EXPERT_KEYS, "expert_gating_func": 2},
            type_name="Q4_K",
        ),
        "GLM-4.5-Air": Described(
            architecture="glm4moe",
            numbers=numbers(
                "L=47 E=4096 F=10944 G=1408 S=1408 H=96 K=8 D=128 R=64 X=128 "
                "U=8 V=151552 C=131072"
            ),
            layers={
                "d": NORM + ATTENTION + BIASES + "post_attention_norm E\n" + FFN,
                "e": NORM
                + ATTENTION
                + BIASES
                + "post_attention_norm E\n"
                + EXPERTS
                + "exp_probs_b.bias X\n"
                + SHARED,
                "n": NORM
                + ATTENTION
                + BIASES
                + "post_attention_norm E\n"
                + EXPERTS
                + "exp_probs_b.bias X\n"
                + SHARED
                + "nextn.eh_proj 2*E E\nnextn.enorm E\nnextn.hnorm E\n"
                "nextn.embed_tokens E V\nnextn.shared_head_head E V\n"
                "nextn.shared_head_norm E\n",
            },
            pattern="d" + "e" * 45 + "n",
            keys={
                **EXPERT_KEYS,
                "expert_shared_count": 1,
                "expert_gating_func": 2,
                "leading_dense_block_count": 1,
                "nextn_predict_layers": 1,
            },
        ),
        "Qwen3.5-397B-A17B": Described(
            architecture="qwen35moe",
            numbers=numbers(
                "L=60 E=4096 F=1024 G=1024 S=1024 H=32 K=2 D=256 R=64 X=512 "
                "U=10 V=248320 C=262144 I=8192 Z=128 T=64 N=16"
            ),
            layers={
                letter: NORM
                + "post_attention_norm E\n"
                + mixer
                + EXPERTS
                + "ffn_gate_inp_shexp E\n"
                + SHARED
                for letter, mixer in {
                    "r": "attn_qkv E I+2*N*Z\nattn_gate E I\nssm_conv1d 4 I+2*N*Z\n"
                    "ssm_dt.bias T\nssm_a T\nssm_alpha E T\nssm_beta E T\n"
                    "ssm_norm Z\nssm_out I E\n",
                    "a": HEAD_NORMS + ATTENTION.replace("attn_q E ", "attn_q E 2*"),
                }.items()
            },
            pattern="rrra",
            keys={
                **EXPERT_KEYS,
                **SSM_KEYS,
                "expert_shared_feed_forward_length": "S",
                "full_attention_interval": 4,
                "rope.dimension_sections": (11, 11, 10, 0),
            },
            type_name="Q4_K",
        ),
        "Nemotron-3-Nano-30B-A3B": Described(
            architecture="nemotron_h_moe",
            numbers=numbers(
                "L=52 E=2688 G=1856 S=3712 H=32 K=2 D=128 R=128 X=128 U=6 "
                "V=131072 C=1048576 I=4096 IN=512 Z=128 T=64 N=8"
            ),
            layers={
                "M": NORM + MAMBA2,
                "E": NORM + "ffn_gate_inp E X\nexp_probs_b.bias X\n"
                "ffn_down_exps G E X\nffn_up_exps E G X\n"
                "ffn_down_shexp S E\nffn_up_shexp E S\n",
                "*": NORM + ATTENTION,
            },
            pattern=_NEMOTRON,
            keys={
                **EXPERT_KEYS,
                **SSM_KEYS,
                "feed_forward_length": {"E": 1856},
                "attention.head_count_kv": {"*": 2},
                "attention.layer_norm_epsilon": 1e-5,
                "expert_shared_feed_forward_length": "S",
                "expert_shared_count": 1,
            },
        ),
        "Granite-4.0-H-Small": Described(
            architecture="granitehybrid",
            numbers=numbers(
                "L=40 E=4096 F=768 G=768 S=1536 H=32 K=8 D=128 R=128 X=72 "
                "U=10 V=100352 C=131072 I=8192 IN=8192 Z=128 T=128 N=1"
            ),
            layers={
                letter: NORM + mixer + "ffn_norm E\n" + EXPERTS + SHARED
                for letter, mixer in {"m": MAMBA2, "a": ATTENTION}.items()
            },
            pattern="mmmmmammmm",
            outer=TIED,
            keys={
                **SSM_KEYS,
                "expert_count": "X",
                "expert_used_count": "U",
                "expert_shared_feed_forward_length": "S",
                "attention.head_count_kv": {"a": 8},
            },
        ),
        "Falcon-H1-34B": Described(
            architecture="falcon-h1",
            numbers=numbers(
                "L=72 E=5120 F=21504 H=20 K=4 D=128 R=128 V=261120 C=262144 "
                "I=4096 IN=2048 Z=256 T=32 N=2"
            ),
            layers={"a": DENSE.replace("ffn_norm", "ffn_norm!") + MAMBA2},
            keys=SSM_KEYS,
            type_name="Q4_K",
        ),
        "Mamba2-2.7B": Described(
            architecture="mamba2",
            numbers=numbers(
                "L=64 E=2560 V=50288 C=1048576 I=5120 IN=5120 Z=128 T=80 N=1"
            ),
            layers={"a": NORM + MAMBA2},
            outer=TIED,
            keys={
                **SSM_KEYS,
                **NO_ATTENTION,
                "feed_forward_length": 0,
                "attention.head_count": 0,
                "attention.head_count_kv": None,
            },
        ),
        "LFM2-1.2B": Described(
            architecture="lfm2",
            numbers=numbers("L=16 E=2048 F=8192 H=32 K=8 D=64 R=64 V=65536 C=128000"),
            layers={
                "a": DENSE + HEAD_NORMS,
                "c": NORM + "ffn_norm E\n" + FFN + "shortconv.conv 3 E\n"
                "shortconv.in_proj E 3*E\nshortconv.out_proj E E\n",
            },
            pattern="ccaccaccacacacac",
            outer="token_embd E V\ntoken_embd_norm E",
            keys={"shortconv.l_cache": 3, "attention.head_count_kv": {"a": 8}},
        ),
    }
)
