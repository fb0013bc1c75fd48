"""The published corpora: from their archives on disk, from Parquet folders, and from a hub (a server on this
machine).
"""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import corpora_fixtures as made
import numpy as np
import pytest
import soundfile

from lib import REPOSITORY, audio
from lib.corpora import _clips, common_voice, hub, librispeech, libritts, ljspeech, public
from lib.corpora._layout import split_of
from lib.corpora.base import SPLITS
from lib.errors import AudioError, MissingDataError, ParameterError

ARCHIVES = {
    "ljspeech": (made.ljspeech, ljspeech.load),
    "librispeech": (made.librispeech, librispeech.load),
    "libritts": (made.libritts, libritts.load),
    "common-voice": (made.common_voice, common_voice.load),
}
RATES = {"ljspeech": 22_050, "librispeech": 16_000, "libritts": 24_000, "common-voice": 48_000}


def by_id(corpus):
    return {utterance.id: utterance for utterance in corpus.utterances}


def clips(root: Path):
    return sorted(path for path in root.rglob("*") if path.suffix in (".wav", ".flac", ".mp3"))


# ---- archives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_archive_has_the_one_shape(name, tmp_path):
    make, load = ARCHIVES[name]
    root = make(tmp_path)
    corpus = load(root)
    assert corpus.name == name and corpus.licence and corpus.source == str(root) and corpus.skipped == {}
    assert len(corpus) == len(clips(root))
    assert sum(len(corpus.split(split)) for split in SPLITS) == len(corpus)
    assert len(by_id(corpus)) == len(corpus)
    for utterance in corpus.utterances:
        assert (
            utterance.text
            and utterance.normalized
            and utterance.speaker
            and utterance.sample_rate == RATES[name]
        )
        assert utterance.load().shape == (RATES[name],)  # one second
    assert set(corpus.speakers) <= {u.speaker for u in corpus.utterances} and corpus.speakers
    copy = pickle.loads(pickle.dumps(corpus))  # worker processes of a data loader get it so
    assert np.array_equal(copy.utterances[0].load(), corpus.utterances[0].load())


@pytest.mark.parametrize("name", ARCHIVES)
def test_loading_opens_no_clip(name, tmp_path):
    make, load = ARCHIVES[name]
    root = make(tmp_path)
    paths = clips(root)
    paths[0].write_bytes(b"not audio")
    corpus = load(root)  # a broken clip is no obstacle: nobody has looked at it
    assert len(corpus) == len(paths) and corpus.skipped == {}
    for path in paths[1:]:
        path.unlink()
    assert list(corpus.waveforms()) == []
    reasons = sorted(corpus.skipped.values())
    assert (
        len(reasons) == len(paths) and sum("no audio file at" in reason for reason in reasons) == len(paths) - 1
    )
    assert "cannot be decoded" in corpus.skipped[paths[0].stem]


def test_ljspeech_takes_text_as_it_stands(tmp_path):
    corpus = by_id(ljspeech.load(made.ljspeech(tmp_path)))
    assert corpus["LJ001-0000"].text == 'He said, "wait'  # a CSV reader would have swallowed the next lines
    assert corpus["LJ001-0001"].text == "He paid $9.50 on the 3rd of May."
    assert corpus["LJ001-0001"].normalized == "He paid nine dollars fifty on the 3rd of May."
    assert corpus["LJ001-0002"].text == "“Nobody knows,” said Zoë — not even I."
    assert {u.speaker for u in corpus.values()} == {"LJ"}
    for i in range(6):
        assert np.array_equal(corpus[f"LJ001-{i:04}"].load(), made.clip(i, 22_050))


def test_librispeech_maps_subsets_to_splits(tmp_path):
    corpus = librispeech.load(made.librispeech(tmp_path))
    one = by_id(corpus)["101-1241-0002"]
    assert (one.text, one.normalized, one.speaker, one.split) == (
        "GO DO YOU HEAR 2",
        "go do you hear 2",
        "101",
        "validation",
    )
    assert np.array_equal(one.load(), made.clip(5, 16_000))
    assert corpus.speakers["101"] == {"gender": "male", "name": "Reader | Number 1"}
    assert [len(corpus.split(split)) for split in SPLITS] == [3, 3, 3]


def test_libritts_reads_both_texts(tmp_path):
    root = made.libritts(tmp_path)
    (root / "dev-other/201/77/201_77_000000_000000.original.txt").unlink()
    corpus = libritts.load(root)
    one, courtesy = by_id(corpus)["200_77_000001_000000"], by_id(corpus)["201_77_000000_000000"]
    assert (one.text, one.normalized, one.speaker, one.split) == (
        "He paid $1, Zoë said.",
        "He paid 1 dollars, Zoë said.",
        "200",
        "train",
    )
    assert courtesy.text == courtesy.normalized == "He paid 0 dollars, Zoë said."
    assert np.array_equal(one.load(), made.clip(1, 24_000))
    assert corpus.speakers["201"] == {"gender": "male", "name": "Reader 1"}


@pytest.mark.parametrize("columns", [made.COLUMNS_OLD, made.COLUMNS_NEW], ids=["old columns", "new columns"])
def test_common_voice_columns_and_rates(columns, tmp_path):
    corpus = common_voice.load(made.common_voice(tmp_path, columns))
    one, other = by_id(corpus)["common_voice_en_2"], by_id(corpus)["common_voice_en_3"]
    assert (one.text, one.split, one.speaker) == ('"Zoë’s sentence 2', "validation", f"{2:064x}")
    assert corpus.speakers[one.speaker]["accent"] in ("us", "United States English")
    assert [len(corpus.split(split)) for split in SPLITS] == [2, 2, 2]
    decoded, rate = soundfile.read(io.BytesIO(made.encoded(2, 32_000, "MP3")), dtype="float32")
    assert rate == 32_000 and np.array_equal(one.load(), audio.resample(decoded, 32_000, 48_000))
    # MP3 changes samples, not speech: the clip is there, in its place.
    assert np.corrcoef(other.load(), made.clip(3, 48_000))[0, 1] > 0.99


def test_common_voice_of_the_first_release_has_no_suffixes(tmp_path):
    root = made.common_voice(tmp_path, made.COLUMNS_OLD)
    for name in ("train", "dev", "test"):
        path = root / f"{name}.tsv"
        path.write_text(path.read_text().replace(".mp3", ""))
    assert len(common_voice.load(root)) == 6


def test_common_voice_adds_validated_clips_without_leaks(tmp_path):
    root = made.common_voice(tmp_path, extra=3)
    assert len(common_voice.load(root)) == 6
    more = common_voice.load(root, validated=True)
    assert len(more) == 8 and "common_voice_en_6" not in by_id(more)  # its speaker is in test
    for split in ("validation", "test"):
        assert {u.speaker for u in more.split("train")}.isdisjoint(u.speaker for u in more.split(split))
    for name in ("train", "dev", "test"):
        (root / f"{name}.tsv").unlink()
    alone = common_voice.load(root)
    assert len(alone) == 9 and all(u.split == split_of(u.text) for u in alone.utterances)


def test_common_voice_language(tmp_path):
    made.common_voice(tmp_path, language="en"), made.common_voice(tmp_path, language="cy")
    release = tmp_path / "cv-corpus-17.0-2024-03-15"
    assert {u.id[:15] for u in common_voice.load(release, language="cy").utterances} == {"common_voice_cy"}
    with pytest.raises(MissingDataError, match="holds several: cy, en; give the folder of one"):
        common_voice.load(release)
    with pytest.raises(MissingDataError, match="looked for clips/ and at least one of train.tsv"):
        common_voice.load(release, language="fr")


# ---- splits, limits -------------------------------------------------------------------------------------------------


def test_split_by_sentence_is_fixed_and_shares_no_sentence(tmp_path):
    splits = [split_of(f"Sentence number {i}.") for i in range(13_100)]
    assert [splits.count(split) for split in SPLITS] == [
        11_805,
        667,
        628,
    ]  # 90.1 / 5.1 / 4.8 %, today and always
    assert all(split_of(f"sentence NUMBER {i}!?") == splits[i] for i in range(200))
    corpus = ljspeech.load(made.ljspeech(tmp_path, count=18))  # each sentence three times
    where = {}
    for utterance in corpus.utterances:
        where.setdefault(utterance.normalized, set()).add(utterance.split)
    assert all(len(found) == 1 for found in where.values())


@pytest.mark.parametrize("name", ["librispeech", "libritts", "common-voice"])
def test_limit_is_per_split(name, tmp_path):
    make, load = ARCHIVES[name]
    corpus = load(make(tmp_path), limit=1)
    assert [len(corpus.split(split)) for split in SPLITS] == [1, 1, 1]
    with pytest.raises(ParameterError, match="limit=0 is not a number of utterances"):
        load(tmp_path, limit=0)


def test_subsets(tmp_path):
    root = made.libritts(tmp_path)
    assert {u.split for u in libritts.load(root, subsets="test-clean").utterances} == {"test"}
    assert len(libritts.load(root, subsets=("test-clean", "dev-other"))) == 6
    with pytest.raises(ParameterError, match="unknown subset 'test-claen': did you mean 'test-clean'"):
        libritts.load(root, subsets="test-claen")
    with pytest.raises(
        MissingDataError, match="no subset train-other-500 in .*; found train-clean-360, dev-other, test-clean"
    ):
        libritts.load(root, subsets="train-other-500")


# ---- what is wrong is named ------------------------------------------------------------------------------------------


def test_ljspeech_names_every_line_it_cannot_use(tmp_path, caplog):
    root = made.ljspeech(tmp_path)
    with open(root / "metadata.csv", "ab") as file:
        file.write(
            "LJ001-0000|again|again\nonly one field\n\nLJ009-0000|no clip|no clip\n".encode() + b"LJ9|\xff|x\n"
        )
    made.write(root / "wavs/LJ002-0001.wav", b"")
    made.write(root / "wavs/LJ003-0001.wav", b"")
    with open(root / "metadata.csv", "a") as file:
        file.write("LJ003-0001| - | \n")
    corpus = ljspeech.load(root)
    assert len(corpus) == 6
    assert corpus.skipped == {
        "LJ001-0000 (metadata.csv:7)": "listed twice: the first entry is kept",
        "metadata.csv:8": f"line 8 of {root}/metadata.csv holds 1 fields, not id|text|normalized text",
        "LJ009-0000": "its file wavs/LJ009-0000.wav is missing (metadata.csv:10)",
        "metadata.csv:11": f"line 11 of {root}/metadata.csv is not UTF-8",
        "LJ003-0001": "empty transcript (metadata.csv:12)",
        "LJ002-0001": "no line in metadata.csv has its text",
    }
    assert "ljspeech: 6 skipped, 6 usable" in caplog.text


def test_librispeech_names_every_line_it_cannot_use(tmp_path):
    root = made.librispeech(tmp_path)
    chapter = root / "dev-clean/101/1241"
    (chapter / "101-1241-0000.flac").unlink()
    made.write(chapter / "101-1241-0009.flac", b"")
    with open(chapter / "101-1241.trans.txt", "a") as file:
        file.write("no id here\n")
    corpus = librispeech.load(root)
    assert len(corpus) == 8
    assert corpus.skipped == {
        "101-1241-0000": "its file dev-clean/101/1241/101-1241-0000.flac is missing "
        "(dev-clean/101/1241/101-1241.trans.txt:1)",
        "dev-clean/101/1241/101-1241.trans.txt:4": f"line 4 of {chapter}/101-1241.trans.txt does not begin "
        "with an id such as 101-1241-0000",
        "101-1241-0009": "no line in 101-1241.trans.txt has its text",
    }


def test_libritts_names_every_clip_it_cannot_use(tmp_path):
    root = made.libritts(tmp_path)
    stem = root / "dev-other/201/77/201_77_000000_000000"
    Path(f"{stem}.wav").unlink()
    Path(f"{stem}".replace("_000000_", "_000001_") + ".normalized.txt").unlink()
    Path(f"{stem}".replace("_000000_", "_000002_") + ".normalized.txt").write_text(" \n")
    Path(f"{stem}".replace("_000000_", "_000002_") + ".original.txt").write_text("")
    corpus = libritts.load(root)
    assert len(corpus) == 6 and len(corpus.split("validation")) == 0
    where = "(dev-other/201/77/201_77_00000{}_000000)"
    assert corpus.skipped == {
        "201_77_000000_000000": f"its file 201_77_000000_000000.wav is missing {where.format(0)}",
        "201_77_000001_000000": f"its file 201_77_000001_000000.normalized.txt is missing {where.format(1)}",
        "201_77_000002_000000": f"empty transcript {where.format(2)}",
    }


def test_common_voice_names_every_line_it_cannot_use(tmp_path):
    root = made.common_voice(tmp_path)
    with open(root / "train.tsv", "a") as file:
        file.write("a\tb\n")
    (root / "clips/common_voice_en_5.mp3").unlink()
    corpus = common_voice.load(root)
    assert len(corpus) == 5
    assert corpus.skipped == {
        "train.tsv:4": f"line 4 of {root}/train.tsv holds 2 fields, the header 13",
        "common_voice_en_5": "its file clips/common_voice_en_5.mp3 is missing (test.tsv:3)",
    }
    made.write(root / "dev.tsv", "speaker\tfile\twords\n")
    with pytest.raises(
        MissingDataError, match=r"dev.tsv:1 has no column sentence or text; found speaker, file, words"
    ):
        common_voice.load(root)


def test_no_usable_utterance_is_an_error(tmp_path):
    root = made.ljspeech(tmp_path)
    made.write(root / "metadata.csv", "x\ny\n")
    with pytest.raises(
        MissingDataError, match=r"not one of 8 utterances in .* is usable: metadata.csv:1: line 1 of"
    ):
        ljspeech.load(root)


@pytest.mark.parametrize("format, rate", [("WAV", 22_050), ("FLAC", 16_000), ("MP3", 32_000)])
def test_a_truncated_clip_is_an_error(format, rate):
    whole = made.encoded(1, rate, format)
    waveform, _ = _clips.read_bytes(whole, rate, "clip")
    assert len(waveform) == rate
    for share in (0.97, 0.5):  # libsndfile reads such a WAV or MP3 without complaint
        with pytest.raises(AudioError, match="clip: .*truncated"):
            _clips.read_bytes(whole[: int(share * len(whole))], rate, "clip")


def test_truncated_empty_and_silent_clips_are_counted(tmp_path):
    root = made.ljspeech(tmp_path)
    paths = clips(root)
    paths[0].write_bytes(paths[0].read_bytes()[:20_000])
    paths[1].write_bytes(b"")
    soundfile.write(paths[2], np.zeros(22_050), 22_050)
    corpus = ljspeech.load(root)
    assert [u.id for u, _ in corpus.waveforms()] == ["LJ001-0003", "LJ001-0004", "LJ001-0005"]
    assert list(corpus.skipped) == ["LJ001-0000", "LJ001-0001", "LJ001-0002"]
    for reason, word in zip(corpus.skipped.values(), ("truncated", "no bytes", "silent")):
        assert word in reason


def test_what_libsndfile_cannot_read_ffmpeg_does():
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(made.clip(0, 16_000)[None], format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    waveform, rate = _clips.read_bytes(buffer.getvalue(), 16_000, "clip")
    assert rate == 16_000 and 15_000 < len(waveform) < 19_000
    best = np.correlate(waveform, made.clip(0, 16_000), "full").max()
    assert best / np.linalg.norm(waveform) / np.linalg.norm(made.clip(0, 16_000)) > 0.95
    with pytest.raises(AudioError, match="clip: cannot be decoded"):
        _clips.read_bytes(b"<html>404</html>" * 50, 16_000, "clip")


@pytest.mark.parametrize(
    "name, looked_for, home",
    [
        ("ljspeech", "metadata.csv and wavs/", "LJSpeech-1.1.tar.bz2 of https://keithito.com"),
        ("librispeech", "subset folders such as dev-clean/", "https://www.openslr.org/12"),
        ("libritts", r"\*.original.txt", "https://www.openslr.org/60"),
        ("common-voice", "clips/ and at least one of train.tsv", "https://mozilladatacollective.com"),
    ],
)
def test_a_wrong_folder_says_what_was_looked_for_and_found(name, looked_for, home, tmp_path):
    load = ARCHIVES[name][1]
    (made.write(tmp_path / "photos/holiday/1.jpg", b""), made.write(tmp_path / "photos/notes.txt", b""))
    with pytest.raises(
        MissingDataError, match=rf"looked for .*{looked_for}.*; found holiday/, notes.txt.*{home}"
    ):
        load(tmp_path / "photos")
    with pytest.raises(MissingDataError, match=f"no folder .*nowhere; unpack .*{home}"):
        load(tmp_path / "nowhere")
    made.write(tmp_path / "corpus.tar.gz", b"")
    with pytest.raises(MissingDataError, match=r"is the archive: unpack it \(`tar -xf corpus.tar.gz`\)"):
        load(tmp_path / "corpus.tar.gz")


def test_librispeech_is_not_libritts(tmp_path):
    with pytest.raises(
        MissingDataError, match=r"LibriTTS: .*looked for .*\.wav.*; found SPEAKERS.TXT, dev-clean/"
    ):
        libritts.load(made.librispeech(tmp_path))


@pytest.mark.parametrize("name, inside", [("ljspeech", "wavs"), ("common-voice", "clips")])
def test_one_level_too_high_or_low_is_understood(name, inside, tmp_path):
    make, load = ARCHIVES[name]
    root = make(tmp_path)
    assert len(load(root.parent)) == len(load(root)) == len(load(root / inside)) == 6


def test_subset_folder_alone_is_understood(tmp_path):
    root = made.librispeech(tmp_path)
    assert len(librispeech.load(root.parent)) == 9
    assert {u.split for u in librispeech.load(root / "dev-clean").utterances} == {"validation"}


# ---- Parquet folders -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """Corpus -> the folder of its hub repository."""
    folder = tmp_path_factory.mktemp("repositories")
    return {name: made.parquet(name, folder / name) for name in made.HUB}


@pytest.fixture(autouse=True)
def datasets_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def expected(name: str, index: int) -> np.ndarray:
    """The samples of row `index` of a repository, decoded without the code under test."""
    _, rate, format, _ = made.HUB[name]
    if format != "MP3":
        return made.clip(index, rate)
    decoded, _ = soundfile.read(io.BytesIO(made.encoded(index, 32_000, format)), dtype="float32")
    return audio.resample(decoded, 32_000, rate)


def check_repository(name: str, rows: list[dict]) -> None:
    """rows: id, text, normalized, speaker, split, sample_rate and sha256 of the samples, of a whole repository."""
    wanted = {
        "ljspeech": (
            "LJ001-0003",
            "It was 7 a.m.; Mr. Brown slept. 3",
            "It was 7 a.m.; Mr. Brown slept. number 3",
            "LJ",
        ),
        "librispeech": ("84-1-0003", "GO DO YOU HEAR 3", "go do you hear 3", "84"),
        "libritts": ("84_1_000003_000000", "$3", "3 dollars", "84"),
        "common-voice": (
            "common_voice_en_3",
            '"It was 7 a.m.; Mr. Brown slept.',
            '"It was 7 a.m.; Mr. Brown slept.',
            f"{3:064x}",
        ),
    }[name]
    one = next(row for row in rows if row["id"] == wanted[0])
    assert (one["id"], one["text"], one["normalized"], one["speaker"]) == wanted
    if name == "ljspeech":
        assert all(row["split"] == split_of(row["normalized"]) for row in rows) and len(rows) == 8
    else:
        assert [row["split"] for row in rows] == ["train"] * 3 + ["validation"] * 2 + ["test"] * 2
    for row in rows:
        index = int("".join(c for c in row["id"].removesuffix("_000000") if c.isdigit())[-3:])
        assert row["sample_rate"] == made.HUB[name][1]
        assert row["sha256"] == hashlib.sha256(expected(name, index).tobytes()).hexdigest()


DESCRIBE = """
import hashlib
def describe(corpus):
    return [{"id": u.id, "text": u.text, "normalized": u.normalized, "speaker": u.speaker, "split": u.split,
             "sample_rate": u.sample_rate, 
             "sha256": hashlib.sha256(u.load().tobytes()).hexdigest()} for u in corpus.utterances]
"""
exec(DESCRIBE)  # the same function here and in the process that talks to the hub


@pytest.mark.parametrize("name", made.HUB)
def test_parquet_folder(name, repositories):
    corpus = public.load(name, repositories[name])
    check_repository(name, describe(corpus))  # noqa: F821
    assert sum(len(corpus.split(split)) for split in SPLITS) == len(corpus) == len(by_id(corpus))
    copy = pickle.loads(pickle.dumps(corpus.utterances[0]))
    assert np.array_equal(copy.load(), corpus.utterances[0].load())


def test_parquet_streaming_and_splits(repositories):
    corpus = public.load("libritts", repositories["libritts"], streaming=True, limit=1)
    assert [len(corpus.split(split)) for split in SPLITS] == [1, 1, 1]
    assert np.array_equal(corpus.split("test")[0].load(), expected("libritts", 5))
    assert {
        u.split for u in public.load("libritts", repositories["libritts"], splits="dev.clean").utterances
    } == {"validation"}
    with pytest.raises(ParameterError, match="unknown split of .*'dev.claen': did you mean 'dev.clean'"):
        public.load("libritts", repositories["libritts"], splits=["dev.claen"])
    with pytest.raises(ParameterError, match="unknown configuration of .*'othr'.*Known: clean"):
        public.load("libritts", repositories["libritts"], config="othr")
    with pytest.raises(ParameterError, match="give a limit, or streaming=False"):
        public.load("libritts", repositories["libritts"], streaming=True)


def test_parquet_loading_decodes_nothing_and_a_broken_clip_is_counted(tmp_path):
    corpus = public.load("librispeech", made.parquet("librispeech", tmp_path / "broken", broken=4))
    assert len(corpus) == 7 and corpus.skipped == {}
    assert len(list(corpus.waveforms())) == 6
    assert (
        list(corpus.skipped) == ["84-1-0004"] and "84-1-0004: cannot be decoded" in corpus.skipped["84-1-0004"]
    )


def test_parquet_of_something_else(tmp_path, repositories):
    import datasets

    (tmp_path / "other").mkdir()
    datasets.Dataset.from_dict({"question": ["why?"], "id": ["1"]}).to_parquet(tmp_path / "other/train.parquet")
    lacking = "looked for an Audio column, path or file, sentence or text, client_id; found question, id"
    with pytest.raises(MissingDataError, match=lacking):
        public.load("common-voice", tmp_path / "other")
    whole = next(repositories["ljspeech"].rglob("*.parquet")).read_bytes()
    made.write(tmp_path / "cut/train.parquet", whole[: len(whole) // 2])
    with pytest.raises(MissingDataError, match="LJ Speech: .*cut cannot be read through `datasets`"):
        public.load("ljspeech", tmp_path / "cut")


def test_split_names():
    names = [
        "train",
        "train.100",
        "train.clean.360",
        "dev.other",
        "validation",
        "valid",
        "test-other",
        "partial-train",
        "validated",
        "invalidated",
        "other",
    ]
    assert [hub.split_from(name) for name in names] == (
        ["train"] * 3 + ["validation"] * 3 + ["test", "train"] + [""] * 3
    )


# ---- one call for all ------------------------------------------------------------------------------------------------


def test_public_load_finds_out_what_it_was_given(tmp_path, repositories):
    for name, (make, load) in ARCHIVES.items():
        root = make(tmp_path / name)
        assert public.kind(root) == "archive" and public.kind(str(root)) == "archive"
        assert [u.id for u in public.load(name, root).utterances] == [u.id for u in load(root).utterances]
        assert public.kind(repositories[name]) == "parquet"
    assert public.kind("openslr/librispeech_asr") == public.kind(None) == "hub"
    for path in ("~/nowhere/corpus", "/nowhere", "./no/folder", "../no-folder"):
        assert public.kind(path) == "archive"
        with pytest.raises(MissingDataError, match="no folder"):
            public.load("ljspeech", path)


def test_public_load_knows_its_names_and_options(tmp_path):
    with pytest.raises(
        ParameterError, match="unknown corpus 'lj-speech': did you mean 'ljspeech'.*Known: common-voice, "
    ):
        public.load("lj-speech", tmp_path)
    with pytest.raises(
        ParameterError, match="unknown option of libritts from archive 'subset': did you mean 'subsets'"
    ):
        public.load("libritts", made.libritts(tmp_path), subset="dev-clean")


def test_what_left_the_hub_says_where_it_went():
    with pytest.raises(
        MissingDataError,
        match="Common Voice is not on the hub: give the folder .* https://mozilladatacollective.com",
    ):
        public.load("common-voice")


# ---- the hub ---------------------------------------------------------------------------------------------------------

SCRIPTED = ("keithito/lj_speech", "somebody/common_voice_17_0")


def ask(hub_url: str, home: Path, code: str, **more: str) -> dict:
    """Run code in a process of its own, for which the hub is at `hub_url`; it leaves its answer in `answer`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {
        "HF_ENDPOINT": hub_url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
    } | more
    program = (
        f"import json\nfrom lib.corpora import public\n{DESCRIBE}\nanswer = {{}}\n{code}\n"
        "print(json.dumps(answer))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture
def server(repositories):
    server = made.Hub({made.HUB[name][0]: folder for name, folder in repositories.items()}, script=SCRIPTED)
    yield server
    server.close()


def test_every_corpus_from_the_hub(server, tmp_path):
    sources = {name: repository for name, (repository, *_) in made.HUB.items()}
    load_all = f"for name, source in {sources}.items():\n    answer[name] = describe(public.load(name, source))"
    for name, rows in ask(server.url, tmp_path, load_all).items():
        check_repository(name, rows)
        commit = made.sha(sources[name], sources[name] in SCRIPTED)
        for path in made.HUB[name][3]:  # each file came once, and what is no split not at all
            times = len(server.served(f"{sources[name]}/resolve/{commit}/{path}"))
            assert times == (0 if path.startswith("en/other") else 1), path
    # Afterwards the hub may be gone: the repositories with their own Parquet files are in the cache of `datasets`.
    server.requests.clear()
    again = ask(
        server.url,
        tmp_path,
        "answer = describe(public.load('librispeech', 'openslr/librispeech_asr'))",
        HF_HUB_OFFLINE="1",
    )
    check_repository("librispeech", again)
    assert server.requests == []


def test_a_limited_look_streams(server, tmp_path):
    answer = ask(
        server.url,
        tmp_path,
        "answer = describe(public.load('librispeech', 'openslr/librispeech_asr', "
        "splits=['train.100', 'test'], limit=2))",
    )
    assert [row["split"] for row in answer] == ["train"] * 2 + ["test"] * 2
    assert [row["sha256"] for row in answer] == [
        hashlib.sha256(expected("librispeech", i).tobytes()).hexdigest() for i in (0, 1, 5, 6)
    ]
    assert all(r[3] == 206 and r[2] for r in server.served(".parquet")) and server.served(
        "train.100/0000.parquet"
    )
    assert not server.served("validation/0000.parquet")
    assert not list(tmp_path.rglob("*.arrow")) and not list(
        tmp_path.rglob("*.parquet")
    )  # nothing was kept on disk


ERRORS = """
import time
time.sleep = lambda seconds: None  # huggingface_hub waits 23 s between its retries
from lib.errors import MissingDataError
for name in {names}:
    try:
        public.load("librispeech", name, **{options})
    except MissingDataError as error:
        answer[name] = str(error)
"""


def test_a_wrong_repository_is_one_clear_error(server, tmp_path):
    answer = ask(server.url, tmp_path, ERRORS.format(names=["openslr/librispeech"], options={}))[
        "openslr/librispeech"
    ]
    assert answer.startswith(
        "LibriSpeech: no dataset openslr/librispeech: neither a folder here nor to be had from the hub"
    )
    assert "Its own name is openslr/librispeech_asr" in answer and "https://www.openslr.org/12" in answer


@pytest.mark.parametrize("more", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["server down", "offline"])
def test_without_the_hub_one_clear_error_names_the_archive(more, tmp_path):
    down = made.Hub({})
    down.close()
    answer = ask(
        down.url, tmp_path, ERRORS.format(names=["openslr/librispeech_asr"], options={"limit": 2}), **more
    )
    text = answer["openslr/librispeech_asr"]
    assert text.startswith("LibriSpeech: cannot reach the hub for openslr/librispeech_asr (")
    assert "Without the hub, give the folder of the unpacked archive (dev-clean.tar.gz" in text
