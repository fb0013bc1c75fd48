#!/usr/bin/env bash
# ./run_all.sh [smoke|quick|study|full] [--only 03] [--resume]   run the notebooks, render outputs/<profile>/report.html
# ./run_all.sh test [pytest options]                             run all tests
# ./run_all.sh install                                           only make .venv and install requirements.txt
# ./run_all.sh record <profile>                                  keep a run's rows in outputs/recorded, to be committed
# ./run_all.sh dataset <profile>                                 a run's clips, texts and scores as a data set with its card
# ./run_all.sh page                                              make outputs/recorded/report.html and its pictures anew
# ./run_all.sh pdf [profile]                                     print outputs/<profile>/report.html as report.pdf beside it
# ./run_all.sh colab                                             install into the running Python, keeping its torch and numpy
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

say() { printf '%s run_all.sh: %s\n' "$(date +%H:%M:%S)" "$*" >&2; }
die() { say "$*"; exit 2; }
no_deps() { sed -n 's/^#no-deps //p' requirements.txt; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
  die "Python 3.11, 3.12 or 3.13 is needed and none was found; set PYTHON=/path/to/python"
}

# .venv is current when the stamp holds the hash of what was installed; an interrupted install leaves no stamp and is repeated.
install() {
  local stamp=.venv/.installed wanted
  wanted="$(cat requirements.txt pyproject.toml | cksum)"
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
  [ -x .venv/bin/python ] || "$(find_python)" -m venv .venv || die "cannot make .venv (on Debian and Ubuntu: apt-get install python3-venv)"
  say "installing requirements.txt into .venv (about 3 GB on disk; minutes, once)"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
  # shellcheck disable=SC2046  # one argument per package
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps $(no_deps)
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
  printf '%s\n' "$wanted" > "$stamp"
  say "installed"
}

# Tests drive a system Chromium. Without one, and without the right to install one, the browser tests say so and are skipped.
install_browser() {
  command -v chromium >/dev/null || command -v google-chrome >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing Chromium for the report's tests"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 \
      || say "Chromium could not be installed: the report's browser tests are skipped"
  else
    say "no Chromium: the report's browser tests are skipped (Debian, Ubuntu: sudo apt-get install chromium)"
  fi
}

case "${1:-quick}" in
  -h|--help) sed -n '2,8s/^# //p' "$0" ;;
  install) install ;;
  colab)
    python3 -m pip install --quiet $(grep -vE '^(#|torch==|numpy==|scipy==|pandas==|matplotlib==|ipykernel==|jupyterlab==|$)' requirements.txt | sed 's/ *#.*//')
    python3 -m pip install --quiet --no-deps $(no_deps) ;;
  record)
    shift
    install
    exec .venv/bin/python -m lib.recorded "$@" ;;
  dataset)
    shift
    install
    exec .venv/bin/python -m lib.evaluation_set "$@" ;;
  page)
    install
    exec .venv/bin/python -m lib.recorded page ;;
  pdf)
    shift
    install
    exec .venv/bin/python -m lib.report.pdf "$@" ;;
  test)
    shift
    install
    install_browser
    # Two processes, a file of tests at a time (-n 0: one). OpenMP's threads must not spin while they wait for each other: two of
    # them beside a busy core were five times slower so. (Notebooks let them spin: alone, waiting makes them 1.2 to 1.6 times slower.)
    export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
    # What asks for no number of threads gets one: two processes of two threads each spent a quarter of their time in waking
    # each other up (a training of small steps: 87 s of processor for what takes one thread 50).
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    exec .venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@" ;;
  *)
    install
    exec .venv/bin/python -m lib.runner "$@" ;;
esac
