"""How does a published corpus come through `datasets`: from a hub repository, or from a folder of its Parquet files?

Repositories name their columns and splits each in its own way (`text_original`, `sentence`; `train.clean.100`,
`validation`): `Publication.columns` and `split_from` map them. Audio is kept as the bytes of the file it was
(`Audio(decode=False)`: decoding inside `datasets` needs torchcodec) and decoded when an utterance is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

from lib.corpora import _clips
from lib.corpora._layout import Publication, Row, check_limit, gather
from lib.corpora.base import Corpus
from lib.errors import MissingDataError, ParameterError, SpeechError, require, unknown

# The branch to which the hub itself converts repositories that hold a loading script, as keithito/lj_speech does;
# `datasets` runs no scripts since version 4. There a configuration is a folder.
CONVERTED = "refs/convert/parquet"

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}


def load(
    published: Publication,
    source: str | Path | None = None,
    *,
    config: str | None = None,
    splits: Iterable[str] | str | None = None,
    limit: int | None = None,
    streaming: bool | None = None,
    revision: str | None = None,
) -> Corpus:
    """A corpus through `datasets`.

    source: "owner/name" on the hub (default: `published.hub`, if it has one) or a folder of Parquet files;
    config: the repository's configuration, such as the language of Common Voice; splits: names of the
    repository's own splits, default all that are train, validation or test; limit: at most this many utterances
    of each split; streaming: read from the hub no more than the limit takes and keep those clips, still
    encoded, in memory (default: exactly when a limit is given; without one the corpus is downloaded once into
    the cache of `datasets` and read from there, clip by clip).

    Raises MissingDataError when the repository or folder is not there, has other columns, or cannot be reached (after
    the retries of `huggingface_hub`, about 25 s).
    """
    require("datasets", "datasets")
    check_limit(limit)
    if not (source or published.hub):
        raise MissingDataError(
            f"{published.title} is not on the hub: give the folder of the unpacked archive ({published.archive}), "
            'or "owner/name" of somebody\'s copy on the hub'
        )
    source = str(source or published.hub)
    streaming = limit is not None if streaming is None else streaming
    if streaming and limit is None:
        raise ParameterError(
            "streaming keeps the clips it reads in memory: give a limit, or streaming=False to use the disk"
        )
    with _one_error(published, source):
        builder = _builder(published, source, config, revision)
        parts = _parts(builder, _chosen(builder, source, splits), streaming)
        first = next(iter(parts.values()))
        audio, columns = _columns(published, source, first.features)
        rate = getattr(first.features[audio], "sampling_rate", None) or published.sample_rate
        speakers: dict[str, dict[str, str]] = {}
        groups = [
            (
                split_from(name) if published.published_splits else "",
                _rows(published, name, part, audio, columns, rate, streaming, speakers),
            )
            for name, part in parts.items()
        ]
        return gather(published, source, groups, limit=limit, sample_rate=rate, speakers=speakers)


def split_from(name: str) -> str:
    """Our split for a repository's, "" if it is none of the three.

    >>> [split_from(name) for name in ("train.clean.360", "dev.other", "validation", "invalidated", "partial-train")]
    ['train', 'validation', 'validation', '', 'train']
    """
    words = [word for word in re.split(r"[.\-_]", name.lower()) if word != "partial"]
    return _SPLIT_WORDS.get(words[0], "") if words else ""


def _builder(published: Publication, source: str, config: str | None, revision: str | None):
    """The `datasets` builder of the wanted configuration; of the converted branch where main holds a script."""
    import datasets

    wanted = config or published.hub_config
    try:
        return datasets.load_dataset_builder(source, wanted, revision=revision)
    except RuntimeError as error:
        if "scripts are no longer supported" not in str(error) or revision is not None:
            raise
        return datasets.load_dataset_builder(source, data_dir=wanted, revision=CONVERTED)
    except ValueError as error:
        names = re.search(r"BuilderConfig .* not found\. Available: \[(.*)\]", str(error))
        if not names:
            raise
        available = re.findall(r"'([^']*)'", names.group(1))
        if config is not None:
            raise unknown(f"configuration of {source}", config, available) from error
        if len(available) > 1:
            raise ParameterError(
                f"{source} has the configurations {', '.join(available)}: choose one with config="
            ) from error
        return datasets.load_dataset_builder(source, revision=revision)


def _chosen(builder, source: str, splits: Iterable[str] | str | None) -> list[str]:
    """Names of the repository's splits to load."""
    available = [str(name) for name in builder.config.data_files or builder.info.splits or ()]
    wanted = [splits] if isinstance(splits, str) else list(splits or ())
    for name in wanted:
        if name not in available:
            raise unknown(f"split of {source}", name, available)
    chosen = wanted or [name for name in available if split_from(name)]
    if not chosen or not all(map(split_from, chosen)):
        raise MissingDataError(
            f"{source}: looked for splits that begin with train, validation (or dev) or test; "
            f"found {', '.join(available) or 'none'}"
        )
    return chosen


def _parts(builder, chosen: list[str], streaming: bool) -> dict:
    """Split -> Dataset or IterableDataset."""
    import datasets

    files = builder.config.data_files
    if not streaming and files and set(chosen) != set(files):
        # A builder prepares every split it knows, and the unwanted ones may be most of the download.
        return dict(
            datasets.load_dataset(builder.name, data_files={name: list(files[name]) for name in chosen})
        )
    if streaming:
        return {name: builder.as_streaming_dataset(split=name) for name in chosen}
    builder.download_and_prepare()
    return {name: builder.as_dataset(split=name) for name in chosen}


def _columns(published: Publication, source: str, features) -> tuple[str, dict[str, str]]:
    """(audio column, what we call a column -> what this repository calls it)."""
    import datasets

    features = features or {}
    audio = next((name for name, kind in features.items() if isinstance(kind, datasets.Audio)), None)
    audio = audio or ("audio" if "audio" in features else None)
    columns = {
        role: next(name for name in names if name in features)
        for role, names in published.columns.items()
        if any(name in features for name in names)
    }
    lacking = [] if audio else ["an Audio column"]
    for role, names in published.columns.items():
        if (
            names
            and role not in columns
            and (role in ("id", "text") or role == "speaker" and not published.speaker)
        ):
            lacking.append(" or ".join(names))
    if lacking:
        raise MissingDataError(
            f"{published.title}: {source} does not have the columns of this corpus: looked for "
            f"{', '.join(lacking)}; found {', '.join(features) or 'none'}"
        )
    for fact in ("gender", "age", "accent", "accents"):
        if fact in features:
            columns[f"speaker.{fact.removesuffix('s')}"] = fact
    return audio, columns


def _rows(
    published: Publication,
    split: str,
    part,
    audio: str,
    columns: dict[str, str],
    rate: int,
    streaming: bool,
    speakers: dict[str, dict[str, str]],
) -> Iterator[Row]:
    """One Row per row of a split; fills `speakers`. Without streaming the audio column is not touched."""
    import datasets

    if isinstance(part.features[audio], datasets.Audio):
        part = part.cast_column(audio, datasets.Audio(decode=False))
    texts = part if streaming else part.select_columns(sorted(set(columns.values())))
    for index, record in enumerate(texts):
        value = {
            role: str(record[name] if record[name] is not None else "").strip()
            for role, name in columns.items()
        }
        where = f"{split}:{index + 1}"
        name = PurePosixPath(value["id"].replace("\\", "/")).name
        name = re.sub(r"\.(wav|flac|mp3|ogg|opus|m4a)$", "", name) or where
        speaker = value.get("speaker") or published.speaker
        speakers[speaker] = {
            role.removeprefix("speaker."): fact
            for role, fact in value.items()
            if role.startswith("speaker.") and fact
        }
        read = (
            partial(_clips.read_stored, record[audio], rate, name)
            if streaming
            else partial(_clips.read_row, part, index, audio, rate, name)
        )
        yield Row(
            name,
            where,
            value["text"],
            value.get("normalized") or published.normalize(value["text"]),
            speaker,
            read,
        )


@contextmanager
def _one_error(published: Publication, source: str):
    """Turn the many ways in which a repository cannot be loaded into one MissingDataError that names the remedy."""
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    local = Path(source).is_dir()
    instead = (
        f"Without the hub, give the folder of the unpacked archive ({published.archive}) or a folder of the "
        "repository's Parquet files"
    )
    try:
        yield
    except SpeechError:
        raise
    except Exception as error:
        chain = [error]
        while chain[-1].__cause__ or chain[-1].__context__:
            chain.append(chain[-1].__cause__ or chain[-1].__context__)
        if not local and any(_is_connection(link) for link in chain):
            raise MissingDataError(
                f"{published.title}: cannot reach the hub for {source} ({_first_line(error)}). {instead}"
            ) from error
        if isinstance(error, DatasetNotFoundError):
            login = (
                " Log in with `hf auth login` if the repository is private or gated."
                if "gated" in str(error)
                else ""
            )
            own = f" Its own name is {published.hub}." if published.hub else ""
            raise MissingDataError(
                f"{published.title}: no dataset {source}: neither a folder here nor to be had from the hub "
                f"({_first_line(error)}).{login}{own} {instead}"
            ) from error
        if isinstance(error, (OSError, ValueError, RuntimeError, DatasetsError)):
            raise MissingDataError(
                f"{published.title}: {source} cannot be read through `datasets` "
                f"({_first_line(chain[-1])}). {instead}"
            ) from error
        raise


def _is_connection(error: BaseException) -> bool:
    """Whether the network failed: Python's own errors, the HTTP client's, or a server that answers 5xx."""
    status = getattr(getattr(error, "response", None), "status_code", 0) or 0
    transport = type(error).__module__.startswith("httpx") and "Status" not in type(error).__name__
    return isinstance(error, (ConnectionError, TimeoutError)) or transport or status >= 500


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
