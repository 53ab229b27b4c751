"""How the releases call their parameters, and how we do.

One list of rewriting rules for each family, tried in turn on the names in reference files and
checkpoints. A name that becomes `UNUSED` is one that the release stores and never reads.
"""

from __future__ import annotations

import re

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
    """Return our name of a parameter of a release; `UNUSED` when it takes no part.

    ``direction`` is that of the model, where the release's names do not say it.

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
    """Return the release's name of a parameter of what makes scores; encoders keep ours.

    The inverse of `our_name` where names differ between the two by a rule of one to one, which
    holds for everything behind the encoders' embeddings.

    >>> their_name("directions.t2i.nodes.query.2.weight", "sgraf")
    'sim_enc.SGR_module.2.graph_query_w.weight'
    """
    for pattern, replacement in RULES[family]:
        if replacement == UNUSED or not ours.startswith(
            ("directions.", "regions.pooling", "words.pooling")
        ):
            continue
        given = replacement.replace("directions.*", f"directions.{direction}")
        found = re.match(re.escape(given).replace(r"\\1", r"(\w+)"), ours)
        if found:
            number = found[1] if found.groups() else ""
            start = re.sub(r"\(.*?\)", number, pattern).removeprefix("^").replace("\\.", ".")
            return start + ours[found.end() :]
    return ours
