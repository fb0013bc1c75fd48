"""Progress in a headless run is a few log lines, in a watched one a bar; the items pass through untouched."""

import logging

from lib import progress


def test_headless_progress_is_one_line_at_the_end(monkeypatch, caplog):
    monkeypatch.setenv("SPEECH_HEADLESS", "1")
    caplog.set_level("INFO")
    assert list(progress.track(iter("abc"), "letters", total=3)) == ["a", "b", "c"]
    assert [record.getMessage().rsplit(" in ", 1)[0] for record in caplog.records] == ["letters: 3 done"]


def test_headless_progress_says_how_long_is_left(monkeypatch, caplog):
    monkeypatch.setenv("SPEECH_HEADLESS", "1")
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    clock = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    caplog.set_level("INFO")
    list(progress.track([1, 2, 3, 4], "work"))
    assert caplog.records[0].getMessage() == "work: 1 of 4, 3 s left"


def test_watched_progress_is_a_bar(monkeypatch, capsys):
    monkeypatch.delenv("SPEECH_HEADLESS", raising=False)
    assert list(progress.track([1, 2], "bars")) == [1, 2]
    assert "bars" in capsys.readouterr().out


def test_log_lines_reach_the_terminal_in_headless_runs_only(monkeypatch, capsys):
    logger = logging.getLogger("lib")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.delenv("SPEECH_HEADLESS", raising=False)
    progress.log_steps()
    assert not logger.handlers
    monkeypatch.setenv("SPEECH_HEADLESS", "1")
    progress.log_steps()
    progress.log_steps()
    assert len(logger.handlers) == 1
    logger.setLevel(logging.NOTSET)
