// The network, and the page around it. Uses pad.js.

const LAYERS = [ // the two convolutions: kernels, side of a map, columns of the picture of all maps
  { maps: 32, side: 26, columns: 8 },
  { maps: 64, side: 11, columns: 16 },
];
const POOLED = 13; // side of the first convolution's maps after pooling

// ---------------------------------------------------------------- the network

/** Read the numbers that page.py wrote: scales and biases, kernels, test images. */
function readNumbers(base64, classes) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  let offset = 0;
  const take = (Type, count) => {
    const part = new Type(bytes.buffer, offset, count);
    offset += count * Type.BYTES_PER_ELEMENT;
    return part;
  };
  const shapes = [[9, 32], [288, 64], [1600, 128], [128, classes]];
  const scales = shapes.map(([, outputs]) => take(Float32Array, outputs));
  const biases = shapes.map(([, outputs]) => take(Float32Array, outputs));
  const layers = shapes.map(([inputs, outputs], layer) => {
    const whole = take(Int16Array, inputs * outputs);
    const kernel = Float32Array.from(whole, (number, i) => number * scales[layer][i % outputs]);
    return { inputs, outputs, kernel, ...packed(kernel, biases[layer], inputs, outputs) };
  });
  const images = [];
  while (offset < bytes.length) images.push(take(Uint8Array, SIDE * SIDE));
  return { layers, images };
}

/** Four outputs' weights side by side, so that `multiply` reads memory in order. */
function packed(kernel, bias, inputs, outputs) {
  const blocks = Math.ceil(outputs / 4);
  const weights = new Float32Array(blocks * 4 * inputs);
  for (let output = 0; output < outputs; output++) {
    const start = Math.floor(output / 4) * 4 * inputs + (output % 4);
    for (let i = 0; i < inputs; i++) weights[start + 4 * i] = kernel[i * outputs + output];
  }
  const padded = new Float32Array(blocks * 4);
  padded.set(bias);
  return { weights, bias: padded };
}

/**
 * target[start + o] = bias[o] + the sum over k of values[k] · kernel[places[k], o], then ReLU.
 * Only inputs other than 0 are listed: most of them are 0 after ReLU.
 */
function multiply(layer, count, places, values, target, start, relu) {
  const { weights, bias, inputs } = layer;
  for (let o = 0; o < bias.length; o += 4) {
    let a = bias[o], b = bias[o + 1], c = bias[o + 2], d = bias[o + 3];
    const block = o * inputs;
    for (let k = 0; k < count; k++) {
      const value = values[k], i = block + 4 * places[k];
      a += value * weights[i];
      b += value * weights[i + 1];
      c += value * weights[i + 2];
      d += value * weights[i + 3];
    }
    target[start + o] = relu && a < 0 ? 0 : a;
    target[start + o + 1] = relu && b < 0 ? 0 : b;
    target[start + o + 2] = relu && c < 0 ? 0 : c;
    target[start + o + 3] = relu && d < 0 ? 0 : d;
  }
}

const places = new Int32Array(1600), values = new Float32Array(1600); // lists for `multiply`

/** 3×3 convolution with ReLU. `input` is (side, side, channels), `target` (side−2, side−2, outputs). */
function convolve(layer, input, side, channels, target) {
  for (let y = 0, start = 0; y < side - 2; y++) {
    for (let x = 0; x < side - 2; x++, start += layer.outputs) {
      let count = 0;
      for (let row = 0, place = 0; row < 3; row++) {
        const from = ((y + row) * side + x) * channels;
        for (let i = from; i < from + 3 * channels; i++, place++) {
          if (input[i] !== 0) {
            places[count] = place;
            values[count++] = input[i];
          }
        }
      }
      multiply(layer, count, places, values, target, start, true);
    }
  }
}

/** The largest of every 2×2 pixels; an odd last row and column are left out. */
function pool(input, side, channels, target) {
  const half = side >> 1, right = channels, down = side * channels;
  for (let y = 0, i = 0; y < half; y++) {
    for (let x = 0; x < half; x++) {
      let from = (2 * y * side + 2 * x) * channels;
      for (let channel = 0; channel < channels; channel++, from++, i++) {
        target[i] = Math.max(
          input[from], input[from + right], input[from + down], input[from + down + right]);
      }
    }
  }
}

function connect(layer, input, target, relu) {
  let count = 0;
  for (let i = 0; i < layer.inputs; i++) {
    if (input[i] !== 0) {
      places[count] = i;
      values[count++] = input[i];
    }
  }
  multiply(layer, count, places, values, target, 0, relu);
}

function softmax(scores) {
  const highest = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - highest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

const description = JSON.parse(document.getElementById("description").textContent);
const names = description.classes;
const { layers, images } = readNumbers(document.getElementById("numbers").textContent, names.length);
const state = { // what the last image went through
  input: new Float32Array(SIDE * SIDE),
  maps: LAYERS.map(({ maps, side }) => new Float32Array(maps * side * side)),
  pooled: [new Float32Array(POOLED * POOLED * 32), new Float32Array(5 * 5 * 64)],
  dense: new Float32Array(128),
  scores: new Float32Array(layers[3].bias.length),
};

/** Run the network on 784 pixels from 0 to 255, row by row; return one probability per class. */
function predict(pixels) {
  for (let i = 0; i < state.input.length; i++) state.input[i] = pixels[i] / 255;
  convolve(layers[0], state.input, SIDE, 1, state.maps[0]);
  pool(state.maps[0], LAYERS[0].side, 32, state.pooled[0]);
  convolve(layers[1], state.pooled[0], POOLED, 32, state.maps[1]);
  pool(state.maps[1], LAYERS[1].side, 64, state.pooled[1]);
  connect(layers[2], state.pooled[1], state.dense, true);
  connect(layers[3], state.dense, state.scores, false);
  return softmax(state.scores.subarray(0, names.length));
}
window.predict = predict; // for tests and for your own experiments in the browser's console
window.prepare = prepare;

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

// ---------------------------------------------------------------- the answer

const seen = addCanvas(byId("seen"), SIDE, SIDE, "The 28 by 28 pixels that the network sees");
const bars = names.map((name) => {
  const row = document.createElement("li");
  row.innerHTML = `<span></span><span class="track"><i class="bar"></i></span><span class="number"></span>`;
  row.firstChild.textContent = name;
  byId("bars").append(row);
  return { row, bar: row.querySelector(".bar"), number: row.querySelector(".number") };
});
byId("bars").classList.toggle("many", names.length > 12);

const NOTES = {
  drawing: `Your ink, prepared as MNIST was: cut out, scaled into a ${BOX}×${BOX} box, and moved so that ` +
    "its center of mass is in the middle.",
  nothing: "Nothing yet.",
};
let speaking;

function percent(share) {
  return share > 0.9995 ? ">99.9%" : `${(100 * share).toFixed(1)}%`; // never quite certain
}

function showAnswer(pixels, isImage, isFinished) {
  const isEmpty = pixels.every((pixel) => pixel === 0);
  const probabilities = predict(pixels);
  const best = probabilities.indexOf(Math.max(...probabilities));
  byId("answer").textContent = isEmpty ? "?" : names[best];
  byId("answer").classList.toggle("long", !isEmpty && names[best].length > 3);
  byId("answer-note").textContent = isEmpty
    ? "waiting for your drawing" : `probability ${percent(probabilities[best])}`;
  bars.forEach(({ row, bar, number }, i) => {
    const share = isEmpty ? 0 : probabilities[i];
    row.classList.toggle("best", !isEmpty && i === best);
    bar.style.transform = `scaleX(${share})`;
    number.textContent = isEmpty ? "–" : percent(share);
  });
  const image = isImage ? gallery.find((known) => known.pixels === pixels) : null;
  for (const { button } of gallery) button.setAttribute("aria-pressed", String(button === image?.button));
  byId("seen-note").textContent = image ? `${image.about}, fed as it is. Draw over it to start your own.`
    : NOTES[isEmpty ? "nothing" : "drawing"];
  showInside();
  if (isFinished) {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      byId("spoken").textContent = isEmpty ? "The pad is empty." :
        `The network reads ${names[best]}, with ${percent(probabilities[best])}.`;
    }, 300);
  }
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

/** The rows from the sum of products to the pixel's value. */
function sumTable(rows, sum, bias) {
  const before = sum + bias;
  const lines = [...rows, ["+ bias of this map", bias]];
  const html = lines.map(([text, number]) => `<tr><td>${text}</td><td>${signed(number, 3)}</td></tr>`).join("");
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
  const order = [...parts].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)).slice(0, 3);
  const rest = sum - order.reduce((total, part) => total + part.sum, 0);
  const tallest = largest(parts.map((part) => part.sum));
  const columns = parts.map((part) => {
    const size = `${(50 * Math.abs(part.sum)) / tallest}%`;
    return `<i class="${part.sum < 0 ? "minus" : "plus"}" style="--size:${size}"></i>`;
  });
  const activation = (number) => shade(colors.positive, number / LAYERS[0].highest);
  const rows = order.map(({ channel, patch, weights, sum: part }) => `<div class="part">
      <span>input map ${channel + 1}</span>${grid(patch, activation, false)}<span>×</span>
      ${grid(weights, bySign(largest(weights)), false)}<span>=</span>
      <span class="number">${signed(part, 3)}</span></div>`);
  const html = `<div class="parts small"><p class="note">It adds up 32 sums of 9 products, one for each
      map of the first convolution (after pooling). What each adds, from map 1 to 32:</p>
    <div class="columns" aria-hidden="true">${columns.join("")}</div>
    <p class="note">The three that add or take most:</p>${rows.join("")}</div>
    ${sumTable([["sum of these three", sum - rest], ["+ the other 29 maps", rest]], sum, bias[map])}`;
  return { html, sentence: sentence(sum, bias[map]) };
}

/** Choose the pixel of a map; out-of-range places move to the nearest edge. */
function choose(layer, map, x, y) {
  const { maps, side } = LAYERS[layer];
  const within = (number, count) => Math.min(count - 1, Math.max(0, number));
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

// ---------------------------------------------------------------- the gallery, and the start

const gallery = images.map((pixels, i) => {
  const { label, hard } = description.images[i];
  const button = document.createElement("button");
  button.type = "button";
  const about = `${hard ? "A hard" : "A"} test image, labeled ${names[label]}`;
  button.title = about;
  const canvas = addCanvas(button, SIDE, SIDE, about);
  button.addEventListener("click", () => pad.showImage(pixels));
  byId(hard ? "hard" : "ordinary").append(button);
  return { button, canvas, pixels, about };
});

function repaint() {
  readColors();
  for (const { canvas, pixels } of gallery) paint(canvas, colors.ink, (x, y) => pixels[y * SIDE + x] / 255);
  showInside();
}

const pad = createPad(byId("pad"), showAnswer, document);
darkMode.addEventListener("change", repaint);
readColors();
pad.showImage(gallery[0]?.pixels ?? new Uint8Array(SIDE * SIDE));
if (gallery.length === 0) document.querySelector(".gallery").remove();
const strongest = state.maps[0].indexOf(Math.max(...state.maps[0])); // a pixel worth a look
const [place, strongestMap] = [Math.floor(strongest / 32), strongest % 32];
choose(0, strongestMap, place % 26, Math.floor(place / 26));
repaint();
