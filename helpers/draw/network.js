// The network, and what is usual for it. Uses pad.js.

const LAYERS = [ // the two convolutions: kernels, side of a map, columns of the picture of all maps
  { maps: 32, side: 26, columns: 8 },
  { maps: 64, side: 11, columns: 16 },
];
const POOLED = 13; // side of the first convolution's maps after pooling
const MEANS = 32 + 64 + 128; // maps and units: their mean outputs tell what is usual
const QUANTILES = 1001; // of the validation images

/** Read the numbers that page.py wrote: the network, what is usual for it, other networks, test images. */
function readNumbers(base64, { classes, usual: usualClasses, others }) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  let offset = 0;
  const take = (Type, count) => {
    const part = new Type(bytes.buffer, offset, count);
    offset += count * Type.BYTES_PER_ELEMENT;
    return part;
  };
  /** Layers: all scales, all biases, all kernels. */
  const takeLayers = (shapes, isTriangle) => {
    const scales = shapes.map(([, outputs]) => take(Float32Array, outputs));
    const biases = shapes.map(([, outputs]) => take(Float32Array, outputs));
    const taken = shapes.map(([inputs, outputs], layer) => {
      const whole = isTriangle ? unfolded(take(Int16Array, (inputs * (inputs + 1)) / 2), inputs)
        : take(Int16Array, inputs * outputs);
      const kernel = Float32Array.from(whole, (number, i) => number * scales[layer][i % outputs]);
      return { inputs, outputs, kernel, ...packed(kernel, biases[layer], inputs, outputs) };
    });
    offset = 4 * Math.ceil(offset / 4);
    return taken;
  };
  const reference = [[9, 32], [288, 64], [1600, 128], [128, classes.length]];
  const layers = takeLayers(reference);
  const usual = usualClasses && {
    layer: takeLayers([[MEANS, MEANS]], true)[0],
    means: Array.from({ length: usualClasses }, () => take(Float32Array, MEANS)),
    tables: Array.from({ length: 3 }, () => take(Float32Array, QUANTILES)),
  };
  const otherLayers = others.map(({ shapes }) => takeLayers(shapes ?? reference));
  const images = [];
  while (offset < bytes.length) images.push(take(Uint8Array, SIDE * SIDE));
  return { layers, usual, otherLayers, images };
}

/** A square table, row by row, from its lower left triangle; the rest is 0. */
function unfolded(triangle, side) {
  const table = new Int16Array(side * side);
  for (let row = 0, from = 0; row < side; from += ++row) {
    table.set(triangle.subarray(from, from + row + 1), row * side);
  }
  return table;
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

let places = new Int32Array(1600), values = new Float32Array(1600); // lists for `multiply`

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
  if (layer.inputs > places.length) { // of a wide network among the others
    places = new Int32Array(layer.inputs);
    values = new Float32Array(layer.inputs);
  }
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
const { layers, usual, otherLayers, images } = readNumbers(
  document.getElementById("numbers").textContent, description);
const newState = () => ({ // what an image goes through
  input: new Float32Array(SIDE * SIDE),
  maps: LAYERS.map(({ maps, side }) => new Float32Array(maps * side * side)),
  pooled: [new Float32Array(POOLED * POOLED * 32), new Float32Array(5 * 5 * 64)],
  dense: new Float32Array(128),
  scores: new Float32Array(layers[3].bias.length), // some more than classes
});
const state = newState(), otherState = newState();

/** Run a network on 784 pixels from 0 to 255, row by row; return one probability per class. */
const predict = (pixels) => predictAsReference(layers, state, pixels);

function predictAsReference(layers, state, pixels) {
  for (let i = 0; i < state.input.length; i++) state.input[i] = pixels[i] / 255;
  convolve(layers[0], state.input, SIDE, 1, state.maps[0]);
  pool(state.maps[0], LAYERS[0].side, 32, state.pooled[0]);
  convolve(layers[1], state.pooled[0], POOLED, 32, state.maps[1]);
  pool(state.maps[1], LAYERS[1].side, 64, state.pooled[1]);
  connect(layers[2], state.pooled[1], state.dense, true);
  connect(layers[3], state.dense, state.scores, false);
  return softmax(state.scores.subarray(0, names.length));
}

function predictAsDense(layers, pixels) {
  let numbers = Float32Array.from(pixels, (pixel) => pixel / 255);
  layers.forEach((layer, i) => {
    const target = new Float32Array(layer.bias.length);
    connect(layer, numbers, target, i < layers.length - 1);
    numbers = target.subarray(0, layer.outputs);
  });
  return softmax(numbers);
}

/** What the other networks answer: for each, one probability per class. */
const predictOthers = (pixels) => otherLayers.map((layers, i) => description.others[i].shapes
  ? predictAsDense(layers, pixels) : predictAsReference(layers, otherState, pixels));

/** The mean of each of the maps that `pool` or a dense layer left in `numbers`. */
function meansOfMaps(numbers, maps, target, start) {
  const places = numbers.length / maps;
  for (let i = 0; i < numbers.length; i++) target[start + (i % maps)] += numbers[i] / places;
}

/** The share of a table's images that have less: from 0 to 1. */
function rank(number, table) {
  if (number < table[0]) return 0;
  let low = 0, high = table.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (table[middle] <= number) low = middle;
    else high = middle;
  }
  const part = high < table.length ? (number - table[low]) / (table[high] - table[low]) : 0;
  return (low + part) / (table.length - 1);
}

/** The share of the validation images that are as unusual as the last image: as helpers/novelty.py. */
function asUnusual() {
  const numbers = new Float64Array(MEANS), place = new Float32Array(MEANS);
  meansOfMaps(state.pooled[0], 32, numbers, 0);
  meansOfMaps(state.pooled[1], 64, numbers, 32);
  meansOfMaps(state.dense, 128, numbers, 96);
  connect(usual.layer, numbers, place, false);
  const distances = usual.means.map((mean) =>
    mean.reduce((sum, number, i) => sum + (number - place[i]) ** 2, 0));
  const scores = state.scores.subarray(0, names.length), highest = Math.max(...scores);
  const energy = highest + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - highest), 0));
  const ranks = [rank(Math.min(...distances), usual.tables[0]), rank(-energy, usual.tables[1])];
  return 1 - rank(Math.max(...ranks), usual.tables[2]);
}

// For tests and for your own experiments in the browser's console:
Object.assign(window, { predict, predictOthers, prepare, asUnusual });

