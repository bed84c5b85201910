// The drawing pad and MNIST's preprocessing: one source for the page and for the notebook's widget.
"use strict";

const SIDE = 28; // the network's input, in pixels
const BOX = 20; // MNIST's digits are scaled into a box of this size
const MIDDLE = 14; // ... and their center of mass is moved to this row and column
const PAD_SIDE = 448; // the pad's own pixels
const PEN_WIDTH = 36; // in the pad's pixels: about as thick as MNIST's strokes once scaled

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

/**
 * Build a pad inside `host`. `onChange(pixels, isImage, isFinished)` is called with 784 numbers
 * from 0 to 255, at most once per frame while a stroke grows, and once when it ends.
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
      <button type="button" title="Ctrl+Z" aria-keyshortcuts="Control+Z">Undo</button>
      <button type="button" title="Delete" aria-keyshortcuts="Delete">Clear</button>
    </div>`;
  const canvas = host.querySelector("canvas");
  const penMark = host.querySelector(".pad-pen");
  const [undoButton, clearButton] = host.querySelectorAll("button");
  const context = canvas.getContext("2d", { willReadFrequently: true });

  let actions = []; // each a stroke {points}, an image {pixels} or a clearing {}
  let stroke = null; // the stroke that is growing
  let waiting = false; // for the next frame
  const pen = { x: 0.5, y: 0.3, down: false }; // the keyboard's pen, as shares of the pad

  /** The image or the strokes since the pad was last empty. */
  function visible() {
    let start = actions.length;
    while (start > 0 && actions[start - 1].points) start--;
    const strokes = actions.slice(start);
    const image = strokes.length === 0 && start > 0 ? actions[start - 1].pixels : undefined;
    return { strokes, image };
  }

  function drawStroke({ points }) {
    context.beginPath();
    context.moveTo(points[0].x, points[0].y);
    for (let i = 1; i < points.length - 1; i++) {
      const next = points[i + 1];
      const x = (points[i].x + next.x) / 2, y = (points[i].y + next.y) / 2;
      context.quadraticCurveTo(points[i].x, points[i].y, x, y); // through the midpoints: smooth
    }
    const end = points[points.length - 1];
    context.lineTo(end.x + (points.length === 1 ? 0.1 : 0), end.y); // a dot is a very short line
    context.stroke();
  }

  function drawImage(pixels) {
    const small = new OffscreenCanvas(SIDE, SIDE);
    const [red, green, blue] = context.strokeStyle.match(/\w\w/g).map((byte) => parseInt(byte, 16));
    const picture = new ImageData(SIDE, SIDE);
    pixels.forEach((gray, i) => picture.data.set([red, green, blue, gray], 4 * i));
    small.getContext("2d").putImageData(picture, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, PAD_SIDE, PAD_SIDE);
  }

  function redraw() {
    context.clearRect(0, 0, PAD_SIDE, PAD_SIDE);
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = PEN_WIDTH;
    context.strokeStyle = getComputedStyle(canvas).color; // read back as #rrggbb
    const { strokes, image } = visible();
    if (image) drawImage(image);
    strokes.forEach(drawStroke);
    undoButton.disabled = actions.length === 0;
    clearButton.disabled = strokes.length === 0 && !image;
  }

  function update(isFinished) {
    redraw();
    const { image } = visible();
    if (image) {
      onChange(image, true, isFinished);
      return;
    }
    const picture = context.getImageData(0, 0, PAD_SIDE, PAD_SIDE).data;
    const ink = new Uint8Array(PAD_SIDE * PAD_SIDE);
    for (let i = 0; i < ink.length; i++) ink[i] = picture[4 * i + 3]; // how opaque
    onChange(prepare(ink, PAD_SIDE, PAD_SIDE), false, isFinished);
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
    update(!action.points);
  }

  function undo() {
    actions.pop();
    stroke = null;
    update(true);
  }

  function clear() {
    const { strokes, image } = visible();
    stroke = null;
    if (strokes.length > 0 || image) act({});
  }

  function begin(point) {
    if (visible().image) actions.push({}); // a stroke over an image starts a new drawing
    stroke = { points: [point] };
    act(stroke);
  }

  function finish() {
    if (!stroke) return;
    stroke = null;
    waiting = false;
    update(true);
  }

  function place(event) {
    const area = canvas.getBoundingClientRect();
    const factor = PAD_SIDE / area.width;
    return { x: (event.clientX - area.left) * factor, y: (event.clientY - area.top) * factor };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    canvas.setPointerCapture(event.pointerId);
    penMark.hidden = true;
    pen.down = false;
    begin(place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke || pen.down || !event.isPrimary) return;
    const moves = event.getCoalescedEvents?.() ?? [];
    for (const move of moves.length > 0 ? moves : [event]) stroke.points.push(place(move));
    updateSoon();
  });
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key !== " " && !ARROWS[event.key]) return;
    event.preventDefault();
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    pen.x = Math.min(0.95, Math.max(0.05, pen.x + dx / SIDE));
    pen.y = Math.min(0.95, Math.max(0.05, pen.y + dy / SIDE));
    const point = { x: pen.x * PAD_SIDE, y: pen.y * PAD_SIDE };
    if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) begin(point);
      else finish();
    } else if (pen.down && stroke) {
      stroke.points.push(point);
      updateSoon();
    }
    penMark.hidden = false;
    penMark.classList.toggle("down", pen.down);
    penMark.style.left = `${100 * pen.x}%`;
    penMark.style.top = `${100 * pen.y}%`;
  });
  canvas.addEventListener("blur", () => {
    penMark.hidden = true;
    pen.down = false;
    finish();
  });
  keys.addEventListener("keydown", (event) => {
    const isUndo = event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey);
    if (!isUndo && event.key !== "Delete") return;
    event.preventDefault();
    pen.down = false;
    if (isUndo) undo();
    else clear();
  });
  undoButton.addEventListener("click", undo);
  clearButton.addEventListener("click", clear);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  redraw();
  return { showImage: (pixels) => act({ pixels }) };
}
