"""BERT as word encoder (CHAN's second text encoder), through the transformers library.

``encoder.bert`` is ``minilm``, or a folder with ``config.json``, ``vocab.txt`` and the weights
(see `data.word_pieces`). Nothing is downloaded here. Without weights the model is initialised at
random, with a warning, for tests only. Incomplete weights are an error.

Page: the CHAN chapter, "The method".
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import pad

from itm_core.data.word_pieces import HOW_TO_GET, WEIGHTS, bert_folder, transformers
from itm_core.encoders.fragments import Fragments
from itm_core.encoders.pooling import make_pooling, to_fragments
from itm_core.errors import InputError

if TYPE_CHECKING:
    from itm_core.encoders.encoder import EncoderSettings

log = logging.getLogger(__name__)
CAPTIONS_AT_ONCE = 16  # of similar length: padding to the longest of 128 doubles the pieces


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Silence the library's progress bar and its list of weights that are not needed here."""
    logging_of = library.utils.logging
    level, bar = logging_of.get_verbosity(), logging_of.is_progress_bar_enabled()
    logging_of.set_verbosity_error()
    logging_of.disable_progress_bar()
    try:
        yield
    finally:
        logging_of.set_verbosity(level)
        if bar:
            logging_of.enable_progress_bar()


def _load_bert(folder: Path, library: Any) -> Any:
    """Return BERT with the folder's weights; raises `InputError` unless they are complete."""
    try:
        with _quiet(library):
            model, loading = library.BertModel.from_pretrained(
                folder,
                local_files_only=True,
                add_pooling_layer=False,
                output_loading_info=True,
                dtype=torch.float32,  # the library would keep weights stored in half precision
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
    """The last layer's states of all word pieces, a linear layer, unit length, as in CHAN's code.

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
        order = torch.argsort(lens.cpu(), stable=True)
        vectors = torch.cat(
            [self._vectors(tokens, lens, rows) for rows in order.split(CAPTIONS_AT_ONCE)]
        )
        vectors = vectors[torch.argsort(order).to(tokens.device)]
        return to_fragments(vectors, lens, self.normalised, self.pooling)

    def _vectors(self, tokens: Tensor, lens: Tensor, rows: Tensor) -> Tensor:
        """Return the vectors ``[c, L, D]`` of some captions, computed up to their longest."""
        some = lens.cpu()[rows]
        longest = int(some.max())
        mask = (torch.arange(longest) < some[:, None]).to(tokens.device)
        ids = tokens[rows.to(tokens.device), :longest]
        states = self.bert(ids, attention_mask=mask).last_hidden_state
        vectors = self.linear(states) * mask[..., None]
        return pad(vectors, (0, 0, 0, tokens.shape[1] - longest))
