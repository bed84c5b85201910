// The drawing pad and MNIST's preprocessing: one source for the page and for the notebook's widget.
"use strict";

const SIDE = 28; // the network's input, in pixels
const BOX = 20; // MNIST's digits are scaled into a box of this size
const MIDDLE = 14; // ... and their center of mass is moved to this row and column
const PAD_SIDE = 448; // the pad's own pixels
const PEN_WIDTH = 36; // in the pad's pixels: about as thick as MNIST's strokes once scaled; to begin with

/** Average `count` pixels at `start`, `step` apart, into `parts` equal parts (area by area). */
function average(source, start, step, count, parts, target, targetStart, targetStep) {
  const length = count / parts;
  for (let part = 0; part < parts; part++) {
    const from = part * length, to = from + length;
    let sum = 0;
    for (let i = Math.floor(from); i < Math.min(count, Math.ceil(to)); i++) {
      const share = Math.min(i + 1, to) - Math.max(i, from);
      sum += share * source[start + i * step];
    }
    target[targetStart + part * targetStep] = sum / length;
  }
}

/**
 * Prepare ink as MNIST's makers did: cut it out, scale it into 20×20 keeping its proportions, and
 * move it so that its center of mass is at the center of 28×28 pixels.
 * `ink`: width·height numbers from 0 to 255, row by row. Returns 784 numbers, all 0 without ink.
 */
function prepare(ink, width, height) {
  let left = width, right = -1, top = height, bottom = -1;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (ink[i] > 0) {
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
    }
  }
  const result = new Uint8ClampedArray(SIDE * SIDE);
  if (right < 0) return result;

  const inkWidth = right - left + 1, inkHeight = bottom - top + 1;
  const scale = BOX / Math.max(inkWidth, inkHeight);
  const columns = Math.max(1, Math.floor(inkWidth * scale + 0.5));
  const rows = Math.max(1, Math.floor(inkHeight * scale + 0.5));
  const narrow = new Float64Array(inkHeight * columns);
  for (let y = 0; y < inkHeight; y++) {
    average(ink, (top + y) * width + left, 1, inkWidth, columns, narrow, y * columns, 1);
  }
  const small = new Float64Array(rows * columns);
  for (let x = 0; x < columns; x++) {
    average(narrow, x, columns, inkHeight, rows, small, x, columns);
  }

  let sum = 0, sumX = 0, sumY = 0;
  for (let y = 0, i = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++, i++) {
      sum += small[i];
      sumX += x * small[i];
      sumY += y * small[i];
    }
  }
  const place = (center, size) =>
    Math.min(SIDE - size, Math.max(0, Math.floor(MIDDLE - center + 0.5)));
  const shiftX = place(sumX / sum, columns), shiftY = place(sumY / sum, rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const gray = Math.floor(small[y * columns + x] + 0.5);
      result[(y + shiftY) * SIDE + x + shiftX] = gray;
    }
  }
  return result;
}

/** Only shrink ink to 28×28 pixels: what the network gets without the preparation. */
function shrink(ink) {
  const narrow = new Float64Array(PAD_SIDE * SIDE), small = new Float64Array(SIDE * SIDE);
  for (let y = 0; y < PAD_SIDE; y++) average(ink, y * PAD_SIDE, 1, PAD_SIDE, SIDE, narrow, y * SIDE, 1);
  for (let x = 0; x < SIDE; x++) average(narrow, x, SIDE, PAD_SIDE, SIDE, small, x, SIDE);
  return Uint8ClampedArray.from(small);
}

/** A stroke as a line of short pieces that rounds its corners: parabolas through the midpoints. */
function smooth(points) {
  const path = [points[0]];
  for (let i = 1; i < points.length - 1; i++) {
    const from = path[path.length - 1], corner = points[i], next = points[i + 1];
    const to = { x: (corner.x + next.x) / 2, y: (corner.y + next.y) / 2 };
    const pieces = Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / 10) || 1;
    for (let piece = 1; piece <= pieces; piece++) {
      const t = piece / pieces, a = (1 - t) ** 2, b = 2 * t * (1 - t), c = t ** 2;
      path.push({
        x: a * from.x + b * corner.x + c * to.x,
        y: a * from.y + b * corner.y + c * to.y,
      });
    }
  }
  return points.length > 1 ? [...path, points[points.length - 1]] : path;
}

/**
 * The ink of strokes, one number from 0 to 255 per pixel of the pad: full as far from a stroke's
 * line as the round pen reaches, gray on the edge. It is computed because some browsers refuse to
 * tell a page what its canvas shows, or tell it something else.
 */
function inkOf(strokes) {
  const ink = new Uint8Array(PAD_SIDE * PAD_SIDE);
  for (const { points, width } of strokes) {
    const reach = width / 2 + 0.5;
    const pixels = (a, b) => [
      Math.max(0, Math.floor(Math.min(a, b) - reach)),
      Math.min(PAD_SIDE - 1, Math.ceil(Math.max(a, b) + reach)),
    ];
    const path = smooth(points);
    for (let i = Math.min(1, path.length - 1); i < path.length; i++) {
      const to = path[i], from = path[Math.max(0, i - 1)];
      const dx = to.x - from.x, dy = to.y - from.y, squared = dx * dx + dy * dy || 1;
      const [left, right] = pixels(from.x, to.x), [top, bottom] = pixels(from.y, to.y);
      for (let y = top; y <= bottom; y++) {
        for (let x = left, k = y * PAD_SIDE + left; x <= right; x++, k++) {
          if (ink[k] === 255) continue;
          const fromX = x + 0.5 - from.x, fromY = y + 0.5 - from.y;
          const along = Math.min(1, Math.max(0, (fromX * dx + fromY * dy) / squared));
          const awayX = fromX - along * dx, awayY = fromY - along * dy;
          const inside = reach - Math.sqrt(awayX * awayX + awayY * awayY);
          if (inside > 0) ink[k] = Math.max(ink[k], Math.min(255, Math.round(255 * inside)));
        }
      }
    }
  }
  return ink;
}

/**
 * Build a pad inside `host`. `onChange(pixels, ink, isFinished)` is called with 784 numbers
 * from 0 to 255 and the ink that they were prepared from (null for an image that was shown), at most
 * once per frame while a stroke grows, and once when it ends.
 * `keys` is where undo and clear listen for their keys.
 */
function createPad(host, onChange, keys = host) {
  host.classList.add("pad");
  host.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the keys otherwise
  host.innerHTML = `
    <div class="pad-sheet">
      <canvas width="${PAD_SIDE}" height="${PAD_SIDE}" tabindex="0" role="application"
        aria-roledescription="drawing pad" aria-label="Pad to draw a digit on, with mouse, pen or
        finger. With keys: the arrows move the pen, Space lowers and lifts it."></canvas>
      <div class="pad-pen" hidden></div>
    </div>
    <div class="pad-buttons">
      <button type="button" title="Ctrl+Z" aria-keyshortcuts="Control+Z Meta+Z">Undo</button>
      <button type="button" title="Ctrl+Shift+Z"
        aria-keyshortcuts="Control+Shift+Z Meta+Shift+Z Control+Y">Redo</button>
      <button type="button" title="Delete" aria-keyshortcuts="Delete Backspace">Clear</button>
    </div>
    <label class="pad-width">Pen
      <input type="range" min="16" max="64" step="4" value="${PEN_WIDTH}"></label>`;
  const canvas = host.querySelector("canvas");
  const penMark = host.querySelector(".pad-pen");
  const width = host.querySelector("input");
  const [undoButton, redoButton, clearButton] = host.querySelectorAll("button");
  const context = canvas.getContext("2d");

  const actions = []; // each a stroke {points, width, by, id}, an image {pixels} or a clearing {}
  let undone = []; // what redo brings back, the next one last
  let stroke = null; // the stroke that is growing; it belongs to one pointer, or to the keys
  let waiting = false; // for the next frame
  const pen = { x: 0.5, y: 0.3 }; // the keyboard's pen, as shares of the pad

  /** The image or the strokes since the pad was last empty. */
  function visible() {
    let start = actions.length;
    while (start > 0 && actions[start - 1].points) start--;
    const strokes = actions.slice(start);
    const image = strokes.length === 0 && start > 0 ? actions[start - 1].pixels : undefined;
    return { strokes, image };
  }

  function drawStroke({ points, width }) {
    const path = smooth(points);
    context.lineWidth = width;
    const end = path[path.length - 1];
    context.beginPath();
    context.moveTo(path[0].x, path[0].y);
    for (const { x, y } of path) context.lineTo(x, y);
    if (path.length === 1) context.lineTo(end.x + 0.1, end.y); // a dot is a very short line
    context.stroke();
  }

  function drawImage(pixels) {
    const size = PAD_SIDE / SIDE;
    pixels.forEach((gray, i) => {
      context.globalAlpha = gray / 255;
      context.fillRect((i % SIDE) * size, Math.floor(i / SIDE) * size, size, size);
    });
    context.globalAlpha = 1;
  }

  function redraw() {
    context.clearRect(0, 0, PAD_SIDE, PAD_SIDE);
    context.lineCap = context.lineJoin = "round";
    context.fillStyle = context.strokeStyle = getComputedStyle(canvas).color;
    const { strokes, image } = visible();
    if (image) drawImage(image);
    strokes.forEach(drawStroke);
    undoButton.disabled = actions.length === 0;
    redoButton.disabled = undone.length === 0;
    clearButton.disabled = strokes.length === 0 && !image;
  }

  function update(isFinished) {
    redraw();
    const { strokes, image } = visible();
    const ink = image ? null : inkOf(strokes);
    onChange(image || prepare(ink, PAD_SIDE, PAD_SIDE), ink, isFinished);
  }

  function updateSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      if (waiting) update(false);
      waiting = false;
    });
  }

  function act(action) {
    actions.push(action);
    undone = [];
    update(!action.points);
  }

  /** Take the last action from one list to the other. */
  function shift(from, to) {
    if (from.length > 0) to.push(from.pop());
    stroke = null;
    update(true);
  }

  const undo = () => shift(actions, undone);
  const redo = () => shift(undone, actions);

  function clear() {
    const { strokes, image } = visible();
    stroke = null;
    if (strokes.length > 0 || image) act({});
  }

  function begin(point, by, id) {
    if (visible().image) actions.push({}); // a stroke over an image starts a new drawing
    stroke = { points: [point], width: Number(width.value), by, id };
    act(stroke);
  }

  function extend(point) {
    const last = stroke.points[stroke.points.length - 1];
    if (Math.hypot(point.x - last.x, point.y - last.y) >= 1) stroke.points.push(point);
  }

  function finish() {
    stroke = null;
    waiting = false;
    update(true);
  }

  function place(event) {
    const area = canvas.getBoundingClientRect();
    const factor = PAD_SIDE / area.width;
    return { x: (event.clientX - area.left) * factor, y: (event.clientY - area.top) * factor };
  }

  const isOwner = (event) => stroke !== null && stroke.id === event.pointerId;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (stroke?.by === "touch" && event.pointerType === "pen") undo(); // the touch was the palm
    if (stroke?.by === "keys") finish();
    if (stroke) return; // until its pointer lifts
    canvas.setPointerCapture(event.pointerId);
    penMark.hidden = true;
    begin(place(event), event.pointerType, event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!isOwner(event)) return;
    if (event.buttons === 0) { // let go where this page did not hear of it
      finish();
      return;
    }
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length > 0 ? moves : [event]) extend(place(move));
    updateSoon();
  });
  canvas.addEventListener("pointerup", (event) => {
    if (isOwner(event)) finish();
  });
  canvas.addEventListener("pointercancel", (event) => {
    if (isOwner(event)) undo(); // the browser takes it for a palm or a gesture
  });
  // Else the iPad's Scribble swallows every other short stroke.
  canvas.addEventListener("touchmove", (event) => event.preventDefault(), { passive: false });

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if ((event.key !== " " && !ARROWS[event.key]) || (stroke && stroke.by !== "keys")) return;
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    pen.x = Math.min(0.95, Math.max(0.05, pen.x + dx / SIDE));
    pen.y = Math.min(0.95, Math.max(0.05, pen.y + dy / SIDE));
    const point = { x: pen.x * PAD_SIDE, y: pen.y * PAD_SIDE };
    if (event.key !== " ") {
      if (stroke) {
        extend(point);
        updateSoon();
      }
    } else if (stroke) {
      finish();
    } else {
      begin(point, "keys");
    }
    penMark.hidden = false;
    penMark.classList.toggle("down", stroke !== null);
    penMark.style.left = `${100 * pen.x}%`;
    penMark.style.top = `${100 * pen.y}%`;
  });
  canvas.addEventListener("blur", () => {
    penMark.hidden = true;
    if (stroke?.by === "keys") finish();
  });

  /** What a key asks for: undo, redo, clear, or undefined for any other key. */
  function command(event) {
    if (event.key === "Delete" || event.key === "Backspace") return clear;
    if (event.altKey || !(event.ctrlKey || event.metaKey)) return undefined;
    // The letter counts. On keyboards without Latin letters, it is the one that others have there.
    const letter = (event.key <= "~" ? event.key : event.code.slice(-1)).toLowerCase();
    if (letter === "y" || (letter === "z" && event.shiftKey)) return redo;
    return letter === "z" ? undo : undefined;
  }
  keys.addEventListener("keydown", (event) => {
    const asked = command(event);
    if (!asked) return;
    event.preventDefault();
    penMark.classList.remove("down");
    asked();
  });
  undoButton.addEventListener("click", undo);
  redoButton.addEventListener("click", redo);
  clearButton.addEventListener("click", clear);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
  return { showImage: (pixels) => act({ pixels }), clear, focus: () => canvas.focus() };
}
