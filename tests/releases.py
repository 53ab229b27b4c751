"""What the releases' own training scripts write: options, parts, numbers of tensors, first names.

Read off files that these scripts (SCAN, SGRAF, RCAR, CHAN) or the release's model class with its
own option parser at its defaults (the others) wrote. An option that is not listed is a constant of
that release. Options about paths, logging and loading are left out; files have them too.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release's files.

    Attributes:
        tensors: how many each state dict has.
        single: ``model`` is one state dict, its names start with ``module.``; else a list.
        first: the first names of the state dicts.
        options: names and values; sizes are small.
    """

    tensors: tuple[int, ...]
    single: bool
    first: list[Any]
    options: dict[str, Any]

    def with_first(self, parts: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[str]]]:
        """Return the state dicts that have tensors, each with its first names."""
        firsts = [self.first] if self.single else self.first
        return list(zip([part for part in parts if part], firsts, strict=True))


RELEASES = {
    "scan": Release(
        tensors=(2, 9),
        single=False,
        first=[["fc.weight", "fc.bias"], ["embed.weight", "rnn.weight_ih_l0"]],
        options={
            "agg_func": "LogSumExp",
            "batch_size": 64,
            "bi_gru": True,
            "cross_attn": "t2i",
            "embed_size": 32,
            "grad_clip": 2.0,
            "img_dim": 24,
            "lambda_lse": 6.0,
            "lambda_softmax": 9.0,
            "learning_rate": 0.001,
            "lr_update": 5,
            "margin": 0.2,
            "max_violation": True,
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 2,
            "num_layers": 1,
            "precomp_enc_type": "basic",
            "raw_feature_norm": "clipped_l2norm",
            "vocab_size": 42,
            "word_dim": 20,
        },
    ),
    "sgraf": Release(
        tensors=(2, 9, 35),
        single=False,
        first=[
            ["fc.weight", "fc.bias"],
            ["embed.weight", "cap_rnn.weight_ih_l0"],
            ["v_global_w.embedding_local.0.weight", "v_global_w.embedding_local.0.bias"],
        ],
        options={
            "batch_size": 64,
            "bi_gru": True,
            "embed_size": 32,
            "grad_clip": 2.0,
            "img_dim": 24,
            "learning_rate": 0.001,
            "lr_update": 5,
            "margin": 0.2,
            "max_violation": True,
            "module_name": "SAF",
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 2,
            "num_layers": 1,
            "sgr_step": 3,
            "sim_dim": 16,
            "vocab_size": 42,
            "word_dim": 20,
        },
    ),
    "rcar": Release(
        tensors=(51,),
        single=True,
        first=[
            "module.img_enc.fc.weight",
            "module.img_enc.fc.bias",
            "module.img_enc.mlp.layers.0.weight",
        ],
        options={
            "attn_type": "t2i",
            "batch_size": 64,
            "embed_size": 32,
            "grad_clip": 2.0,
            "i2t_smooth": 3.0,
            "img_dim": 24,
            "learning_rate": 0.001,
            "lr_update": 5,
            "margin": 0.2,
            "max_violation": False,
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 2,
            "num_layers": 1,
            "rar_step": 0,
            "rcar_step": 2,
            "rcr_step": 0,
            "reset_start_epoch": False,
            "self_regulator": "coop_rcar",
            "sim_dim": 16,
            "t2i_smooth": 10.0,
            "use_bi_gru": True,
            "vocab_size": 43,
            "vse_mean_warmup_epochs": 1,
            "word_dim": 20,
        },
    ),
    "chan": Release(
        tensors=(8, 11, 0, 0),
        single=False,
        first=[["fc.weight", "fc.bias"], ["embed.weight", "rnn.weight_ih_l0"]],
        options={
            "alpha": 0.1,
            "batch_size": 64,
            "belta": 0.1,
            "coding_type": "VHACoding",
            "criterion": "ContrastiveLoss",
            "drop": True,
            "embed_size": 32,
            "embedding_warmup_epochs": 2,
            "grad_clip": 2.0,
            "img_dim": 24,
            "input_scale_factor": 1,
            "learning_rate": 0.001,
            "lr_update": 5,
            "margin": 0.05,
            "max_violation": False,
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 2,
            "num_layers": 1,
            "obj_drop_rate": 0.2,
            "optim": "adam",
            "pooling_type": "LSEPooling",
            "precomp_enc_type": "selfattention",
            "reset_start_epoch": False,
            "seed": 2022,
            "temperature": 0.01,
            "text_enc_type": "bigru",
            "vocab_size": 43,
            "vse_mean_warmup_epochs": 1,
            "wemb_type": None,
            "word2idx": None,
            "word_dim": 20,
        },
    ),
    "bfan": Release(
        tensors=(2, 9),
        single=False,
        first=[["fc.weight", "fc.bias"], ["embed.weight", "rnn.weight_ih_l0"]],
        options={
            "batch_size": 128,
            "embed_size": 32,
            "focal_type": "equal",
            "grad_clip": 2.0,
            "img_dim": 12,
            "lambda_softmax": 20.0,
            "learning_rate": 0.0002,
            "lr_update": 15,
            "margin": 0.2,
            "max_violation": False,
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 30,
            "num_layers": 1,
            "precomp_enc_type": "basic",
            "vocab_size": 50,
            "word_dim": 10,
        },
    ),
    "imram": Release(
        tensors=(19,),
        single=True,
        first=[
            "module.img_enc.fc_local.weight",
            "module.img_enc.fc_local.bias",
            "module.txt_enc.embed.weight",
        ],
        options={
            "agg_func": "LogSumExp",
            "batch_size": 128,
            "bi_gru": True,
            "cross_attn": "t2i",
            "embed_size": 32,
            "grad_clip": 2.0,
            "img_dim": 12,
            "iteration_step": 3,
            "lambda_lse": 6.0,
            "lambda_softmax": 9.0,
            "learning_rate": 0.0002,
            "lr_update": 15,
            "margin": 0.2,
            "max_violation": False,
            "model_mode": "full_IMRAM",
            "no_IMRAM_norm": False,
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 30,
            "num_layers": 1,
            "pos_emb": False,
            "precomp_enc_type": "basic",
            "raw_feature_norm": "clipped_l2norm",
            "vocab_size": 50,
            "word_dim": 10,
        },
    ),
    "pfan": Release(
        tensors=(5, 9),
        single=False,
        first=[["fc.weight", "fc.bias"], ["embed.weight", "rnn.weight_ih_l0"]],
        options={
            "agg_func": "LogSumExp",
            "batch_size": 128,
            "bi_gru": True,
            "cross_attn": "t2i",
            "embed_size": 32,
            "grad_clip": 2.0,
            "img_dim": 12,
            "lambda_lse": 6.0,
            "lambda_softmax": 9.0,
            "learning_rate": 0.0002,
            "lr_update": 15,
            "margin": 0.2,
            "max_violation": False,
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 30,
            "num_layers": 1,
            "precomp_enc_type": "basic",
            "raw_feature_norm": "clipped_l2norm",
            "vocab_size": 50,
            "word_dim": 10,
        },
    ),
    "vsepp": Release(
        tensors=(2, 5),
        single=False,
        first=[["fc.weight", "fc.bias"], ["embed.weight", "rnn.weight_ih_l0"]],
        options={
            "batch_size": 128,
            "cnn_type": "vgg19",
            "crop_size": 224,
            "embed_size": 32,
            "finetune": False,
            "grad_clip": 2.0,
            "img_dim": 12,
            "learning_rate": 0.0002,
            "lr_update": 15,
            "margin": 0.2,
            "max_violation": False,
            "measure": "cosine",
            "no_imgnorm": False,
            "num_epochs": 30,
            "num_layers": 1,
            "reset_train": False,
            "use_abs": False,
            "use_restval": False,
            "vocab_size": 50,
            "word_dim": 10,
        },
    ),
    "vseinf": Release(
        tensors=(25, 18),
        single=False,
        first=[["fc.weight", "fc.bias"], ["embed.weight", "gpool.gru.weight_ih_l0"]],
        options={
            "backbone_lr_factor": 0.01,
            "backbone_source": "detector",
            "backbone_warmup_epochs": 5,
            "batch_size": 128,
            "drop": True,
            "embed_size": 32,
            "embedding_warmup_epochs": 2,
            "grad_clip": 2.0,
            "img_dim": 12,
            "input_scale_factor": 1,
            "learning_rate": 0.0002,
            "lr_update": 15,
            "margin": 0.2,
            "max_violation": False,
            "no_imgnorm": False,
            "no_txtnorm": False,
            "num_epochs": 30,
            "num_layers": 1,
            "optim": "adam",
            "precomp_enc_type": "basic",
            "reset_start_epoch": False,
            "vocab_size": 50,
            "vse_mean_warmup_epochs": 0,
            "word_dim": 10,
        },
    ),
    "vsrn": Release(
        tensors=(63, 5),
        single=False,
        first=[["fc.weight", "fc.bias"], ["embed.weight", "rnn.weight_ih_l0"]],
        options={
            "batch_size": 128,
            "cnn_type": "vgg19",
            "crop_size": 224,
            "dim_hidden": 16,
            "dim_vid": 32,
            "dim_word": 16,
            "embed_size": 32,
            "finetune": False,
            "grad_clip": 2.0,
            "img_dim": 12,
            "input_dropout_p": 0.2,
            "learning_rate": 0.0002,
            "lr_update": 15,
            "margin": 0.2,
            "max_len": 60,
            "max_violation": False,
            "measure": "cosine",
            "no_imgnorm": False,
            "num_epochs": 30,
            "num_layers": 1,
            "reset_train": False,
            "rnn_dropout_p": 0.5,
            "rnn_type": "gru",
            "use_abs": False,
            "use_restval": False,
            "vocab_size": 50,
            "word_dim": 10,
        },
    ),
}

NOT_TRAINING = {"data_path": "data", "vocab_path": "vocab", "workers": 10, "resume": ""}
PARTS = ("img_enc.", "txt_enc.", "sim_enc.")


def write(
    path: Path,
    family: str,
    weights: Mapping[str, torch.Tensor],
    *,
    modern: bool = True,
    **changes: object,
) -> Path:
    """Write a checkpoint of a release as its training script does.

    ``weights`` have the names of the reference files: a list's parts start with `PARTS`.
    """
    release = RELEASES[family]
    if release.single:
        model: Any = {f"module.{name}": value for name, value in weights.items()}
    else:
        model = [
            {n.removeprefix(p): v for n, v in weights.items() if n.startswith(p)} for p in PARTS
        ]
        model = (model + [{}] * len(release.tensors))[: len(release.tensors)]
    content = {
        "epoch": 7,
        "model": model,
        "best_rsum": np.float64(432.1),
        "opt": argparse.Namespace(**(NOT_TRAINING | release.options | changes)),
        "Eiters": 1234,
    }
    torch.save(content, path, _use_new_zipfile_serialization=modern)
    return path
