"""BERT as word encoder (CHAN's second text encoder), through the transformers library.

``encoder.bert`` names a folder as ``hf download bert-base-uncased`` makes it: ``config.json``,
``vocab.txt`` and the weights. Nothing is downloaded here. Without weights the model is
initialised at random, with a warning, for tests only. Incomplete weights are an error.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from itm_core.data.word_pieces import HOW_TO_GET, bert_folder, transformers
from itm_core.encoders.fragments import Fragments
from itm_core.encoders.pooling import make_pooling, to_fragments
from itm_core.errors import InputError

if TYPE_CHECKING:
    from itm_core.encoders.encoder import EncoderSettings

log = logging.getLogger(__name__)
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",  # of a model in several files
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def _load_bert(folder: Path, library: Any) -> Any:
    """Return BERT with the folder's weights; raises `InputError` unless they are complete."""
    try:
        model, loading = library.BertModel.from_pretrained(
            folder, local_files_only=True, add_pooling_layer=False, output_loading_info=True
        )
    except (OSError, RuntimeError, SafetensorError) as error:  # damaged, or of another size
        raise InputError(
            "BERT's weights do not load", file=folder, found=error, remedy=HOW_TO_GET
        ) from None
    missing = sorted(loading["missing_keys"])  # which the library initialises at random
    if missing:
        raise InputError(
            "BERT's weights are incomplete",
            file=folder,
            expected=missing[0],
            found=f"no such name, and {len(missing) - 1} others missing",
            remedy=HOW_TO_GET,
        )
    return model


class BertWordEncoder(nn.Module):
    """The last layer's states of all word pieces, a linear layer, unit length (CHAN, section 2.2).

    ``[CLS]`` and ``[SEP]`` count as words. Called as `encoder.WordEncoder`.
    """

    def __init__(self, settings: EncoderSettings, config: Any = None) -> None:
        super().__init__()
        library = transformers()
        if config is None:
            folder = bert_folder(settings.bert)
            config = library.BertConfig.from_pretrained(folder, local_files_only=True)
            if any((folder / name).is_file() for name in WEIGHTS):
                self.bert = _load_bert(folder, library)
            else:
                log.warning("%s holds no weights: BERT is initialised at random", folder)
        if not hasattr(self, "bert"):
            self.bert = library.BertModel(config, add_pooling_layer=False)
        self.linear = nn.Linear(config.hidden_size, settings.embedding)
        self.pooling = make_pooling(settings.text_pooling, settings.embedding)
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
        return to_fragments(vectors, lens, self.normalised, self.pooling)
