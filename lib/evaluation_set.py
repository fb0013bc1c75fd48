"""What was heard, how was it made, what did the judges say? The clips of a run as a data set that others can load.

    ./run_all.sh dataset quick        # outputs/quick/results and audio -> outputs/quick/dataset

`datasets.load_dataset(folder)` reads it without a script and without a network:

    README.md              the datasheet (`evaluation_card`)
    clips.parquet          a row for each clip: its sound, who speaks what, with which seed and weights, under which
                           licence, and its scores
    clips/*.flac           the same clips to listen to, at one loudness, with the same columns in metadata.jsonl
    measurements.jsonl     every row of the run
    environment.json       machine, versions and seed of each notebook

It appears when it is whole: a run that is stopped leaves no folder, and an older one stays until the new one is there.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lib import REPOSITORY, audio, params
from lib.errors import MissingDataError, OutputError, ParameterError, SpeechError, require
from lib.evaluation_card import Facts, card, text_licence
from lib.files import write_atomic
from lib.measure.scorer import Scorer, source
from lib.measure.scores import ClipScores
from lib.report.collect import Clip, Findings, Row, collect
from lib.systems import licences

log = logging.getLogger(__name__)

SCORES = ("wer", "asr_nll", "mos_predicted", "dnsmos_ovrl")
_TYPES = {  # of columns that hold no text
    **dict.fromkeys(("seed", "sample_rate", "word_errors", "words"), "int64"),
    **dict.fromkeys(("seconds", *SCORES), "float64"),
}
_MARK = "clips/metadata.jsonl"  # what tells a folder of ours from somebody's own


def build(
    profile_folder: str | Path,
    out: str | Path | None = None,
    *,
    scorer: Scorer | None = None,
    scores: Sequence[str] = SCORES,
    replace: bool = False,
) -> Path:
    """Write the data set of outputs/<profile> and return its folder, by default outputs/<profile>/dataset.

    scores: computed of every clip, `()` for none; replace: whether an older data set there makes way for this one.
    Raises MissingDataError where the run kept no clips, OutputError where the folder holds something else.
    """
    folder = Path(profile_folder)
    out = Path(out) if out else folder / "dataset"
    findings = collect(folder)
    if not findings.clips:
        raise MissingDataError(
            f"no clips under {folder / 'audio'}: run ./run_all.sh {folder.name} first (`keep_clips` of 01_baselines "
            "says how many it keeps)"
        )
    _check_free(out, replace)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise OutputError(f"cannot write beside {out}: {error.strerror}; choose another folder") from error
    try:
        _fill(draft, findings, scorer or Scorer(), scores)
        _put(draft, out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}; free some space") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def offered(profile_folder: str | Path, scorer: Scorer) -> tuple[Path | None, str]:
    """As `build` in the place of an older one, and what came of it in a sentence: also where there are no clips yet."""
    try:
        made = build(profile_folder, scorer=scorer, replace=True)
    except MissingDataError as error:
        return None, f"No data set: {error}."
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file()) / 1e6
    count = sum(1 for _ in (made / "clips").glob("*.flac"))
    return made, f"{count} clips with their scores in `{made.name}`, {size:.1f} MB."


def lines(clips: Sequence[Clip], scorer: Scorer, scores: Sequence[str] = SCORES) -> list[dict[str, object]]:
    """The metadata of clips, a dictionary each, `file_name` first; a score that is not defined for a clip is None."""
    sounds = [audio.load(clip.path) for clip in clips]
    judged = _judge(clips, sounds, scorer, scores)
    made = []
    for clip, (waveform, rate), found in zip(clips, sounds, judged):
        made.append(
            {
                "file_name": f"{clip.notebook}__{clip.path.name}",
                **{name: getattr(clip, name) for name in ("system", "variant", "target", "sentence", "text")},
                "group": clip.group,
                "note": clip.note,
                "notebook": clip.notebook,
                "seed": int(clip.seed) if clip.seed else None,
                "fingerprint": clip.fingerprint,
                "sample_rate": rate,
                "seconds": round(len(waveform) / rate, 3),
                "sha256": hashlib.sha256(clip.path.read_bytes()).hexdigest(),
                "licence": licences.of(clip.system, clip.variant),
                "text_source": text_licence(clip.sentence),
                **_score_columns(found, scores),
            }
        )
    return made


def _judge(
    clips: Sequence[Clip], sounds: Sequence[tuple], scorer: Scorer, scores: Sequence[str]
) -> list[ClipScores | None]:
    """The scores of every clip; of one without a text those that need none."""
    found: list[ClipScores | None] = [None] * len(clips)
    for with_text in (True, False):
        chosen = [i for i, clip in enumerate(clips) if bool(clip.text.strip()) is with_text]
        wanted = [name for name in scores if with_text or name not in ("wer", "asr_nll")]
        if chosen and wanted:
            given = [(*sounds[i], clips[i].text if with_text else None) for i in chosen]
            for i, one in zip(chosen, scorer.rate_all(given, metrics=wanted)):
                found[i] = one
    return found


def _score_columns(found: ClipScores | None, scores: Sequence[str]) -> dict[str, object]:
    columns: dict[str, object] = {}
    for name in scores:
        if name == "wer":
            heard = found.recognition if found else None
            columns["wer"] = round(heard.wer.rate, 5) if heard else None
            columns["word_errors"] = heard.wer.errors if heard else None
            columns["words"] = heard.wer.length if heard else None
            columns["transcript"] = heard.transcript if heard else None
        elif name == "asr_nll":
            columns[name] = round(found.loss.nats / found.loss.words, 5) if found and found.loss else None
        else:
            value = found.values.get(name) if found else None
            columns[name] = None if value is None else round(value, 5)
    return columns


def _parquet(described: Sequence[dict], folder: Path) -> bytes:
    """The clips with their FLAC bytes, typed as `datasets` wants them: of a plain AudioFolder it wants torchcodec
    before it loads anything (5.2).
    """
    datasets = require("datasets", "datasets==5.2.0")
    parquet = require("pyarrow.parquet", "pyarrow")
    kinds = {name: _TYPES.get(name, "string") for name in described[0] if name != "file_name"}
    features = datasets.Features(
        {"audio": datasets.Audio(decode=True)} | {name: datasets.Value(kind) for name, kind in kinds.items()}
    )
    records = [
        {**line, "audio": {"bytes": (folder / name).read_bytes(), "path": name}}
        for line in described
        if (name := str(line["file_name"]))
    ]
    buffer = io.BytesIO()
    parquet.write_table(
        require("pyarrow", "pyarrow").Table.from_pylist(records, schema=features.arrow_schema), buffer
    )
    return buffer.getvalue()


def _fill(draft: Path, findings: Findings, scorer: Scorer, scores: Sequence[str]) -> None:
    clips = sorted(findings.clips, key=lambda clip: (clip.notebook, clip.path.name))
    described = lines(clips, scorer, scores)
    for clip, line in zip(clips, described):
        write_atomic(draft / "clips" / str(line["file_name"]), clip.path.read_bytes())
    write_atomic(draft / _MARK, _jsonl(described))
    write_atomic(draft / "clips.parquet", _parquet(described, draft / "clips"))
    write_atomic(draft / "measurements.jsonl", _jsonl(_plain(row) for row in findings.rows))
    environments = json.dumps(findings.environments, indent=1, ensure_ascii=False, sort_keys=True)
    write_atomic(draft / "environment.json", environments.encode())
    write_atomic(draft / "README.md", card(_facts(findings, described, scorer, scores)).encode())
    os.chmod(draft, 0o755)  # mkdtemp makes 0700


def _facts(findings: Findings, described: Sequence[dict], scorer: Scorer, scores: Sequence[str]) -> Facts:
    def distinct(name: str) -> list[str]:
        return sorted({getattr(row, name) for row in findings.rows} - {""})

    return Facts(
        profile=findings.profile,
        clips=described,
        scores=tuple(scores),
        sources=tuple(source(name, scorer.compute_type) for name in scores),
        measurements=len(findings.rows),
        hosts=distinct("host"),
        commits=distinct("commit"),
        days=distinct("date"),
        left_out=findings.missing,
        seeds={name: told["seed"] for name, told in findings.environments.items() if "seed" in told},
    )


def _plain(row: Row) -> dict[str, object]:
    """A row as it was written, with its notebook."""
    return {k: v for k, v in dataclasses.asdict(row).items() if k != "recorded"}


def _jsonl(records) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def _check_free(out: Path, replace: bool) -> None:
    """OutputError where something stands in the way that is no data set, ParameterError where one is and may stay."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / _MARK).is_file():
        raise OutputError(
            f"{out} is there already and is no data set of clips: choose another folder with --out"
        )
    if not replace:
        raise ParameterError(
            f"{out} holds a data set already: --replace puts the new one in its place, --out another folder"
        )


def _put(draft: Path, out: Path) -> None:
    """The draft takes its place in one step; what stood there goes afterwards."""
    old = None
    if out.exists():
        old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old."))
        os.replace(out, old / out.name)
    try:
        os.rename(draft, out)
    except OSError:
        if old:
            os.replace(old / out.name, out)
        raise
    finally:
        if old:
            shutil.rmtree(old, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """`./run_all.sh dataset <profile>`: 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="run_all.sh dataset", description="The clips, texts and scores of a run as a data set."
    )
    parser.add_argument("profile", nargs="?", default="quick", help="whose run: smoke, quick, study or full")
    parser.add_argument("--out", type=Path, help="the folder to make, by default outputs/<profile>/dataset")
    parser.add_argument("--no-scores", action="store_true", help="do not score the clips (seconds each)")
    parser.add_argument("--replace", action="store_true", help="put it in the place of an older one")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        outputs = Path(os.environ.get("SPEECH_OUTPUTS") or REPOSITORY / "outputs")
        made = build(
            outputs / params.check_profile(options.profile),
            options.out,
            scorer=Scorer(threads=options.threads),
            scores=() if options.no_scores else SCORES,
            replace=options.replace,
        )
    except SpeechError as error:
        print(f"run_all.sh dataset: {error}", file=sys.stderr)
        return 2
    print(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
