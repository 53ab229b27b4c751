"""Translates names of parameters between the authors' releases and this package.

Each family has a list of rewriting rules, of which the first match applies to a name of a
reference file or checkpoint. A name that becomes `UNUSED` is stored by the release and never read.
"""

from __future__ import annotations

import re

from itm_core.models import Attending, Matcher

UNUSED = ""
Rules = tuple[tuple[str, str], ...]

ENCODERS: Rules = (
    (r"^img_enc\.mlp\.bns\.1\..*", UNUSED),  # VSE-infinity, RCAR: in the file, not in the sum
    (r"^img_enc\.mlp\.", "regions.block."),
    (r"^img_enc\.fc(_local)?\.weight_g", "regions.fc.parametrizations.weight.original0"),
    (r"^img_enc\.fc(_local)?\.weight_v", "regions.fc.parametrizations.weight.original1"),
    (r"^img_enc\.fc_local\.", "regions.fc."),
    (r"^img_enc\.", "regions."),
    (r"^txt_enc\.cap_rnn\.", "words.rnn."),
    (r"^txt_enc\.", "words."),
)

RULES: dict[str, Rules] = {
    "scan": ENCODERS,
    "bfan": ENCODERS,
    "chan": (
        (r"^txt_enc\.fc\..*", UNUSED),  # in the class, in the file, never applied
        (r"^img_enc\.feedforward\.mlp\.c_fc\.", "regions.block.wide."),
        (r"^img_enc\.feedforward\.mlp\.c_proj\.", "regions.block.narrow."),
        (r"^img_enc\.feedforward\.", "regions.block."),
        *ENCODERS,
    ),
    "pfan": (
        (r"^img_enc\.position_embedding\.", "regions.positions.table."),
        (r"^img_enc\.fc_att\.", "regions.positions.query."),
        *ENCODERS,
    ),
    "vsepp": ENCODERS,
    "vseinf": (
        (r"^img_enc\.gpool\.", "regions.pooling."),
        (r"^txt_enc\.gpool\.", "words.pooling."),
        *ENCODERS,
    ),
    "vsrn": (
        *(
            rule
            for k in range(4)  # the release counts from one
            for rule in (
                (rf"^img_enc\.Rs_GCN_{k + 1}\.W\.0\.", f"regions.block.steps.{k}.out."),
                (rf"^img_enc\.Rs_GCN_{k + 1}\.W\.1\.", f"regions.block.steps.{k}.norm."),
                (rf"^img_enc\.Rs_GCN_{k + 1}\.", f"regions.block.steps.{k}."),
            )
        ),
        (r"^img_enc\.img_rnn\.", "regions.pooling.rnn."),
        (r"^img_enc\.bn\.", "regions.pooling.bn."),
        *ENCODERS,
    ),
    "imram": (
        (r"^linear_(t2i|i2t)\.", r"directions.\1.regulator.refine."),
        (r"^gate_(t2i|i2t)\.", r"directions.\1.regulator.gate."),
        *ENCODERS,
    ),
    "sgraf": (
        (r"^sim_enc\.v_global_w\.embedding_local\.0\.", "regions.pooling.local."),
        (r"^sim_enc\.v_global_w\.embedding_local\.1\.", "regions.pooling.local_norm."),
        (r"^sim_enc\.v_global_w\.embedding_global\.0\.", "regions.pooling.pooled."),
        (r"^sim_enc\.v_global_w\.embedding_global\.1\.", "regions.pooling.pooled_norm."),
        (r"^sim_enc\.v_global_w\.embedding_common\.0\.", "regions.pooling.weigh."),
        (r"^sim_enc\.t_global_w\.embedding_local\.0\.", "words.pooling.local."),
        (r"^sim_enc\.t_global_w\.embedding_global\.0\.", "words.pooling.pooled."),
        (r"^sim_enc\.t_global_w\.embedding_common\.0\.", "words.pooling.weigh."),
        (r"^sim_enc\.sim_tranloc_w\.", "directions.t2i.nodes.local.transform."),
        (r"^sim_enc\.sim_tranglo_w\.", "directions.t2i.nodes.pooled.transform."),
        (r"^sim_enc\.sim_eval_w\.", "directions.t2i.nodes.score."),
        (r"^sim_enc\.SAF_module\.attn_sim_w\.", "directions.t2i.nodes.weigh."),
        (r"^sim_enc\.SAF_module\.bn\.num_batches_tracked", UNUSED),
        (r"^sim_enc\.SAF_module\.bn\.", "directions.t2i.nodes.norm."),
        (r"^sim_enc\.SGR_module\.(\d+)\.graph_query_w\.", r"directions.t2i.nodes.query.\1."),
        (r"^sim_enc\.SGR_module\.(\d+)\.graph_key_w\.", r"directions.t2i.nodes.key.\1."),
        (r"^sim_enc\.SGR_module\.(\d+)\.sim_graph_w\.", r"directions.t2i.nodes.update.\1."),
        *ENCODERS,
    ),
    "rcar": (
        (r"^sim_enc\.sim_eval_w\.", "directions.*.regulator.output."),
        (
            r"^sim_enc\.alv_modules\.(\d+)\.sim_transform_w\.",
            r"directions.*.regulator.align.\1.transform.",
        ),
        (r"^sim_enc\.rar_modules\.(\d+)\.rar_q_w\.0\.", r"directions.*.regulator.pooled.\1."),
        (r"^sim_enc\.rar_modules\.(\d+)\.rar_k_w\.0\.", r"directions.*.regulator.local.\1."),
        (r"^sim_enc\.rar_modules\.(\d+)\.rar_v_w\.0\.", r"directions.*.regulator.weigh.\1."),
        (
            r"^sim_enc\.rcr_modules\.(\d+)\.rcr_smooth_w\.",
            r"directions.*.regulator.correct.\1.temperature.",
        ),
        (
            r"^sim_enc\.rcr_modules\.(\d+)\.rcr_matrix_w\.",
            r"directions.*.regulator.correct.\1.factors.",
        ),
        *ENCODERS,
    ),
}


def our_name(theirs: str, family: str, direction: str = "t2i") -> str:
    """Return our name of a parameter of a release; `UNUSED` when the release never reads it.

    ``direction`` is that of the model, for releases whose names do not contain it.

    >>> our_name("img_enc.fc.weight", "scan")
    'regions.fc.weight'
    """
    for pattern, replacement in RULES[family]:
        if re.search(pattern, theirs):
            return re.sub(pattern, replacement, theirs).replace(
                "directions.*", f"directions.{direction}"
            )
    return theirs


def their_name(ours: str, family: str, direction: str = "t2i") -> str:
    """Return the release's name of a parameter after the encoders; those of encoders are kept.

    The inverse of `our_name` where the rule is one to one, which holds for all parameters after
    the encoders' embeddings.

    >>> their_name("directions.t2i.nodes.query.2.weight", "sgraf")
    'sim_enc.SGR_module.2.graph_query_w.weight'
    """
    for pattern, replacement in RULES[family]:
        if replacement == UNUSED or not ours.startswith(
            ("directions.", "regions.pooling", "words.pooling")
        ):
            continue
        expected = replacement.replace("directions.*", f"directions.{direction}")
        match = re.match(re.escape(expected).replace(r"\\1", r"(\w+)"), ours)
        if match:
            number = match[1] if match.groups() else ""
            start = re.sub(r"\(.*?\)", number, pattern).removeprefix("^").replace("\\.", ".")
            return start + ours[match.end() :]
    return ours


def name_in(matcher: Matcher, theirs: str, family: str) -> str:
    """Return our name of a release's parameter in a matcher; `UNUSED` when it has no effect."""
    if not isinstance(matcher, Attending):
        return our_name(theirs, family)
    name = our_name(theirs, family, matcher.settings.direction)
    scored = name.endswith(("regulator.output.weight", "regulator.output.bias"))
    direction = name.split(".")[1] if name.startswith("directions.") else matcher.settings.direction
    if (scored and name not in matcher.state_dict()) or direction not in (
        *matcher.directions,
        "both",
    ):
        return UNUSED  # RCAR's final map under a mean of cosines; IMRAM's other direction
    return name
