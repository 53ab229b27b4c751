"""Words by BERT (CHAN's second text encoder), through the transformers library.

``encoder.bert`` names a folder as ``hf download bert-base-uncased`` makes it: ``config.json``,
``vocab.txt`` and the weights. Nothing is downloaded here. A folder without weights starts from
random ones and says so, which only makes sense for trying things out. Weights that do not fill
the model are refused: the library alone would start what is missing from random numbers.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from itm_core.encoders.fragments import Fragments, l2norm
from itm_core.encoders.pooling import make_whole
from itm_core.errors import InputError
from itm_core.extras import optional

if TYPE_CHECKING:
    from itm_core.encoders.encoder import EncoderSettings

log = logging.getLogger(__name__)
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",  # of a model in several files
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
HOW_TO_GET = (
    "`hf download bert-base-uncased --local-dir data/bert-base-uncased` and set "
    "encoder.bert=data/bert-base-uncased"
)


def transformers() -> Any:
    """Return the transformers library; raises `InputError` where it is not installed."""
    return optional("transformers", "BERT", extra="bert", then=HOW_TO_GET)


def bert_folder(folder: str | None) -> Path:
    """Return the folder of a BERT model; raises `InputError` when it holds none."""
    if folder is None:
        raise InputError("encoder.text_encoder=bert needs encoder.bert", remedy=HOW_TO_GET)
    path = Path(folder)
    for name in ("config.json", "vocab.txt"):
        if not (path / name).is_file():
            raise InputError("no BERT model here", file=path / name, remedy=HOW_TO_GET)
    return path


def _filled(folder: Path, library: Any) -> Any:
    """Return BERT with the folder's weights; raises `InputError` when they leave any of it out."""
    try:
        model, told = library.BertModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False, output_loading_info=True
        )
    except (OSError, RuntimeError, SafetensorError) as error:  # damaged, or of another size
        raise InputError(
            "BERT's weights do not load", file=folder, found=error, remedy=HOW_TO_GET
        ) from None
    missing = sorted(told["missing_keys"])
    if missing:
        raise InputError(
            "these weights leave parts of BERT out",
            file=folder,
            expected=missing[0],
            found=f"no such name, and {len(missing) - 1} others missing",
            remedy=HOW_TO_GET,
        )
    return model


class BertWordEncoder(nn.Module):
    """The last layer's states of all pieces, a linear layer, unit length (CHAN, section 2.2).

    ``[CLS]`` and ``[SEP]`` count as words. Called as `encoders.WordEncoder`.
    """

    def __init__(self, settings: EncoderSettings, config: Any = None) -> None:
        super().__init__()
        library = transformers()
        if config is None:
            folder = bert_folder(settings.bert)
            config = library.BertConfig.from_pretrained(folder, local_files_only=True)
            if any((folder / name).is_file() for name in WEIGHTS):
                self.bert = _filled(folder, library)
            else:
                log.warning("%s holds no weights: BERT starts from random ones", folder)
        if not hasattr(self, "bert"):
            self.bert = library.BertModel(config, add_pooling_layer=False)
        self.linear = nn.Linear(config.hidden_size, settings.embedding)
        self.whole = make_whole(settings.text_pooling, settings.embedding)
        self.normalised = settings.normalise_words

    def forward(self, tokens: Tensor, lens: Tensor) -> Fragments:
        """Return pieces ``[C, L, D]`` of ids ``[C, L]``; zero beyond each length.

        Raises `InputError` for a caption longer than BERT reads.
        """
        longest = self.bert.config.max_position_embeddings
        if tokens.shape[1] > longest:
            raise InputError(
                "a caption is too long for this BERT",
                found=f"{tokens.shape[1]} pieces",
                expected=f"{longest} or fewer",
            )
        mask = (torch.arange(tokens.shape[1]) < lens.cpu()[:, None]).to(tokens.device)
        states = self.bert(tokens, attention_mask=mask).last_hidden_state
        vectors = self.linear(states) * mask[..., None]
        found = Fragments.of(l2norm(vectors) if self.normalised else vectors, lens)
        if self.whole is None:
            return found
        return Fragments(found.vectors, found.lens, self.whole(found))
