"use strict";
// Texts become nodes by textContent and setAttribute only: nothing of the container is ever read as markup.
(function () {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data-rows").textContent);
  const rows = data.rows;
  // A row: key, the texts of the other columns, then the numbers behind four of them.
  const KEY = 0, SIZE = 7, BEHIND = { 3: 8, 4: 9, 6: 10, 7: 11 };
  const place = new Map(rows.map((row, number) => [row[KEY], number]));
  let details = null;
  let texts = null;
  let shown = rows.map((_, number) => number);
  let page = 0;
  let sorted = null;

  function node(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function drawing(name, attributes, ...children) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function counted(number, noun) {
    return number.toLocaleString("en") + " " + noun + (number === 1 ? "" : "s");
  }

  // --- the table -----------------------------------------------------------------------------------

  function linked(key, text) {
    return node("a", { href: "#object-" + key }, text);
  }

  function draw() {
    const last = Math.max(0, Math.ceil(shown.length / data.at_once) - 1);
    page = Math.min(page, last);
    const first = page * data.at_once;
    const visible = shown.slice(first, first + data.at_once);
    const made = visible.map((number) => {
      const row = rows[number];
      const line = node("tr", {}, node("th", { scope: "row" }, linked(row[KEY], row[KEY].slice(0, 8))));
      for (let column = 1; column <= SIZE; column++) {
        line.append(node("td", column in BEHIND ? { class: "number" } : {}, row[column]));
      }
      return line;
    });
    byId("rows").replaceChildren(...made);
    byId("pages").hidden = last === 0;
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === last;
    byId("page").textContent = "page " + (page + 1) + " of " + (last + 1);
    const of = shown.length === rows.length ? "" : " of " + rows.length.toLocaleString("en");
    const range = last === 0 ? "" : "; " + (first + 1).toLocaleString("en") + " to " +
      (first + visible.length).toLocaleString("en") + " are shown";
    byId("status").textContent = (of ? shown.length.toLocaleString("en") + of + " objects" :
      counted(rows.length, "object")) + range;
  }

  function choose() {
    texts = texts || rows.map((row) => row.slice(0, SIZE + 1).join(" ").toLowerCase());
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = byId("class").value;
    shown = [];
    for (let number = 0; number < rows.length; number++) {
      if (wanted && rows[number][1] !== wanted) continue;
      if (words.every((word) => texts[number].includes(word))) shown.push(number);
    }
    arrange();
    page = 0;
    draw();
  }

  function arrange() {
    if (sorted === null) return;
    const column = BEHIND[sorted.column] || sorted.column;
    const sign = sorted.descending ? -1 : 1;
    const isNumber = column > SIZE;
    shown.sort((a, b) => {
      const mine = rows[a][column], other = rows[b][column];
      const empty = (mine === null || mine === "") - (other === null || other === "");
      if (empty) return empty;  // what has no value comes last, in either direction
      const order = isNumber ? mine - other : mine < other ? -1 : mine > other ? 1 : 0;
      return order * sign || a - b;
    });
  }

  for (const button of document.querySelectorAll("#objects-table thead button")) {
    button.addEventListener("click", () => {
      const column = Number(button.dataset.column);
      sorted = { column, descending: sorted !== null && sorted.column === column && !sorted.descending };
      for (const heading of document.querySelectorAll("#objects-table thead th")) {
        heading.setAttribute("aria-sort", "none");
      }
      button.parentElement.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
      arrange();
      page = 0;
      draw();
    });
  }
  byId("filter").addEventListener("input", choose);
  byId("class").addEventListener("change", choose);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("previous").addEventListener("click", () => { page--; draw(); });
  byId("next").addEventListener("click", () => { page++; draw(); });

  // --- one object ----------------------------------------------------------------------------------

  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

  function curve(digits, style) {
    const n = digits.length / 2;
    let path = "";
    for (let i = 0; i < n; i++) {
      const height = (DIGITS.indexOf(digits[2 * i]) * 64 + DIGITS.indexOf(digits[2 * i + 1])) / 4095;
      path += (i ? "L" : "M") + (n > 1 ? (i / (n - 1)) * 200 : 100).toFixed(1) + " " + (96 - height * 92).toFixed(1);
    }
    return drawing("path", { class: style, d: path });
  }

  function histogram(digits) {
    const made = drawing("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    const height = 92 / digits.length;
    for (let i = 0; i < digits.length; i++) {
      made.append(drawing("rect", {
        class: "column", x: "0", y: (96 - (i + 1) * height).toFixed(2), height: (height * 0.88).toFixed(2),
        width: ((DIGITS.indexOf(digits[i]) / 63) * 100).toFixed(1),
      }));
    }
    return made;
  }

  function plotted([name, mean, facts, low, high, trace, running, counts]) {
    if (trace === undefined) {
      return node("figure", {}, node("figcaption", {}, name, node("span", { class: "mean" }, mean)));
    }
    const lines = drawing("svg", {
      viewBox: "0 0 200 100", preserveAspectRatio: "none", role: "img",
      "aria-label": name + ": values, running average and histogram, between " + low + " and " + high,
    }, curve(trace, "trace"), curve(running, "running"));
    return node("figure", {},
      node("figcaption", {}, name, node("span", { class: "mean" }, mean), node("span", {}, facts)),
      node("div", { class: "curve" }, node("div", { class: "ends" }, node("span", {}, high), node("span", {}, low)),
        lines, histogram(counts)));
  }

  function documentOf(lines) {
    const made = node("pre", { class: "document", tabindex: "0" });
    for (const line of lines) {
      const key = line.slice(line.lastIndexOf(" ") + 1);
      if (place.has(key)) made.append(line.slice(0, line.length - key.length), linked(key, key), "\n");
      else made.append(line + "\n");
    }
    return made;
  }

  function filesOf(found) {
    const head = node("tr", {});
    for (const text of ["File", "Size", "Stored", "Codec", "BLAKE3"]) {
      head.append(node("th", { scope: "col", ...(text === "Size" || text === "Stored" ? { class: "number" } : {}) }, text));
    }
    const body = node("tbody");
    for (const [name, size, stored, codec, digest] of found.files) {
      body.append(node("tr", {}, node("th", { scope: "row" }, name), node("td", { class: "number" }, size),
        node("td", { class: "number" }, stored), node("td", {}, codec),
        node("td", {}, node("code", { title: digest }, digest.slice(0, 16)))));
    }
    const table = node("table", {}, node("caption", {}, "Files"), node("thead", {}, head), body);
    return node("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Files" }, table);
  }

  // --- its structure -------------------------------------------------------------------------------

  function unpacked(text, format) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format)));
  }

  // The frames of a line, each as the text of a PDB file.
  async function framesOf(place) {
    const [names, , ...packed] = byId("data-structures").textContent.split("\n")[place].split(" ");
    const [step, ...least] = packed.slice(0, 4).map(Number);
    const text = await unpacked(byId("data-names").textContent.split("\n")[names], "deflate").text();
    const atoms = text.split("\n").slice(0, -1);
    const bytes = new Uint8Array(await unpacked(packed[4], "deflate").arrayBuffer());
    const planes = atoms.length * 3, frames = [];
    for (let start = 0; start < bytes.length; start += 2 * planes) {
      const at = [0, 0, 0];
      frames.push(atoms.map((atom, number) => {
        let line = atom.slice(0, 30);
        for (let axis = 0; axis < 3; axis++) {
          const low = start + number * 3 + axis, between = bytes[low] | (bytes[low + planes] << 8);
          at[axis] += between & 1 ? -(between + 1) / 2 : between / 2;
          line += (least[axis] + at[axis] * step).toFixed(2).padStart(8);
        }
        return line + " ".repeat(22) + atom.slice(30);
      }).join("\n"));
    }
    return frames;
  }

  let viewer = null;
  // One stage for all structures, one after another: a browser has only so many contexts to draw in.
  let stage = null, show = null;

  // The viewer runs only once somebody wants to see a structure. It counts as the page's own script, by its digest.
  function loaded() {
    viewer = viewer || unpacked(byId("viewer").textContent, "gzip").text().then((code) => {
      document.head.append(node("script", {}, code));
      if (!window.$3Dmol) throw new Error("the viewer does not run");
      return window.$3Dmol;
    });
    return viewer;
  }

  const STYLES = {
    "Balls and sticks": () => ({ stick: { radius: 0.12 }, sphere: { scale: 0.22 } }),
    "Lines": () => ({ line: {} }),
    "Spheres": () => ({ sphere: {} }),
    "Cartoon": () => ({ cartoon: { color: "spectrum" } }),
  };
  const AMINO_ACIDS = "ALA ARG ASN ASP CYS GLN GLU GLY HIS HIE HID HIP ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split(" ");

  function turning(text, label, action) {
    const button = node("button", { type: "button", "aria-label": label, title: label }, text);
    button.addEventListener("click", () => { action(); show.render(); });
    return button;
  }

  // A slider and a button to go through the frames of a trajectory; the first place is that of the structure.
  function playing(name, numbers, total, trajectory, go) {
    const slider = node("input", { type: "range", id: "frame", min: "0", max: String(numbers.length), value: "0" });
    const play = node("button", { type: "button" }, "Play");
    const said = node("output", { for: "frame" });
    let timer = null;
    const turn = () => {
      const place = Number(slider.value);
      const text = place ? "frame " + (numbers[place - 1] + 1) + " of " + total.toLocaleString("en") : name;
      said.textContent = text;
      slider.setAttribute("aria-valuetext", text);
      go(place);
    };
    const stop = () => {
      clearTimeout(timer);
      timer = null;
      play.textContent = "Play";
    };
    slider.addEventListener("input", () => { stop(); turn(); });
    play.addEventListener("click", () => {
      if (timer !== null) return stop();
      play.textContent = "Stop";
      const next = () => {
        if (!slider.isConnected || !dialog.open) return stop();
        slider.value = String(Number(slider.value) % numbers.length + 1);
        turn();
        // Counted from when it is drawn: a large frame takes the time that it takes.
        timer = setTimeout(next, 150);
      };
      next();
    });
    turn();
    return node("div", { class: "frames" }, play, node("label", { for: "frame" }, "Frames of " + trajectory), slider, said);
  }

  async function view([at, name, note, at_frames, numbers, total, trajectory], frame) {
    const said = node("p", { role: "status" }, "The viewer is being loaded ...");
    frame.replaceChildren(said);
    try {
      const [library, [text], frames] = await Promise.all(
        [loaded(), framesOf(at), at_frames === undefined ? [] : framesOf(at_frames)]);
      stage = stage || node("div", { class: "stage", role: "img" });
      stage.setAttribute("aria-label", "Structure of " + name + ", " + note);
      frame.replaceChildren(stage);
      if (!show) {
        const canvas = document.createElement("canvas");
        if (!canvas.getContext("webgl2") && !canvas.getContext("webgl")) throw new Error("WebGL is not available");
        // Without a background of its own it fits light, dark and paper.
        show = library.createViewer(stage, { backgroundAlpha: 0, antialias: true });
        // The viewer's own watcher would also draw in no space, where the stage is not in the page.
        show.divwatcher.disconnect();
        new ResizeObserver(() => { if (stage.clientWidth > 0) show.resize(); }).observe(stage);
      }
      show.clear();
      show.resize();
      let model = show.addModel(text, "pdb", { keepH: true });
      const isProtein = model.selectedAtoms({ resn: AMINO_ACIDS, atom: "CA" }).length > 3;
      const styles = node("select", { id: "style" });
      const dress = () => {
        show.setStyle({}, STYLES[styles.value]());
        if (styles.value === "Cartoon") show.addStyle({ not: { resn: AMINO_ACIDS } }, STYLES["Lines"]());
        show.render();
      };
      for (const style of Object.keys(STYLES)) if (isProtein || style !== "Cartoon") styles.append(node("option", {}, style));
      if (isProtein) styles.value = "Cartoon";
      styles.addEventListener("change", dress);
      // Bonds are looked for anew: molecules that cross the box are drawn on its other side.
      if (frames.length) frame.append(playing(name, numbers, total, trajectory, (place) => {
        show.removeModel(model);
        model = show.addModel(place ? frames[place - 1] : text, "pdb", { keepH: true });
        dress();
      }));
      frame.append(node("div", { class: "buttons turning" },
        turning("←", "Turn to the left", () => show.rotate(-15, "y")),
        turning("→", "Turn to the right", () => show.rotate(15, "y")),
        turning("↑", "Turn upwards", () => show.rotate(-15, "x")),
        turning("↓", "Turn downwards", () => show.rotate(15, "x")),
        turning("+", "Closer", () => show.zoom(1.25)),
        turning("−", "Farther", () => show.zoom(0.8)),
        node("label", { for: "style" }, "Drawn as"), styles),
      node("p", { class: "hint" }, "Drag to turn, scroll to come closer."));
      dress();
      show.zoomTo();
      show.render();
      stage.viewer = show;
    } catch (problem) {
      said.textContent = "This browser cannot draw the structure: " + (problem.message || problem);
      frame.replaceChildren(said);
    }
  }

  function structureOf(found) {
    const frame = node("div", { class: "structure" });
    const button = node("button", { type: "button" }, "Show in 3D");
    button.addEventListener("click", () => view(found, frame));
    frame.append(button);
    return [node("h3", {}, "Structure"), node("p", {}, found[1] + ", " + found[2]), frame];
  }

  function contentOf(number) {
    details = details || byId("data-details").textContent.split("\n");
    const found = JSON.parse(details[number]);
    const row = rows[number];
    const parts = [];
    const facts = node("dl", { class: "facts" });
    const listed = [["class", found.type || found.class], ["stored", found.stored], ["substance", row[2]],
      ["state", [row[3], row[4], row[5]].filter(Boolean).join(", ")]];
    for (const [name, text] of listed) if (text) facts.append(node("dt", {}, name), node("dd", {}, text));
    parts.push(facts);
    if (found.problem) parts.push(node("p", { class: "problem" }, found.problem));
    if (found.left_out) parts.push(node("p", {}, "The rest is left out, to keep this page small."));
    if (found.structure) parts.push(...structureOf(found.structure));
    if (found.series && found.series.length) {
      parts.push(node("h3", {}, "Observables"));
      if (found.series.some((one) => one.length > 2)) {
        parts.push(node("p", {}, "Thin: the values. Thick: their running average. At the right: their histogram, on the same scale."));
      } else {
        parts.push(node("p", {}, "The curves are left out, to keep this page small."));
      }
      parts.push(node("div", { class: "series" }, ...found.series.map(plotted)));
      if (found.more_series) parts.push(node("p", {}, "There are more, which are left out here."));
    }
    if (found.lines && found.lines.length) parts.push(node("h3", {}, "Document"), documentOf(found.lines));
    if (found.files && found.files.length) parts.push(filesOf(found));
    if (found.more_files) parts.push(node("p", {}, "and " + counted(found.more_files, "more file")));
    return parts;
  }

  const dialog = byId("object");
  let current = -1;

  function open(number) {
    current = number;
    byId("object-title").textContent = rows[number][KEY];
    byId("object-content").replaceChildren(...contentOf(number));
    const at = shown.indexOf(number);
    byId("before").disabled = at <= 0;
    byId("after").disabled = at < 0 || at === shown.length - 1;
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }

  function follow() {
    const key = location.hash.startsWith("#object-") ? location.hash.slice(8) : "";
    if (place.has(key)) open(place.get(key));
    else if (dialog.open) dialog.close();
  }

  function turn(step) {
    const at = shown.indexOf(current) + step;
    if (at >= 0 && at < shown.length) location.replace("#object-" + rows[shown[at]][KEY]);
  }

  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#object-")) history.replaceState(null, "", location.pathname + location.search);
  });
  window.addEventListener("hashchange", follow);
  draw();
  follow();
})();
