"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  // An address without a host is that of the server this page came from; from a disk there is none.
  const to = data.post.startsWith("/") && !location.protocol.startsWith("http") ? "" : data.post;
  const byId = id => document.getElementById(id);
  const make = (tag, props = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), props);
    element.append(...children);
    return element;
  };

  // What is kept: one record in local storage, written at every step, so that a reload loses nothing.
  const place = "listening-" + data.test + "-" + data.group;
  let keeps = true;
  const read = () => {
    try { return JSON.parse(localStorage.getItem(place)); } catch { return null; }
  };
  const write = () => {
    try { localStorage.setItem(place, JSON.stringify(state)); } catch { keeps = false; }
    tell();
  };
  // Of pages from a disk, Chromium gives one in sixty a storage that is empty and forgets what is written (on a busy
  // machine; none of 400 pages from a server); loaded anew they have their own again. So such a page leaves a mark and
  // goes on where it finds it: else it loads itself anew, and after three times in vain says that nothing is kept. The
  // window's name counts: it lasts as long as the tab; where even that is lost, nothing is loaded twice.
  const forgets = () => {
    if (location.protocol !== "file:") return false;
    try {
      if (localStorage.getItem(place + "-seen")) return false;
      localStorage.setItem(place + "-seen", "yes");
    } catch { keeps = false; return false; } // forbidden: no reload helps
    return true;
  };
  const loads = /^listening-(\d)$/.exec(name);
  if (!forgets()) name = "listening-0";
  else if (loads ? loads[1] < 3 : performance.getEntriesByType("navigation")[0].type !== "reload") {
    name = "listening-" + (loads ? Number(loads[1]) + 1 : 1);
    location.reload();
    return;
  } else keeps = false;
  const warn = text => { byId("warning").hidden = !text; byId("warning").textContent = text; };
  let state = read();
  const session = () => data.sessions[state.number - 1];
  const current = () => session()[state.ratings.length];

  // Clips: decoded when first needed.
  const urls = {};
  const url = id => {
    if (!urls[id]) {
      const bytes = Uint8Array.from(atob(data.clips[id]), character => character.charCodeAt(0));
      urls[id] = URL.createObjectURL(new Blob([bytes], {type: "audio/mpeg"}));
    }
    return urls[id];
  };
  let audios = [];
  const silence = except => audios.forEach(audio => { if (audio !== except) audio.pause(); });

  // A clip on the page: a button, how far it is, and whether it was heard to its end.
  const player = (id, title, heard, extra = []) => {
    const audio = new Audio(url(id));
    audios.push(audio);
    const button = make("button", {type: "button", className: "play"});
    const bar = make("div", {className: "bar"});
    const note = make("span", {className: "state", textContent: heard.count ? "heard" : ""});
    const box = make("div", {className: "clip" + (heard.count ? " heard" : "")}, button,
                     make("span", {className: "title", textContent: title}), ...(extra.length ? extra : [bar, note]));
    const show = () => {
      button.classList.toggle("playing", !audio.paused);
      button.setAttribute("aria-label", (audio.paused ? "Play " : "Pause ") + title.toLowerCase());
      bar.style.setProperty("--done", (100 * audio.currentTime / audio.duration || 0) + "%");
      if (!audio.paused) requestAnimationFrame(show);
    };
    // Paused before it has begun, play() fails: no error. A clip that cannot be played says so below. The others are
    // silenced at once: "play" comes later, on a busy machine after the next key, and would stop what that key began.
    button.addEventListener("click", () => {
      silence(audio);
      audio.paused ? audio.play().catch(() => {}) : audio.pause();
    });
    audio.addEventListener("play", () => { if (!audio.paused) silence(audio); show(); }); // or a media key's
    audio.addEventListener("pause", show);
    audio.addEventListener("error", () => warn("A clip cannot be played by this browser. Please try another one."));
    audio.addEventListener("ended", () => {
      note.textContent = "heard";
      box.classList.add("heard");
      heard.done();
    });
    show();
    return {box, button};
  };

  // Screens.
  const screens = ["start", "volume", "level", "rate", "end"];
  const open = name => {
    silence();
    audios = [];
    for (const screen of screens) byId(screen).hidden = screen !== name;
    const pages = state ? session().length : 0, done = state ? state.ratings.length : 0;
    byId("progress").hidden = !state || !pages;
    byId("progress").max = pages;
    byId("progress").value = done;
    byId("where").textContent = state && done < pages ? "Page " + (done + 1) + " of " + pages : "";
    byId("soFar").hidden = !done || done === pages;
    tell();
    scrollTo(0, 0);
    byId("main").focus({preventScroll: true});
  };
  const go = () => {
    if (!state) return start();
    if (!state.loud) return volume();
    const trial = current();
    if (!trial) return end();
    if (!state.draft || state.draft.trial !== trial.id) {
      const rated = trial.kind === "level" || data.method !== "mushra" ? 1 : trial.clips.length;
      state.draft = {trial: trial.id, values: Array(rated).fill(null), plays: heard(trial).map(() => 0), seconds: 0};
    }
    opened = performance.now();
    trial.kind === "level" ? level(trial) : rate(trial);
  };
  const heard = trial => trial.reference ? [...trial.clips, trial.reference] : trial.clips;

  const start = () => {
    open("start");
    const asked = Number(location.hash.slice(1));
    const many = data.sessions.length;
    byId("number").value = asked >= 1 && asked <= many ? Math.floor(asked) : 1 + Math.floor(Math.random() * many);
  };
  byId("begin").addEventListener("submit", event => {
    event.preventDefault();
    const number = Number(byId("number").value);
    const letters = [...crypto.getRandomValues(new Uint8Array(4))].map(x => x.toString(16).padStart(2, "0")).join("");
    state = {number, listener: data.group + "-" + number + "-" + letters, ratings: [], sent: {}, draft: null, loud: false};
    write();
    go();
  });

  const volume = () => {
    open("volume");
    const next = byId("volume").querySelector(".next");
    next.disabled = true;
    const clip = player(data.speech, "Clip", {count: 0, done: () => { next.disabled = false; }});
    byId("volume").querySelector(".clips").replaceChildren(clip.box);
    next.onclick = () => { state.loud = true; write(); go(); };
  };

  let opened = 0;
  const ready = () => state.draft.plays.every(Boolean) && state.draft.values.every(value => value !== null);
  const refresh = section => {
    const missing = state.draft.plays.filter(count => !count).length;
    const next = section.querySelector(".next");
    next.disabled = !ready();
    section.querySelectorAll("fieldset, input").forEach(field => { field.disabled = missing > 0; });
    section.querySelector(".hint").textContent =
      !missing ? (ready() ? "" : state.draft.values.length > 1 ? "Move every slider." : "Now answer.")
      : state.draft.plays.length === 1 ? "Play the clip to its end first."
      : missing === 1 ? "Play one more clip to its end first." : "Play each clip to its end first.";
  };
  const clips = (section, trial, title, extra = () => []) => {
    const boxes = trial.clips.map((id, index) => player(id, title(index), {
      count: state.draft.plays[index],
      done: () => { state.draft.plays[index] += 1; write(); refresh(section); },
    }, extra(index)));
    if (trial.reference) {
      const index = trial.clips.length;
      boxes.unshift(player(trial.reference, "Reference", {
        count: state.draft.plays[index],
        done: () => { state.draft.plays[index] += 1; write(); refresh(section); },
      }));
    }
    section.querySelector(".clips").replaceChildren(...boxes.map(box => box.box));
  };
  const answer = (section, index, value) => { state.draft.values[index] = value; write(); refresh(section); };
  const next = () => {
    if (!state || !state.draft || !ready()) return;
    const {trial, values, plays, seconds} = state.draft;
    state.ratings.push({
      trial, clips: current().clips, values, plays, seconds: Math.round(seconds + (performance.now() - opened) / 1000),
      at: new Date().toISOString(),
    });
    state.draft = null;
    write();
    go();
    send();
  };

  const level = trial => {
    const section = byId("level"), count = byId("count");
    open("level");
    clips(section, trial, () => "Tones");
    count.value = state.draft.values[0] ?? "";
    count.oninput = () => {
      const whole = count.value !== "" && count.checkValidity() && Number.isInteger(Number(count.value));
      answer(section, 0, whole ? Number(count.value) : null);
    };
    refresh(section);
    section.querySelector(".next").onclick = next;
  };

  const rate = trial => {
    const section = byId("rate"), scale = section.querySelector(".scale"), keys = section.querySelector(".keys");
    open("rate");
    section.className = data.method;
    const press = (...names) => names.map(name => make("kbd", {textContent: name}));
    if (data.method === "mushra") {
      clips(section, trial, index => "Clip " + (index + 1), index => {
        const value = state.draft.values[index];
        const shown = make("output", {textContent: value ?? "–"});
        const slider = make("input", {type: "range", min: 0, max: 100, step: 1, value: value ?? 50});
        slider.setAttribute("aria-label", "Clip " + (index + 1) + ", from 0 bad to 100 excellent");
        const set = () => { shown.textContent = slider.value; answer(section, index, Number(slider.value)); };
        slider.addEventListener("input", set);
        slider.addEventListener("change", set);
        return [slider, shown];
      });
      const marks = make("div", {className: "marks"}, ...data.scale.map(([, label]) => make("span", {textContent: label})));
      marks.setAttribute("aria-hidden", "true");
      section.querySelector(".clips").append(marks);
      scale.hidden = true;
      keys.replaceChildren("Keys: ", ...press("R"), " the reference, ", ...press("1"), " … the clips, arrows move a slider, ",
                           ...press("Enter"), " next");
    } else {
      const two = trial.clips.length === 2;
      clips(section, trial, index => two ? ["First", "Second"][index] : "Clip");
      scale.style.setProperty("--steps", data.scale.length);
      scale.replaceChildren(scale.firstElementChild, ...data.scale.map(([value, label], index) => {
        const input = make("input", {type: "radio", name: "value", value, checked: state.draft.values[0] === value});
        input.addEventListener("change", () => answer(section, 0, value));
        const digit = make("b", {textContent: data.method === "acr" ? value : index + 1});
        digit.setAttribute("aria-hidden", "true");
        return make("label", {className: "choice"}, input, digit, make("span", {textContent: label}));
      }));
      keys.replaceChildren("Keys: ", ...(two ? [...press("A"), " and ", ...press("B")] : press("Space")), " play, ", ...press("1"), " to ",
                           ...press(String(data.scale.length)), " rate, ", ...press("Enter"), " next");
    }
    refresh(section);
    section.querySelector(".next").onclick = next;
  };

  const end = () => {
    open("end");
    tell();
  };

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const section = screens.map(byId).find(screen => !screen.hidden);
    if (!section || section.id === "start" || section.id === "end") return;
    const plays = [...section.querySelectorAll(".play")];
    const typing = event.target.matches("input[type=number]");
    const key = event.key.toLowerCase();
    const stop = () => event.preventDefault();
    const here = event.target.closest("button");
    if (key === "enter" && !here) {
      const button = section.querySelector(".next");
      if (!button.disabled) { stop(); button.click(); }
    } else if (key === " " && !here && plays.length) {
      stop();
      (plays.find(button => !button.closest(".heard")) || plays[0]).click();
    } else if (typing || section.id !== "rate") {
      return;
    } else if (key === "r" && data.method === "mushra") {
      plays[0].click();
    } else if ("ab".includes(key) && plays.length === 2 && data.method !== "mushra") {
      plays["ab".indexOf(key)].click();
    } else if (/^[1-9]$/.test(key)) {
      const index = Number(key) - 1;
      if (data.method === "mushra") {
        if (plays[index + 1]) { plays[index + 1].click(); plays[index + 1].closest(".clip").querySelector("input").focus(); }
      } else {
        const choice = section.querySelectorAll(".scale input")[index];
        if (choice && !choice.disabled && !choice.closest("fieldset").disabled) { choice.focus(); choice.click(); }
      }
    }
  });

  // Sending: one rating at a time, again and again until the server has it; it takes each one once.
  let sending = false, again = 0;
  const waiting = () => to && state ? state.ratings.filter(rating => !state.sent[rating.trial]) : [];
  const send = async () => {
    if (sending || !state) return;
    sending = true;
    clearTimeout(again);
    let pause = 1000;
    for (let rating; (rating = waiting()[0]);) {
      const outcome = await post(rating);
      if (outcome.settled) {
        state.sent[rating.trial] = outcome.settled;
        write();
        pause = 1000;
      } else {
        await new Promise(done => { wake = done; again = setTimeout(done, outcome.after || pause); });
        pause = Math.min(2 * pause, 30000);
      }
    }
    sending = false;
    tell();
  };
  let wake = () => {};
  const post = async rating => {
    const abort = new AbortController();
    const limit = setTimeout(() => abort.abort(), 10000);
    try {
      const reply = await fetch(to, {
        method: "POST", signal: abort.signal, headers: {"Content-Type": "application/json"},
        body: JSON.stringify({...identity(), rating}),
      });
      if (reply.ok || reply.status === 409) return {settled: "kept"};
      if ([400, 404, 413].includes(reply.status)) return {settled: "refused"};
      return {after: 1000 * Number(reply.headers.get("Retry-After"))};
    } catch {
      return {};
    } finally {
      clearTimeout(limit);
    }
  };
  addEventListener("online", () => wake());

  const identity = () => ({
    format: "listening-test/1", test: data.test, group: data.group, number: state.number, listener: state.listener,
  });
  const tell = () => {
    const done = state ? state.ratings.length : 0, left = waiting().length;
    const refused = state ? Object.values(state.sent).filter(how => how === "refused").length : 0;
    byId("kept").textContent = !done ? "" : !to || left || refused
      ? (keeps ? "Your answers are kept on this device." : "") + (left ? " " + left + " still to be sent." : "")
        + (refused ? " The server refused " + refused + "." : "")
      : "Your answers have arrived.";
    if (!keeps) warn("This browser keeps nothing: please stay on this page until the end, then save your answers.");
    const arrived = to && !left && !refused;
    byId("outcome").textContent = arrived ? "All your answers have arrived. You can close this page."
      : to && left ? "Some answers are still on their way. Please keep this page open, or save your answers and send us the file."
      : "Please save your answers and send the file to whoever invited you.";
    byId("whatfor").textContent = arrived ? "A copy for yourself, if you like." : "The file holds your ratings and no name.";
  };
  addEventListener("beforeunload", event => { if (state && !keeps && state.ratings.length) event.preventDefault(); });

  // Another tab of the same session went on: follow it, instead of writing over what it kept.
  addEventListener("storage", event => {
    if (event.key === place) { state = read(); go(); }
  });

  // Saving: the same answers as JSON or as a table.
  const save = kind => {
    const table = [["test", "group", "number", "listener", "trial", "clips", "values", "plays", "seconds", "at"]];
    for (const r of state.ratings) {
      table.push([data.test, data.group, state.number, state.listener, r.trial, r.clips.join(" "), r.values.join(" "),
                  r.plays.join(" "), r.seconds, r.at]);
    }
    const text = kind === "json" ? JSON.stringify({...identity(), ratings: state.ratings}, null, 1)
      : table.map(line => line.join(",")).join("\r\n") + "\r\n";
    const link = make("a", {
      href: URL.createObjectURL(new Blob([text], {type: kind === "json" ? "application/json" : "text/csv"})),
      download: "ratings-" + state.listener + "." + kind,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  document.querySelectorAll("[data-save]").forEach(button =>
    button.addEventListener("click", () => save(button.dataset.save)));

  go();
  send();
})();
