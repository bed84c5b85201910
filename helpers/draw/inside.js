// What goes on inside: pictures of every layer, and the arithmetic of one number. Uses network.js.

// ---------------------------------------------------------------- colors and pictures

const byId = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const darkMode = matchMedia("(prefers-color-scheme: dark)");
let colors;

function readColors() {
  const rgb = (name) => {
    const text = css(name).slice(1);
    const digits = text.length === 3 ? text.replace(/./g, "$&$&") : text;
    return digits.match(/../g).map((byte) => parseInt(byte, 16));
  };
  const mix = (a, b, share) => a.map((part, i) => Math.round(part + (b[i] - part) * share));
  const [low, middle, high] = ["--low", "--middle", "--high"].map(rgb);
  const [card, ink, accent, negative] = ["--card", "--ink", "--accent", "--negative"].map(rgb);
  const ramp = (color) => Array.from({ length: 256 }, (_, i) => color(i / 255));
  colors = {
    positive: ramp((share) => share < 0.5 ? mix(low, middle, 2 * share) : mix(middle, high, 2 * share - 1)),
    ink: ramp((share) => mix(low, ink, share)),
    plus: ramp((share) => mix(card, accent, 0.85 * share)),
    minus: ramp((share) => mix(card, negative, 0.85 * share)),
  };
}

const shade = (ramp, share) => ramp[Math.max(0, Math.min(255, Math.round(255 * share)))];

function addCanvas(host, width, height, label, role = "img") {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.setAttribute("role", role);
  canvas.setAttribute("aria-label", label);
  host.append(canvas);
  return canvas;
}

/** Paint `value(x, y)`, a share from 0 to 1 or null for nothing, onto every pixel of a canvas. */
function paint(canvas, ramp, value) {
  const picture = new ImageData(canvas.width, canvas.height);
  for (let y = 0, i = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++, i += 4) {
      const share = value(x, y);
      if (share === null) continue;
      const color = shade(ramp, share);
      picture.data[i] = color[0];
      picture.data[i + 1] = color[1];
      picture.data[i + 2] = color[2];
      picture.data[i + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function addMark(host, kind) {
  const mark = document.createElement("div");
  mark.className = `mark ${kind}`;
  host.append(mark);
  return mark;
}

/** Put a frame around an area of a picture; all in the picture's pixels. */
function moveMark(mark, canvas, x, y, size) {
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  mark.style.left = percent(x, canvas.width);
  mark.style.top = percent(y, canvas.height);
  mark.style.width = percent(size, canvas.width);
  mark.style.height = percent(size, canvas.height);
}

// ---------------------------------------------------------------- feature maps and one pixel

const chosen = { layer: 0, map: 0, x: 13, y: 13 };
const GAP = 2; // pixels between two maps
const pictures = LAYERS.map(({ maps, side, columns }, layer) => {
  const width = columns * (side + GAP) - GAP, height = (maps / columns) * (side + GAP) - GAP;
  const host = byId(`layer-${layer}`);
  const canvas = addCanvas(host, width, height, `${maps} feature maps of convolution ${layer + 1}. ` +
    "Arrow keys move the pixel, Page Up and Page Down change the map.", "application");
  canvas.tabIndex = 0;
  return { canvas, mapMark: addMark(host, "whole"), mark: addMark(host, "pixel") };
});
const field = addCanvas(byId("field"), SIDE, SIDE, "The input, with the receptive field framed");
const fieldMark = addMark(byId("field"), "area");
const large = addCanvas(byId("map"), 26, 26, "The chosen feature map, with the chosen pixel framed");
const largeMark = addMark(byId("map"), "pixel");

/** Paint everything that the last image left in the network. */
function showInside() {
  paint(seen, colors.ink, (x, y) => state.input[y * SIDE + x]);
  paint(field, colors.ink, (x, y) => state.input[y * SIDE + x]);
  LAYERS.forEach(({ maps, side, columns }, layer) => {
    const numbers = state.maps[layer];
    const highest = numbers.reduce((top, number) => Math.max(top, number), 1e-9);
    LAYERS[layer].highest = highest;
    byId(`top-${layer}`).textContent = highest.toFixed(2);
    const step = side + GAP;
    paint(pictures[layer].canvas, colors.positive, (x, y) => {
      const column = x % step, row = y % step;
      if (column >= side || row >= side) return null;
      const map = Math.floor(y / step) * columns + Math.floor(x / step);
      return numbers[(row * side + column) * maps + map] / highest;
    });
  });
  showPixel();
  showUnits();
}

function showPixel() {
  const { layer, map, x, y } = chosen;
  const { maps, side, columns, highest } = LAYERS[layer];
  const numbers = state.maps[layer];
  large.width = large.height = side;
  paint(large, colors.positive, (column, row) => numbers[(row * side + column) * maps + map] / highest);
  moveMark(largeMark, large, x, y, 1);
  pictures.forEach(({ canvas, mapMark, mark }, i) => {
    mapMark.hidden = mark.hidden = i !== layer;
    if (i !== layer) return;
    const left = (map % columns) * (side + GAP), top = Math.floor(map / columns) * (side + GAP);
    moveMark(mapMark, canvas, left - 0.5, top - 0.5, side + 1);
    moveMark(mark, canvas, left + x, top + y, 1);
  });
  const size = layer === 0 ? 3 : 8, start = layer === 0 ? 1 : 2;
  moveMark(fieldMark, field, start * x, start * y, size);
  byId("step-title").textContent =
    `One pixel: convolution ${layer + 1}, map ${map + 1}, row ${y + 1}, column ${x + 1}`;
  byId("field-note").textContent = `Where it looks: ${size}×${size} pixels`;
  byId("map-note").textContent = `Map ${map + 1}, enlarged`;
  const { html, sentence } = layer === 0 ? explainFirst() : explainSecond();
  byId("arithmetic").innerHTML = html;
  clearTimeout(showPixel.waiting);
  showPixel.waiting = setTimeout(() => {
    if (document.activeElement?.closest?.(".layers")) byId("step-spoken").textContent = sentence;
  }, 400);
}

function signed(number, digits = 2) {
  const text = Math.abs(number).toFixed(digits);
  return number < 0 && Number(text) > 0 ? `−${text}` : text;
}

/** Black or white, whichever reads better on a color (contrast as in WCAG 2, gamma simplified). */
function textOn(color) {
  const [red, green, blue] = color.map((part) => (part / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

/** A 3×3 grid of numbers on their colors. */
function grid(numbers, color, withText) {
  const cells = numbers.map((number) => {
    const [back, text] = [color(number), withText ? signed(number) : ""];
    return `<span style="background:rgb(${back});color:${textOn(back)}">${text}</span>`;
  });
  return `<div class="grid" aria-hidden="true">${cells.join("")}</div>`;
}

const bySign = (highest) => (number) =>
  shade(number < 0 ? colors.minus : colors.plus, Math.abs(number) / highest);
const largest = (numbers) => numbers.reduce((top, number) => Math.max(top, Math.abs(number)), 1e-9);

/** What each of many parts adds to a sum, as columns. */
function columnsOf(parts) {
  const tallest = largest(parts);
  const columns = parts.map((part) => {
    const size = `${(50 * Math.abs(part)) / tallest}%`;
    return `<i class="${part < 0 ? "minus" : "plus"}" style="--size:${size}"></i>`;
  });
  return `<div class="columns" aria-hidden="true">${columns.join("")}</div>`;
}

/** Which parts of a sum count most, whatever their sign. */
const largestOf = (parts, count) => parts.map((_, i) => i)
  .sort((a, b) => Math.abs(parts[b]) - Math.abs(parts[a])).slice(0, count);

/** The rows from the sum of products to the value of a pixel, a unit or, without ReLU, a score. */
function sumTable(rows, sum, bias, owner = "map", relu = true) {
  const before = sum + bias;
  const lines = [...rows, [`+ bias of this ${owner}`, bias]];
  const html = lines.map(([text, number]) => `<tr><td>${text}</td><td>${signed(number, 3)}</td></tr>`).join("");
  if (!relu) {
    return `<table class="sum"><tbody>${html}
      <tr class="result"><td>= score</td><td>${signed(before, 3)}</td></tr></tbody></table>`;
  }
  return `<table class="sum"><tbody>${html}
    <tr class="total"><td>= before ReLU</td><td>${signed(before, 3)}</td></tr>
    <tr class="result"><td>ReLU: ${before < 0 ? "negative, so 0" : "positive, so it stays"}</td>
      <td>${signed(Math.max(0, before), 3)}</td></tr></tbody></table>`;
}

function explainFirst() {
  const { map, x, y } = chosen;
  const { kernel, outputs, bias } = layers[0];
  const nine = Array.from({ length: 9 }, (_, i) => i);
  const patch = nine.map((i) => state.input[(y + Math.floor(i / 3)) * SIDE + x + (i % 3)]);
  const weights = nine.map((i) => kernel[i * outputs + map]);
  const products = nine.map((i) => patch[i] * weights[i]);
  const sum = products.reduce((total, product) => total + product, 0);
  const ink = (number) => shade(colors.ink, number);
  const html = `<div class="formula">
      <div><p>input</p>${grid(patch, ink, true)}</div><span>×</span>
      <div><p>kernel</p>${grid(weights, bySign(largest(weights)), true)}</div><span>=</span>
      <div><p>products</p>${grid(products, bySign(largest(weights)), true)}</div>
    </div>${sumTable([["sum of the 9 products", sum]], sum, bias[map])}`;
  return { html, sentence: sentence(sum, bias[map]) };
}

function sentence(sum, bias) {
  const { layer, map, x, y } = chosen;
  return `Convolution ${layer + 1}, map ${map + 1}, row ${y + 1}, column ${x + 1}: products sum to ` +
    `${signed(sum, 3)}, plus bias ${signed(bias, 3)}, after ReLU ${signed(Math.max(0, sum + bias), 3)}.`;
}

function explainSecond() {
  const { map, x, y } = chosen;
  const { kernel, outputs, bias } = layers[1];
  const nine = Array.from({ length: 9 }, (_, i) => i);
  const parts = Array.from({ length: 32 }, (_, channel) => {
    const patch = nine.map((i) =>
      state.pooled[0][((y + Math.floor(i / 3)) * POOLED + x + (i % 3)) * 32 + channel]);
    const weights = nine.map((i) => kernel[(i * 32 + channel) * outputs + map]);
    const sum = nine.reduce((total, i) => total + patch[i] * weights[i], 0);
    return { channel, patch, weights, sum };
  });
  const sum = parts.reduce((total, part) => total + part.sum, 0);
  const sums = parts.map((part) => part.sum);
  const order = largestOf(sums, 3).map((i) => parts[i]);
  const rest = sum - order.reduce((total, part) => total + part.sum, 0);
  const activation = (number) => shade(colors.positive, number / LAYERS[0].highest);
  const rows = order.map(({ channel, patch, weights, sum: part }) => `<div class="part">
      <span>input map ${channel + 1}</span>${grid(patch, activation, false)}<span>×</span>
      ${grid(weights, bySign(largest(weights)), false)}<span>=</span>
      <span class="number">${signed(part, 3)}</span></div>`);
  const html = `<div class="parts small"><p class="note">It adds up 32 sums of 9 products, one for each
      map of the first convolution (after pooling). What each adds, from map 1 to 32:</p>
    ${columnsOf(sums)}
    <p class="note">The three that add or take most:</p>${rows.join("")}</div>
    ${sumTable([["sum of these three", sum - rest], ["+ the other 29 maps", rest]], sum, bias[map])}`;
  return { html, sentence: sentence(sum, bias[map]) };
}

const within = (number, count) => Math.min(count - 1, Math.max(0, number));

/** Choose the pixel of a map; out-of-range places move to the nearest edge. */
function choose(layer, map, x, y) {
  const { maps, side } = LAYERS[layer];
  Object.assign(chosen, { layer, map: within(map, maps), x: within(x, side), y: within(y, side) });
  showPixel();
}

function pointAt(event, canvas) {
  const area = canvas.getBoundingClientRect();
  return [
    Math.floor(((event.clientX - area.left) / area.width) * canvas.width),
    Math.floor(((event.clientY - area.top) / area.height) * canvas.height),
  ];
}

const STEPS = {
  ArrowLeft: [0, -1, 0], ArrowRight: [0, 1, 0], ArrowUp: [0, 0, -1], ArrowDown: [0, 0, 1],
  PageUp: [-1, 0, 0], PageDown: [1, 0, 0],
};
pictures.forEach(({ canvas }, layer) => {
  const { side, columns } = LAYERS[layer];
  const step = side + GAP;
  const follow = (event) => {
    const [x, y] = pointAt(event, canvas);
    choose(layer, Math.floor(y / step) * columns + Math.floor(x / step), x % step, y % step);
  };
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("pointerdown", follow);
  canvas.addEventListener("focus", () => {
    if (chosen.layer !== layer) choose(layer, 0, side >> 1, side >> 1);
  });
  canvas.addEventListener("keydown", (event) => {
    if (!STEPS[event.key]) return;
    event.preventDefault();
    const [map, x, y] = STEPS[event.key];
    choose(layer, chosen.map + map, chosen.x + x, chosen.y + y);
  });
});
for (const kind of ["pointermove", "pointerdown"]) {
  large.addEventListener(kind, (event) => choose(chosen.layer, chosen.map, ...pointAt(event, large)));
}

// ---------------------------------------------------------------- units, scores and softmax

const UNITS = { count: 128, columns: 16, size: 3, gap: 1 }; // in the picture of all units, in pixels
const SHOWN = 10; // classes in the table, the highest scores first where there are more
const followed = { unit: 0, label: null }; // one of the two is shown
const unitsSide = (cells) => cells * (UNITS.size + UNITS.gap) - UNITS.gap;
const unitsCanvas = addCanvas(byId("units"), unitsSide(UNITS.columns), unitsSide(UNITS.count / UNITS.columns),
  "The 128 units of the dense layer. Arrow keys choose one.", "application");
unitsCanvas.tabIndex = 0;
const unitMark = addMark(byId("units"), "whole");

byId("softmax").innerHTML = `<thead><tr><th scope="col">class</th><th scope="col">score</th>
  <th scope="col"><i>e</i><sup>score − highest</sup></th><th scope="col">÷ sum</th></tr></thead><tbody></tbody>
  <tfoot><tr><td colspan="2">sum</td><td></td><td>1</td></tr></tfoot>`;
const softmaxRows = names.slice(0, SHOWN).map(() => {
  const row = byId("softmax").tBodies[0].insertRow();
  row.innerHTML = `<th scope="row"><button type="button"></button></th><td></td><td></td><td></td>`;
  const choose = () => follow({ label: Number(row.dataset.label) });
  row.addEventListener("pointerenter", choose);
  row.querySelector("button").addEventListener("click", choose);
  row.querySelector("button").addEventListener("focus", choose);
  return row;
});

function showUnits() {
  const highest = largest(state.dense);
  byId("top-units").textContent = highest.toFixed(2);
  const step = UNITS.size + UNITS.gap;
  paint(unitsCanvas, colors.positive, (x, y) => {
    if (x % step >= UNITS.size || y % step >= UNITS.size) return null;
    return state.dense[Math.floor(y / step) * UNITS.columns + Math.floor(x / step)] / highest;
  });
  const scores = Array.from(state.scores.subarray(0, names.length));
  const top = Math.max(...scores), shares = softmax(scores);
  const sum = scores.reduce((total, score) => total + Math.exp(score - top), 0);
  let labels = names.map((_, label) => label);
  if (names.length > SHOWN) labels = labels.sort((a, b) => scores[b] - scores[a]).slice(0, SHOWN);
  labels.forEach((label, i) => {
    const row = softmaxRows[i], [name, score, power, share] = row.cells;
    row.dataset.label = label;
    row.classList.toggle("best", scores[label] === top);
    name.firstChild.textContent = names[label];
    score.textContent = signed(scores[label]);
    power.textContent = tiny(Math.exp(scores[label] - top));
    share.textContent = tiny(shares[label]);
  });
  byId("softmax").tFoot.rows[0].cells[1].textContent = sum.toFixed(4);
  showFollowed();
}

/** A number from 0 to 1 with four digits; what would be 0.0000 as a power of ten. */
const tiny = (number) => (number >= 0.0001 || number === 0 ? number.toFixed(4)
  : number.toExponential(0).replace("e-", " · 10⁻").replace(/\d+$/, (digits) =>
    digits.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])));

function follow(one) {
  Object.assign(followed, { unit: null, label: null }, one);
  showFollowed();
}

function showFollowed() {
  const { unit, label } = followed;
  const step = UNITS.size + UNITS.gap;
  unitMark.hidden = unit === null;
  moveMark(unitMark, unitsCanvas, (unit % UNITS.columns) * step - 0.5,
    Math.floor(unit / UNITS.columns) * step - 0.5, UNITS.size + 1);
  for (const row of softmaxRows) {
    const isChosen = label === Number(row.dataset.label);
    row.classList.toggle("chosen", isChosen);
    row.querySelector("button").setAttribute("aria-pressed", String(isChosen));
  }
  const { title, html, value, about } = unit === null ? explainScore(label) : explainUnit(unit);
  byId("sum-title").textContent = title;
  byId("sum").innerHTML = html;
  byId("sum-note").textContent = about ?? "";
  clearTimeout(showFollowed.waiting);
  showFollowed.waiting = setTimeout(() => {
    if (document.activeElement === unitsCanvas) byId("sum-spoken").textContent = `${title}: ${value}.`;
  }, 400);
}

function explainUnit(unit) {
  const { kernel, outputs, bias } = layers[2];
  const parts = new Array(64).fill(0);
  state.pooled[1].forEach((number, i) => {
    parts[i % 64] += number * kernel[i * outputs + unit];
  });
  const sum = parts.reduce((total, part) => total + part, 0);
  const order = largestOf(parts, 3);
  const three = order.reduce((total, i) => total + parts[i], 0);
  const weights = names.map((_, label) => layers[3].kernel[unit * names.length + label]);
  const most = weights.indexOf(Math.max(...weights)), least = weights.indexOf(Math.min(...weights));
  const html = `<p class="note">It adds up 64 sums of 25 products, one for each map of the second
      convolution (after pooling). What each adds, from map 1 to 64:</p>${columnsOf(parts)}
    ${sumTable([...order.map((i) => [`map ${i + 1}`, parts[i]]), ["+ the other 61 maps", sum - three]],
      sum, bias[unit], "unit")}
    <p class="note after">How the ${names.length} scores weigh this unit, in the order of the classes:</p>
    ${columnsOf(weights)}`;
  const about = `Most for ${names[most]} (${signed(weights[most])}), most against ${names[least]} ` +
    `(${signed(weights[least])}).`;
  return { title: `One number: unit ${unit + 1}`, value: signed(Math.max(0, sum + bias[unit]), 3), html, about };
}

function explainScore(label) {
  const { kernel, outputs, bias } = layers[3];
  const parts = Array.from(state.dense, (number, unit) => number * kernel[unit * outputs + label]);
  const sum = parts.reduce((total, part) => total + part, 0);
  const order = largestOf(parts, 3);
  const three = order.reduce((total, unit) => total + parts[unit], 0);
  const product = (unit) => `unit ${unit + 1}: ${signed(state.dense[unit])} × weight ` +
    signed(kernel[unit * outputs + label]);
  const html = `<p class="note">It adds up 128 products, each a unit times the weight that this class gives
      it. What each adds, from unit 1 to 128:</p>${columnsOf(parts)}
    ${sumTable([...order.map((unit) => [product(unit), parts[unit]]), ["+ the other 125 units", sum - three]],
      sum, bias[label], "class", false)}`;
  return { title: `One number: the score of ${names[label]}`, value: signed(sum + bias[label], 3), html };
}

const unitAt = (event) => {
  const step = UNITS.size + UNITS.gap;
  const [column, row] = pointAt(event, unitsCanvas).map((pixel) => Math.floor(pixel / step));
  follow({ unit: within(row, UNITS.count / UNITS.columns) * UNITS.columns + within(column, UNITS.columns) });
};
unitsCanvas.addEventListener("pointermove", unitAt);
unitsCanvas.addEventListener("pointerdown", unitAt);
unitsCanvas.addEventListener("focus", () => follow({ unit: followed.unit ?? 0 }));
unitsCanvas.addEventListener("keydown", (event) => {
  if (!STEPS[event.key] || event.key.startsWith("Page")) return;
  event.preventDefault();
  const [, across, down] = STEPS[event.key];
  follow({ unit: within((followed.unit ?? 0) + across + UNITS.columns * down, UNITS.count) });
});
