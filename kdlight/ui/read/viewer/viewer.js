// Two linked panes over one frame: window, invert, zoom, pan, heat maps, value under the pointer.
// The frame's values come once over HTTP; everything after that happens here and reruns nothing.

const ROLES = ["teacher", "student"];
const LARGEST = 64, NEAREST_FROM = 8;
const kept = new WeakMap();

export default function (component) {
  const { parentElement, data } = component;
  let viewer = kept.get(parentElement);
  if (!viewer) {
    viewer = new Viewer(parentElement);
    kept.set(parentElement, viewer);
  }
  viewer.update(data);
  return () => { viewer.close(); kept.delete(parentElement); };
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

function bytes(base64) {
  const text = atob(base64), out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

// The frame's values; null where they do not come, also at a second try.
async function load(url) {
  for (const pause of [0, 500]) {
    await new Promise((done) => setTimeout(done, pause));
    try {
      const answer = await fetch(new URL(url, document.baseURI));
      if (answer.ok) return await answer.arrayBuffer();
    } catch (error) {
      console.warn("kdlight: the picture did not come", error);
    }
  }
  return null;
}

// numpy.rint: halves go to the even neighbour.
function rint(x) {
  const low = Math.floor(x), rest = x - low;
  return rest < 0.5 ? low : rest > 0.5 ? low + 1 : low + (low & 1);
}

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

// One value to one gray level, in float32 as kdlight.modality.Window.apply computes it.
function windowed({ center, width, function: shape }) {
  if (shape === "sigmoid") {
    const slope = Math.fround(-4 / width), middle = Math.fround(center);
    return (value) => rint(255 / (1 + Math.exp(clamp(Math.fround(Math.fround(value - middle) * slope), -80, 80))));
  }
  const linear = shape === "linear" && width >= 1, span = linear ? width - 1 : width;
  const low = Math.fround(linear ? center - 0.5 - (width - 1) / 2 : center - width / 2);
  if (span <= 0) return (value) => (value > low ? 255 : 0);
  const scale = Math.fround(255 / span);
  return (value) => clamp(rint(Math.fround(Math.fround(value - low) * scale)), 0, 255);
}

function throughTable(table, first) {
  return (value) => table[clamp(rint(value) - first, 0, table.length - 1)];
}

// Inferno: a sixth-degree fit of the perceptual map, dark to bright, lightness rising all the way.
const INFERNO = [
  [0.0002189403, 0.0016510046, -0.019480898], [0.1065134194, 0.5639564367, 3.9327123888],
  [11.6024930825, -3.9728539652, -15.9423941062], [-41.7039961296, 17.4363988882, 44.354145199],
  [77.162935699, -33.4023589421, -81.8073092509], [-71.3194282449, 32.6260642634, 73.2095198580],
  [25.131126227, -12.242668953, -23.0703250090],
];
function inferno(t) {
  return [0, 1, 2].map((c) => clamp(INFERNO.reduceRight((sum, term) => sum * t + term[c], 0), 0, 1) * 255);
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.frame = element("canvas");
    this.panes = {};
    this.maps = {};
    this.tool = "window";
    this.build();
    this.resizer = new ResizeObserver(() => this.layout());
    this.resizer.observe(this.box);
    this.onresize = () => this.layout();
    window.addEventListener("resize", this.onresize);
  }

  close() {
    this.closed = true;
    this.resizer.disconnect();
    window.removeEventListener("resize", this.onresize);
    this.box.remove();
  }

  build() {
    const button = (text, title, action, name) =>
      element("button", { type: "button", title, "data-do": name, onclick: action }, text);
    this.preset = element("select", { "aria-label": "Window preset", "data-do": "preset", onchange: () => this.choosePreset() });
    const number = (name, label) => element("input", {
      type: "number", step: "any", "aria-label": label, "data-do": name, onchange: (event) => this.typedWindow(name, Number(event.target.value)),
    });
    this.center = number("center", "Window level");
    this.width = number("width", "Window width");
    this.invertButton = button("Invert", "Swap black and white (key I)", () => this.toggleInvert(), "invert");
    this.panButton = button("Pan", "Drag moves the picture (key P, or hold shift)", () => this.togglePan(), "pan");
    this.windowTools = element("span", { class: "group gray" },
      element("label", {}, "Window", this.preset),
      element("label", {}, "W", this.width), element("label", {}, "L", this.center), this.invertButton);
    this.viewTools = element("span", { class: "group" }, this.panButton,
      button("−", "Zoom out (key -)", () => this.zoomBy(1 / 1.25), "out"),
      button("+", "Zoom in (key +)", () => this.zoomBy(1.25), "in"),
      button("1:1", "One image pixel on one screen pixel (key 1)", () => this.zoomTo(1), "native"),
      button("Fit", "As large as the pane allows (key F)", () => this.fill(), "fit"),
      button("Reset", "Window and view as at first (key R, or double-click)", () => this.reset(), "reset"));
    this.opacity = element("input", {
      type: "range", min: 0, max: 1, step: 0.01, value: 0.45, "aria-label": "Heat map opacity", "data-do": "opacity",
      oninput: () => this.draw(),
    });
    this.opacityText = element("output", {}, "0.45");
    this.bar = element("canvas", { width: 256, height: 1, class: "bar", role: "img",
      "aria-label": "Color bar from did not matter, dark, to pushed the answer most, bright" });
    this.legend = element("div", { class: "legend", hidden: true },
      element("label", { class: "opacity" }, "Map opacity", this.opacity, this.opacityText),
      element("span", { class: "scale" }, element("span", {}, "did not matter"), this.bar,
        element("span", {}, "pushed the answer most")));
    this.readout = element("div", { class: "readout", "aria-live": "off" });
    const panes = element("div", { class: "panes" }, ...ROLES.map((role) => this.pane(role)));
    this.problem = element("div", { class: "problem", role: "alert", hidden: true },
      "The picture did not arrive from the server. Reload the page.");
    this.box = element("div", { class: "viewer" },
      element("div", { class: "toolbar" }, this.windowTools, this.viewTools), this.problem, panes, this.legend,
      this.readout);
    this.root.append(this.box);
    this.drawBar();
  }

  pane(role) {
    const canvas = element("canvas", { tabindex: 0, role: "img", "data-role": role });
    const pane = {
      canvas, name: element("span", { class: "name" }), zoom: element("span", { class: "zoom" }),
      note: element("div", { class: "note", hidden: true }), map: null,
    };
    this.panes[role] = pane;
    canvas.addEventListener("pointerdown", (event) => this.grab(event, canvas));
    canvas.addEventListener("pointermove", (event) => this.hover(event, canvas));
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("dblclick", () => this.reset());
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(event, canvas), { passive: false });
    pane.box = element("section", { class: `pane ${role}` },
      element("header", {}, element("i", { class: "mark", "aria-hidden": "true" }), pane.name, pane.zoom),
      element("div", { class: "stage" }, canvas, pane.note));
    return pane.box;
  }

  // Draws the newest data once its picture is there; what comes while a picture loads waits for it.
  async update(next) {
    this.next = next;
    if (this.loading === next.url) return;
    if (this.loaded !== next.url) {
      this.loading = next.url;
      const buffer = await load(next.url);
      if (this.closed || this.loading !== next.url) return;
      if (buffer) this.take(this.next, buffer);
      this.loaded = buffer ? next.url : null;
      this.problem.hidden = Boolean(buffer);
    }
    this.loading = null;
    if (this.loaded) this.show(this.next);
  }

  show(data) {
    const fresh = !this.data || this.data.scan !== data.scan;
    this.data = data;
    for (const role of ROLES) this.describe(role, data);
    if (fresh) document.querySelector("[data-testid=stMain]")?.scrollTo({ top: 0 });
    if (fresh || (this.lut && !this.table)) this.reset();
    else this.render();
    this.layout();
    this.box.dataset.scan = data.scan;
  }

  describe(role, data) {
    const pane = this.panes[role], given = (data.maps || {})[role];
    pane.name.textContent = data.names[role];
    pane.canvas.setAttribute("aria-label", `${data.names[role]}: ${data.label}. ${given ? given.words : "No heat map."} ` +
      "Drag or arrow keys change the window; plus and minus zoom; shift and arrows move; R resets.");
    if (given && given.id !== pane.mapId) pane.map = this.paint(given);
    if (!given) pane.map = null;
    pane.mapId = given ? given.id : null;
    pane.note.hidden = !(given && given.note);
    pane.note.textContent = given ? given.note : "";
    pane.canvas.dataset.map = given ? given.id : "";
    this.legend.hidden = !ROLES.some((name) => (data.maps || {})[name]);
  }

  paint(given) {
    const values = bytes(given.values), canvas = element("canvas", { width: given.columns, height: given.rows });
    const context = canvas.getContext("2d"), picture = context.createImageData(given.columns, given.rows);
    for (let i = 0; i < values.length; i++) {
      const t = values[i] / 255, ramp = clamp(t / 0.45, 0, 1);
      picture.data.set([...(given.gray ? [255 * t, 255 * t, 255 * t] : inferno(t)), 255 * ramp * ramp * (3 - 2 * ramp)], i * 4);
    }
    context.putImageData(picture, 0, 0);
    return { canvas, values, rows: given.rows, columns: given.columns };
  }

  take(data, buffer) {
    const kinds = { u16: Uint16Array, f32: Float32Array, rgb: Uint8Array };
    this.values = new kinds[data.kind](buffer);
    this.frame.width = data.columns;
    this.frame.height = data.rows;
    this.table = data.voi ? bytes(data.voi) : null;
    const chosen = this.preset.value;
    this.preset.replaceChildren(...data.windows.map((w, i) => element("option", { value: i }, w.name)),
      element("option", { value: "custom" }, data.custom));
    this.preset.value = chosen || "0";
    this.windowTools.hidden = data.kind === "rgb";
    if (!this.data || this.data.kind !== data.kind) this.tool = data.kind === "rgb" ? "pan" : "window";
    this.panButton.setAttribute("aria-pressed", String(this.tool === "pan"));
    this.panButton.hidden = data.kind === "rgb";
  }

  reset() {
    this.inverted = false;
    this.zoom = null;
    this.shift = [0, 0];
    if (this.data.windows.length) this.setPreset(0);
    this.render();
    this.layout();
  }

  setPreset(index) {
    const chosen = this.data.windows[index];
    this.preset.value = String(index);
    this.lut = chosen.voi === true;
    this.window = { center: chosen.center, width: chosen.width, function: chosen.function };
    this.showWindow();
  }

  choosePreset() {
    if (this.preset.value === "custom") {
      this.ownWindow(this.window.center, this.window.width);
      this.width.focus();
    } else {
      this.setPreset(Number(this.preset.value));
      this.render();
    }
  }

  ownWindow(center, width) {
    this.lut = false;
    this.window = { center, width: Math.max(width, 1e-6) };
    this.preset.value = "custom";
    this.showWindow();
    this.render();
  }

  typedWindow(name, value) {
    const { center, width } = { ...this.window, [name]: value };
    if (Number.isFinite(center) && width > 0) this.ownWindow(center, width);
    else this.showWindow();
  }

  showWindow() {
    const short = (x) => String(Number(x.toPrecision(Math.abs(x) >= 1000 ? 5 : 4)));
    this.center.value = short(this.window.center);
    this.width.value = short(this.window.width);
  }

  toggleInvert() {
    if (this.data.kind === "rgb") return;
    this.inverted = !this.inverted;
    this.render();
  }

  togglePan() {
    if (this.data.kind === "rgb") return;
    this.tool = this.tool === "pan" ? "window" : "pan";
    this.panButton.setAttribute("aria-pressed", String(this.tool === "pan"));
  }

  // The frame as a person sees it, at its own size: one canvas pixel for one image pixel.
  render() {
    if (!this.values) return;
    const { data, values } = this, context = this.frame.getContext("2d");
    const picture = context.createImageData(data.columns, data.rows), out = new Uint32Array(picture.data.buffer);
    const flip = data.kind !== "rgb" && data.inverted !== this.inverted ? 255 : 0;
    if (data.kind === "rgb") {
      for (let i = 0, j = 0; i < out.length; i++, j += 3)
        out[i] = 0xff000000 | (values[j + 2] << 16) | (values[j + 1] << 8) | values[j];
    } else {
      const level = this.lut ? throughTable(this.table, data.voi_first) : windowed(this.window);
      const gray = (value) => 0xff000000 | ((flip ? 255 - level(value) : level(value)) * 0x010101);
      if (data.kind === "u16") {
        const table = new Uint32Array(data.span + 1);
        for (let i = 0; i <= data.span; i++) table[i] = gray(i + data.offset);
        for (let i = 0; i < out.length; i++) out[i] = table[values[i]];
      } else for (let i = 0; i < out.length; i++) out[i] = gray(values[i]);
    }
    context.putImageData(picture, 0, 0);
    this.invertButton.setAttribute("aria-pressed", String(this.inverted));
    Object.assign(this.box.dataset, { center: this.window?.center ?? "", width: this.window?.width ?? "",
      inverted: String(this.inverted) });
    this.draw();
  }

  // Screen size of one image pixel at scale 1: 1 by 1, or longer one way where the file's pixels are not square.
  steps() {
    const aspect = this.data.aspect;
    return aspect >= 1 ? [1, aspect] : [1 / aspect, 1];
  }

  size(scale = 1) {
    const [across, down] = this.steps();
    return [this.data.columns * across * scale, this.data.rows * down * scale];
  }

  layout() {
    if (!this.values || this.closed) return;
    const [columns, rows] = this.size(), ratio = window.devicePixelRatio || 1;
    for (const role of ROLES) {
      const canvas = this.panes[role].canvas, wide = canvas.parentElement.clientWidth;
      if (!wide) return;
      const roof = Math.max(360, Math.min(window.innerHeight * 0.62, 960));
      const high = Math.round(clamp(wide * (rows / columns), 200, roof));
      canvas.style.height = `${high}px`;
      if (canvas.width !== Math.round(wide * ratio)) canvas.width = Math.round(wide * ratio);
      if (canvas.height !== Math.round(high * ratio)) canvas.height = Math.round(high * ratio);
    }
    this.draw();
  }

  // As large as the pane allows, and never stretched.
  fitted() {
    const { width, height } = this.panes.teacher.canvas, [wide, high] = this.size();
    return Math.min(width / wide, height / high, LARGEST);
  }

  fill() {
    this.shift = [0, 0];
    this.zoom = null;
    this.draw();
  }

  scale() { return this.zoom ?? this.fitted(); }

  origin(canvas) {
    const [wide, high] = this.size(this.scale());
    return [Math.round((canvas.width - wide) / 2 + this.shift[0]), Math.round((canvas.height - high) / 2 + this.shift[1])];
  }

  draw() {
    if (!this.values || this.pending || this.closed) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; if (!this.closed) ROLES.forEach((role) => this.drawPane(role)); });
  }

  drawPane(role) {
    const pane = this.panes[role], { canvas } = pane, context = canvas.getContext("2d");
    const scale = this.scale(), [left, top] = this.origin(canvas);
    const [wide, high] = this.size(scale), [across, down] = this.steps();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = !(scale === 1 && across === down) && scale < NEAREST_FROM;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.frame, left, top, wide, high);
    if (pane.map) {
      context.globalAlpha = Number(this.opacity.value);
      context.imageSmoothingEnabled = true;
      context.drawImage(pane.map.canvas, left, top, wide, high);
      context.globalAlpha = 1;
    }
    if (this.at) this.cross(context, left + (this.at[0] + 0.5) * scale * across, top + (this.at[1] + 0.5) * scale * down);
    this.opacityText.textContent = Number(this.opacity.value).toFixed(2);
    pane.zoom.textContent = `shown at ${Number(scale.toPrecision(2))} x`;
    canvas.dataset.scale = scale;
    canvas.dataset.left = left;
    canvas.dataset.top = top;
  }

  cross(context, x, y) {
    context.strokeStyle = "rgba(255, 255, 255, 0.85)";
    context.lineWidth = 1;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * 5, y + dy * 5);
      context.lineTo(x + dx * 11, y + dy * 11);
    }
    context.stroke();
  }

  drawBar() {
    const context = this.bar.getContext("2d"), picture = context.createImageData(256, 1);
    for (let i = 0; i < 256; i++) picture.data.set([...inferno(i / 255), 255], i * 4);
    context.putImageData(picture, 0, 0);
  }

  point(event, canvas) {
    const ratio = canvas.width / canvas.clientWidth, box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  hover(event, canvas) {
    if (!this.values || this.dragging) return;
    const [x, y] = this.point(event, canvas), [left, top] = this.origin(canvas), [wide, high] = this.size(this.scale());
    const column = Math.floor(((x - left) * this.data.columns) / wide);
    const row = Math.floor(((y - top) * this.data.rows) / high);
    const inside = column >= 0 && row >= 0 && column < this.data.columns && row < this.data.rows;
    this.at = inside ? [column, row] : null;
    this.readout.textContent = inside ? this.say(column, row) : "";
    this.draw();
  }

  leave() { this.at = null; this.readout.textContent = ""; this.draw(); }

  say(column, row) {
    const { data, values } = this, index = row * data.columns + column;
    let value;
    if (data.kind === "rgb") value = `R ${values[index * 3]} G ${values[index * 3 + 1]} B ${values[index * 3 + 2]}`;
    else {
      const number = data.kind === "u16" ? values[index] + data.offset : Number(values[index].toPrecision(4));
      value = `${number}${data.units ? ` ${data.units}` : ""}`;
    }
    const parts = [`column ${column}, row ${row}`, `value ${value}`];
    for (const role of ROLES) {
      const map = this.panes[role].map;
      if (!map) continue;
      const x = Math.floor(column * map.columns / data.columns), y = Math.floor(row * map.rows / data.rows);
      parts.push(`${role} map ${(map.values[y * map.columns + x] / 255).toFixed(2)}`);
    }
    return parts.join("   ·   ");
  }

  grab(event, canvas) {
    if (!this.values || event.button > 2) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const start = this.point(event, canvas), { center = 0, width = 1 } = this.window || {}, shift = [...this.shift];
    const pan = event.shiftKey || event.button === 1 || this.tool === "pan", zoom = event.button === 2;
    const from = this.scale(), step = Math.max(this.data.spread / 512, 1e-6);
    let last = start;
    this.dragging = true;
    const move = (next) => {
      const now = this.point(next, canvas), [dx, dy] = [now[0] - start[0], now[1] - start[1]];
      if (zoom) this.zoomTo(from * Math.exp(-dy / 200));
      else if (pan) { this.shift = [shift[0] + dx, shift[1] + dy]; this.draw(); }
      else if (now[0] !== last[0] || now[1] !== last[1]) this.ownWindow(center + dy * step, Math.max(width + dx * step, step));
      last = now;
    };
    const done = () => {
      this.dragging = false;
      canvas.removeEventListener("pointermove", move);
    };
    canvas.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, done, { once: true });
  }

  wheel(event, canvas) {
    if (!event.ctrlKey && this.root.activeElement !== canvas && document.activeElement !== canvas) return;
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 400), this.point(event, canvas), canvas);
  }

  zoomBy(factor, at, canvas) { this.zoomTo(this.scale() * factor, at, canvas); }

  // Zoom about a canvas point, else about the middle: what is under it stays under it.
  zoomTo(scale, at, canvas = this.panes.teacher.canvas) {
    if (!this.values) return;
    const from = this.scale(), to = clamp(scale, Math.min(0.05, this.fitted()), LARGEST);
    const middle = [canvas.width / 2, canvas.height / 2], [x, y] = at || middle;
    this.shift = [(x - middle[0]) * (1 - to / from) + this.shift[0] * (to / from),
      (y - middle[1]) * (1 - to / from) + this.shift[1] * (to / from)];
    this.zoom = to;
    this.draw();
  }

  key(event) {
    if (!this.values || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const keys = { "+": () => this.zoomBy(1.25), "=": () => this.zoomBy(1.25), "-": () => this.zoomBy(0.8),
      1: () => this.zoomTo(1), i: () => this.toggleInvert(), r: () => this.reset(), 0: () => this.reset(),
      p: () => this.togglePan(), f: () => this.fill() };
    const arrow = arrows[event.key], act = keys[event.key.toLowerCase()];
    if (arrow) this.arrow(arrow, event.shiftKey || this.tool === "pan");
    else if (act) act();
    else return;
    event.preventDefault();
  }

  arrow([dx, dy], pan) {
    const step = this.data.spread / 64;
    if (pan) this.shift = [this.shift[0] - dx * 32, this.shift[1] - dy * 32];
    else if (this.window && this.data.kind !== "rgb")
      this.ownWindow(this.window.center + dy * step, Math.max(this.window.width + dx * step, step));
    this.draw();
  }
}
