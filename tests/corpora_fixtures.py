"""Small copies of the published corpora, in exactly their layouts, with real speech; and a hub to fetch them from.

The hub is a server on this machine that answers what `datasets` asks of the Hugging Face hub; it logs each request.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import soundfile

from lib import audio

SENTENCES = (
    "Printing, in the only sense with which we are concerned, differs from most.",
    "He paid $9.50 on the 3rd of May.",
    "“Nobody knows,” said Zoë — not even I.",
    "It was 7 a.m.; Mr. Brown slept.",
    "The ship sailed at dawn.",
    "Two figures sat on the old stone wall.",
)


@functools.cache
def _voice() -> np.ndarray:
    from hibari import Hibari

    return np.concatenate([Hibari()(text) for text in SENTENCES[4:]]).astype(np.float32).ravel()


def clip(index: int, sample_rate: int) -> np.ndarray:
    """One second of synthesised speech (24 kHz, resampled), another one for each index; on the 16-bit grid of
    the files.
    """
    voice = _voice()
    begin = 4_000 + 4_800 * index
    part = audio.resample(np.take(voice, np.arange(begin, begin + 24_000), mode="wrap"), 24_000, sample_rate)
    return np.round(part * 32_767).astype(np.int16).astype(np.float32) / 32_768


def encoded(index: int, sample_rate: int, format: str) -> bytes:
    """The clip as the bytes of a WAV, FLAC or MP3 file; an MP3 by FFmpeg's LAME, as Common Voice makes them."""
    waveform = clip(index, sample_rate)
    buffer = io.BytesIO()
    if format != "MP3":
        soundfile.write(
            buffer, (waveform * 32_768).astype(np.int16), sample_rate, format=format, subtype="PCM_16"
        )
        return buffer.getvalue()
    import av

    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=sample_rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (waveform * 32_767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = sample_rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def ljspeech(folder: Path, count: int = 6) -> Path:
    root = folder / "LJSpeech-1.1"
    for i in range(count):
        write(root / "wavs" / f"LJ001-{i:04}.wav", encoded(i, 22_050, "WAV"))
    texts = [SENTENCES[i % len(SENTENCES)] for i in range(count)]
    texts[0] = 'He said, "wait'  # a lone quotation mark, as many lines of the corpus have
    write(
        root / "metadata.csv",
        "".join(
            f"LJ001-{i:04}|{text}|{text.replace('$9.50', 'nine dollars fifty')}\n"
            for i, text in enumerate(texts)
        ),
    )
    return root


def librispeech(folder: Path, subsets=("train-clean-100", "dev-clean", "test-other")) -> Path:
    root = folder / "LibriSpeech"
    write(
        root / "SPEAKERS.TXT",
        ";ID  |SEX| SUBSET           |MINUTES| NAME\n"
        + "".join(
            f"{100 + s}  | {'FM'[s % 2]} | {name} | 25.03 | Reader | Number {s}\n"
            for s, name in enumerate(subsets)
        ),
    )
    for s, subset in enumerate(subsets):
        speaker = f"{100 + s}"
        chapter = root / subset / speaker / "1241"
        for i in range(3):
            write(chapter / f"{speaker}-1241-{i:04}.flac", encoded(3 * s + i, 16_000, "FLAC"))
        write(
            chapter / f"{speaker}-1241.trans.txt",
            "".join(f"{speaker}-1241-{i:04} GO DO YOU HEAR {i}\n" for i in range(3)),
        )
    return root


def libritts(folder: Path, subsets=("train-clean-360", "dev-other", "test-clean")) -> Path:
    root = folder / "LibriTTS"
    write(
        root / "speakers.tsv",
        "READER\tGENDER\tSUBSET\tNAME\n"
        + "".join(f"{200 + s}\t{'FM'[s % 2]}\t{name}\tReader {s}\n" for s, name in enumerate(subsets)),
    )
    for s, subset in enumerate(subsets):
        for i in range(3):
            stem = root / subset / f"{200 + s}" / "77" / f"{200 + s}_77_{i:06}_000000"
            write(stem.with_name(stem.name + ".wav"), encoded(3 * s + i, 24_000, "WAV"))
            write(stem.with_name(stem.name + ".original.txt"), f"He paid ${i}, Zoë said.")
            write(stem.with_name(stem.name + ".normalized.txt"), f"He paid {i} dollars, Zoë said.\n")
        write(root / subset / f"{200 + s}" / "77" / f"{200 + s}_77.trans.tsv", "")
    return root


COLUMNS_OLD = "client_id path sentence up_votes down_votes age gender accent".split()
COLUMNS_NEW = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale "
    "segment"
).split()


def common_voice(folder: Path, columns=COLUMNS_NEW, language: str = "en", extra: int = 0) -> Path:
    """Two clips in each split; `extra` more in validated.tsv: the first with the speaker of a test clip."""
    root = folder / "cv-corpus-17.0-2024-03-15" / language
    rows = [("train", 0), ("train", 1), ("dev", 2), ("dev", 3), ("test", 4), ("test", 5)]
    rows += [("validated", 6 + i) for i in range(extra)]
    tables = {name: "\t".join(columns) + "\n" for name in ("train", "dev", "test", "validated")}
    for name, i in rows:
        write(root / "clips" / f"common_voice_{language}_{i}.mp3", encoded(i, (32_000, 48_000)[i % 2], "MP3"))
        line = {
            "client_id": f"{4 if i == 6 else i:064x}",
            "path": f"common_voice_{language}_{i}.mp3",
            "locale": language,
            "sentence": f'"Zoë’s sentence {i}',
            "sentence_id": f"s{i}",
            "up_votes": "2",
            "down_votes": "0",
            "age": "twenties",
            "gender": "female",
            "accent": "us",
            "accents": "United States English",
        }
        text = "\t".join(line.get(column, "") for column in columns) + "\n"
        for table in {name, "validated"}:
            tables[table] += text
    for name, text in tables.items():
        write(root / f"{name}.tsv", text)
    return root


# What the hub's repositories hold: columns, the rate that their Audio feature declares, splits, files.
HUB = {
    "ljspeech": ("keithito/lj_speech", 22_050, "WAV", {"main/train/0000.parquet": 8}),
    "librispeech": (
        "openslr/librispeech_asr",
        16_000,
        "FLAC",
        {"clean/train.100/0000.parquet": 3, "clean/validation/0000.parquet": 2, "clean/test/0000.parquet": 2},
    ),
    "libritts": (
        "mythicinfinity/libritts",
        24_000,
        "WAV",
        {
            "data/train.clean.100/train.clean.100-00000-of-00001.parquet": 3,
            "data/dev.clean/dev.clean-00000-of-00001.parquet": 2,
            "data/test.clean/test.clean-00000-of-00001.parquet": 2,
        },
    ),
    "common-voice": (
        "somebody/common_voice_17_0",
        48_000,
        "MP3",
        {
            "en/train/0000.parquet": 3,
            "en/validation/0000.parquet": 2,
            "en/test/0000.parquet": 2,
            "en/other/0000.parquet": 1,
        },
    ),
}
HUB_SPLITS = {  # as the card of a repository lists them: split, files of it
    "librispeech": (
        "clean",
        {"train.100": "clean/train.100/*", "validation": "clean/validation/*", "test": "clean/test/*"},
    ),
    "libritts": (
        "clean",
        {
            "train.clean.100": "data/train.clean.100/*",
            "dev.clean": "data/dev.clean/*",
            "test.clean": "data/test.clean/*",
        },
    ),
}


def hub_row(name: str, index: int, rate: int, format: str) -> dict:
    text = SENTENCES[index % len(SENTENCES)]
    if name == "ljspeech":
        row = {
            "id": f"LJ001-{index:04}",
            "file": f"/cache/LJ001-{index:04}.wav",
            "text": f"{text} {index}",
            "normalized_text": f"{text} number {index}",
        }
    elif name == "librispeech":
        row = {
            "file": f"84-1-{index:04}.flac",
            "text": f"GO DO YOU HEAR {index}",
            "speaker_id": 84,
            "chapter_id": 1,
            "id": f"84-1-{index:04}",
        }
    elif name == "libritts":
        row = {
            "text_normalized": f"{index} dollars",
            "text_original": f"${index}",
            "speaker_id": "84",
            "chapter_id": "1",
            "path": f"/cache/84_1_{index:06}_000000.wav",
            "id": f"84_1_{index:06}_000000",
        }
    else:
        row = {
            "client_id": f"{index:064x}",
            "path": f"en_train_0/common_voice_en_{index}.mp3",
            "sentence": f'"{text}',
            "up_votes": 2,
            "down_votes": 0,
            "age": "",
            "gender": "male",
            "accent": "",
            "locale": "en",
            "segment": "",
            "variant": "",
        }
    rate = 32_000 if format == "MP3" else rate  # the card declares 48 kHz whatever the clips are
    return row | {"audio": {"bytes": encoded(index, rate, format), "path": f"{index}.{format.lower()}"}}


def parquet(name: str, folder: Path, broken: int | None = None) -> Path:
    """The repository of a corpus as a folder of Parquet files, written by `datasets`; broken: a row to cut in half."""
    import datasets

    _, rate, format, files = HUB[name]
    index = 0
    for path, count in files.items():
        rows = [hub_row(name, index + i, rate, format) for i in range(count)]
        for i, row in enumerate(rows):
            if index + i == broken:
                row["audio"]["bytes"] = row["audio"]["bytes"][: len(row["audio"]["bytes"]) // 2]
        table = datasets.Dataset.from_list(rows).cast_column(
            "audio", datasets.Audio(sampling_rate=rate, decode=False)
        )
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        table.cast_column("audio", datasets.Audio(sampling_rate=rate)).to_parquet(folder / path)
        index += count
    if name in HUB_SPLITS:
        config, splits = HUB_SPLITS[name]
        listed = "".join(f"  - split: {split}\n    path: {path}\n" for split, path in splits.items())
        write(
            folder / "README.md",
            f"---\nconfigs:\n- config_name: {config}\n  data_files:\n{listed}---\n# A corpus\n",
        )
    return folder


class Hub:
    """A Hugging Face hub on this machine: repositories are folders; `requests` holds (method, path, Range
    header, status).

    script: repositories whose main branch holds a loading script, and Parquet only in refs/convert/parquet.
    """

    def __init__(self, repositories: dict[str, Path], script: tuple[str, ...] = ()):
        self.repositories, self.script, self.requests = repositories, script, []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def served(self, suffix: str) -> list[tuple]:
        """The requests that brought content of files whose name ends so."""
        return [r for r in self.requests if r[0] == "GET" and r[1].endswith(suffix) and r[3] in (200, 206)]

    def files(self, repository: str, revision: str) -> dict[str, bytes]:
        """Path -> content of a repository at a revision."""
        folder = self.repositories[repository]
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        if repository not in self.script or revision in ("refs/convert/parquet", sha(repository, True)):
            return files
        name = repository.split("/")[1]
        return {"README.md": b"# A corpus with a script\n", f"{name}.py": b"raise SystemExit('never run')\n"}

    def _handler(hub):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.answer(self)

            do_HEAD = do_POST = do_GET

            def log_message(self, *arguments):
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        from urllib.parse import parse_qs, unquote, urlsplit

        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        raw = urlsplit(request.path).path
        status, headers, content = self._route(
            raw, lambda: parse_qs(body.decode())["paths"] if b"paths=" in body else json.loads(body)["paths"]
        )
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
        if wanted and status == 200:
            first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            status, content = 206, content[first : last + 1]
        self.requests.append((request.command, unquote(raw), request.headers.get("Range"), status))
        request.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def _route(self, raw: str, paths) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, content) for a path of the hub's HTTP interface."""
        from urllib.parse import unquote

        match = re.fullmatch(
            r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?", raw
        ) or re.fullmatch(r"/datasets/([^/]+/[^/]+)/(resolve)/([^/]+)/(.*)", raw)
        if not match or match[1] not in self.repositories:
            return _refusal("RepoNotFound", 401 if match else 404)
        repository, verb, revision = match[1], match[2], unquote(match[3] or "main")
        path = unquote(match[4] or "")
        converted = revision in ("refs/convert/parquet", sha(repository, True))
        if revision not in ("main", sha(repository, False)) and not converted:
            return _refusal("RevisionNotFound", 404)
        files = self.files(repository, revision)
        commit = sha(repository, converted)
        if verb == "resolve":
            if path not in files:
                return _refusal("EntryNotFound", 404)
            return (
                200,
                {
                    "X-Repo-Commit": commit,
                    "ETag": f'"{hashlib.sha256(files[path]).hexdigest()}"',
                    "Accept-Ranges": "bytes",
                    "Content-Type": "application/octet-stream",
                },
                files[path],
            )
        folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
        entries = [
            {"type": "directory", "oid": sha(name, True), "size": 0, "path": name} for name in sorted(folders)
        ]
        entries += [
            {"type": "file", "oid": hashlib.sha1(content).hexdigest(), "size": len(content), "path": name}
            for name, content in files.items()
        ]
        if verb == "tree":
            if path and path not in folders:
                return _refusal("EntryNotFound", 404)
            answer = [entry for entry in entries if not path or entry["path"].startswith(path + "/")]
        elif verb == "paths-info":
            wanted = paths()
            answer = [entry for entry in entries if entry["path"] in wanted]
        else:
            answer = {
                "id": repository,
                "sha": commit,
                "private": False,
                "gated": False,
                "disabled": False,
                "tags": [],
                "siblings": [{"rfilename": name} for name in files],
                "downloads": 0,
                "likes": 0,
            }
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def sha(name: str, converted: bool) -> str:
    """The commit of a repository's main branch, or of the branch of its conversion."""
    return hashlib.sha1(f"{name}{converted}".encode()).hexdigest()


def _refusal(code: str, status: int) -> tuple[int, dict[str, str], bytes]:
    # The real hub says 401 for a repository that does not exist, so as not to tell which private ones do.
    headers = {"X-Error-Code": code, "X-Error-Message": code, "Content-Type": "application/json"}
    return status, headers, json.dumps({"error": code}).encode()
