"""One call for every published corpus, whatever form it is at hand in: unpacked archive, Parquet folder or hub
repository.

load("ljspeech", "~/data/LJSpeech-1.1")
load("libritts", "~/data/LibriTTS", subsets="dev-clean")
load("librispeech", "openslr/librispeech_asr", config="clean", splits="test", limit=100)
load("common-voice", "~/data/cv-corpus-17.0-2024-03-15", language="en")
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from lib.corpora import common_voice, hub, librispeech, libritts, ljspeech
from lib.corpora._layout import existing
from lib.corpora.base import Corpus
from lib.errors import unknown

CORPORA = {module.PUBLISHED.name: module for module in (ljspeech, libritts, common_voice, librispeech)}

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def load(name: str, source: str | Path | None = None, **options) -> Corpus:
    """A published corpus by its name: "ljspeech", "libritts", "common-voice" or "librispeech".

    source: a folder (of the archive or of Parquet files: it is looked at) or "owner/name" on the Hugging Face
    hub; default the corpus's own repository there, if it has one. options: those of the loader that this leads
    to (`limit` for all; `subsets`, `language`, `validated` for archives; `config`, `splits`, `streaming`,
    `revision` for Parquet and the hub).

    Raises ParameterError for an unknown name or option, MissingDataError when the data are not there.
    """
    if name not in CORPORA:
        raise unknown("corpus", name, CORPORA)
    module = CORPORA[name]
    if kind(source) == "archive":
        existing(module.PUBLISHED, source)
        loader, arguments = module.load, (source,)
    else:
        folder = None if source is None else Path(source).expanduser()
        loader, arguments = (
            hub.load,
            (module.PUBLISHED, str(folder) if folder and folder.is_dir() else source),
        )
    known = [
        option
        for option, spec in inspect.signature(loader).parameters.items()
        if spec.kind is spec.KEYWORD_ONLY
    ]
    for option in options:
        if option not in known:
            raise unknown(f"option of {name} from {kind(source)}", option, known)
    return loader(*arguments, **options)


def kind(source: str | Path | None) -> str:
    """ "archive", "parquet" or "hub": what `source` is, by looking at it; a path that leads nowhere is an
    archive to be.
    """
    if source is None:
        return "hub"
    path = Path(source).expanduser()
    if path.is_dir():
        # Up to two folders down is where hub repositories keep them: data/train.clean.100/*.parquet,
        # en/train/0000.parquet.
        return (
            "parquet"
            if any(next(path.glob(f"{'*/' * depth}*.parquet"), None) for depth in range(3))
            else "archive"
        )
    return "hub" if isinstance(source, str) and not path.exists() and _HUB_NAME.fullmatch(source) else "archive"
