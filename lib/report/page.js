"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const clock = s => Math.floor(s / 60) + ":" + String(Math.floor(s % 60)).padStart(2, "0");
  const make = (tag, props) => Object.assign(document.createElement(tag), props);

  // Players: one button and one slider per place, all driving the page's only copy of the clip.
  document.querySelectorAll(".clip").forEach(place => {
    const audio = place.querySelector("audio") || document.getElementById(place.dataset.clip);
    if (!audio) return;
    const label = place.dataset.label || audio.dataset.label;
    const length = () => isFinite(audio.duration) && audio.duration ? audio.duration : Number(audio.dataset.seconds);
    const button = make("button", {type: "button", className: "play"});
    const slider = make("input", {type: "range", min: 0, max: length(), step: 0.01, value: 0});
    const time = make("span", {className: "time", textContent: clock(length())});
    slider.setAttribute("aria-label", "Position in " + label);
    const show = () => {
      const playing = !audio.paused;
      button.classList.toggle("playing", playing);
      button.setAttribute("aria-label", (playing ? "Pause " : "Play ") + label);
      slider.max = length();
      slider.value = audio.currentTime;
      slider.style.setProperty("--done", (100 * audio.currentTime / length() || 0) + "%");
      slider.setAttribute("aria-valuetext", clock(audio.currentTime) + " of " + clock(length()));
      time.textContent = clock(audio.currentTime || length());
    };
    let frame = 0;
    const follow = () => { show(); frame = audio.paused ? 0 : requestAnimationFrame(follow); };
    button.addEventListener("click", () => audio.paused ? audio.play() : audio.pause());
    slider.addEventListener("input", () => { audio.currentTime = Number(slider.value); show(); });
    audio.addEventListener("play", () => { if (!frame) follow(); });
    ["pause", "ended", "seeked", "loadedmetadata"].forEach(name => audio.addEventListener(name, show));
    audio.addEventListener("ended", () => { audio.currentTime = 0; });
    audio.controls = false;
    place.querySelectorAll("a").forEach(link => link.remove());
    place.append(button, slider, time);
    show();
  });
  document.addEventListener("play", event => {
    document.querySelectorAll("audio").forEach(other => { if (other !== event.target) other.pause(); });
  }, true);

  // Sorting: numbers by value, best first, then the other way; rows without a number stay last.
  document.querySelectorAll("table.sortable").forEach(table => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("num");
      const first = numeric && head.dataset.better !== "-1" ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort");
      const order = now === "none" ? first : now === "ascending" ? "descending" : "ascending";
      heads.forEach(other => other.setAttribute("aria-sort", other === head ? order : "none"));
      const sign = order === "ascending" ? 1 : -1;
      const key = row => {
        const cell = row.cells[column];
        return numeric ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : cell.textContent.trim();
      };
      const body = table.tBodies[0];
      const rows = [...body.rows].map(row => [key(row), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (numeric ? a - b : a.localeCompare(b, "en", {numeric: true}));
      });
      body.append(...rows.map(([, row]) => row));
    }));
  });

  // Filter and view.
  const filter = document.getElementById("filter");
  if (filter) {
    const views = {wide: document.getElementById("wide"), long: document.getElementById("long")};
    const chosen = () => document.querySelector("input[name=view]:checked").value;
    const folds = [...views.wide.querySelectorAll("details")].map(fold => [fold, fold.open]);
    let filtered = false;
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const [name, view] of Object.entries(views)) view.hidden = name !== chosen();
      let shown = 0, all = 0;
      views[chosen()].querySelectorAll("tbody tr").forEach(row => {
        row.searched = row.searched || row.textContent.toLowerCase();
        row.hidden = !words.every(word => row.searched.includes(word));
        all += 1;
        shown += !row.hidden;
      });
      folds.forEach(([fold, open]) => {
        const any = fold.querySelector("tbody tr:not([hidden])");
        fold.hidden = !any;
        if (words.length) fold.open = Boolean(any);
        else if (filtered) fold.open = open;
      });
      filtered = words.length > 0;
      document.getElementById("matches").textContent = words.length ? shown + " of " + all + " rows" : "";
    };
    filter.addEventListener("input", apply);
    document.querySelectorAll("input[name=view]").forEach(input => input.addEventListener("change", apply));
    apply();
  }

  // On paper there is nothing to unfold.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(fold => { fold.open = true; }));
})();
