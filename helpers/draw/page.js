// The page: the answer, the switches, the gallery, and the start. Uses all other scripts.

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
  nothing: "Nothing yet.",
  prepared: `Your ink, prepared as MNIST was: cut out, scaled into a ${BOX}×${BOX} box, and moved so that ` +
    "its center of mass is in the middle.",
  shrunk: "Your ink, only shrunk: as large as you drew it, and where you drew it.",
};
let current; // what is on the pad, what the network makes of it
let speaking;

function percent(share) {
  return share > 0.9995 ? ">99.9%" : `${(100 * share).toFixed(1)}%`; // never quite certain
}

/** Let the network read an image: its probabilities, the best class, and its answer, −1 for none. */
function read(pixels) {
  const probabilities = predict(pixels);
  const best = probabilities.indexOf(Math.max(...probabilities));
  const share = usual ? asUnusual() : 1;
  return { probabilities, best, share, answer: share < description.refused ? -1 : best };
}

function onDrawn(pixels, ink, isFinished) {
  current = { pixels, ink };
  showAnswer(isFinished);
}

function showAnswer(isFinished = true) {
  const { pixels, ink } = current;
  const isEmpty = pixels.every((pixel) => pixel === 0);
  const isShrunk = ink && !byId("prepared").checked;
  const changes = Object.fromEntries(Object.entries(sliders).map(([name, { value }]) => [name, Number(value)]));
  const isChanged = Object.values(changes).some((value) => value !== 0);
  const fed = change(isShrunk ? shrink(ink) : pixels, changes);
  const { probabilities, best, share, answer } = read(fed);
  Object.assign(current, { fed, answer, isDrawn: Boolean(ink) && !isEmpty });
  const isRefused = answer < 0;
  const answered = isEmpty ? "?" : isRefused ? description.none : names[best];
  byId("answer").textContent = answered;
  byId("answer").classList.toggle("long", answered.length > 3);
  byId("answer-note").textContent = isEmpty ? "waiting for your drawing"
    : isRefused ? `if it is one: ${names[best]}, ${percent(probabilities[best])}`
    : `probability ${percent(probabilities[best])}`;
  bars.forEach(({ row, bar, number }, i) => {
    const share = isEmpty ? 0 : probabilities[i];
    row.classList.toggle("best", !isEmpty && i === best);
    bar.style.transform = `scaleX(${share})`;
    number.textContent = isEmpty ? "–" : percent(share);
  });
  byId("unusual").textContent = isEmpty || !usual ? "" : unusual(share);
  const image = gallery.find((known) => known.pixels === pixels);
  for (const { button } of gallery) button.setAttribute("aria-pressed", String(button === image?.button));
  byId("seen-note").textContent = (image ? `${image.about}, fed as it is. Draw over it to start your own.`
    : NOTES[isEmpty ? "nothing" : isShrunk ? "shrunk" : "prepared"]) + (isChanged ? " Then changed." : "");
  for (const button of [...meant, byId("done")]) button.disabled = !current.isDrawn;
  showOthers();
  showInside();
  if (isFinished) {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      byId("spoken").textContent = isEmpty ? "The pad is empty." : isRefused ? `${description.none}.` :
        `The network reads ${names[best]}, with ${percent(probabilities[best])}.`;
    }, 300);
  }
}

function unusual(share) {
  const limit = `${Math.round(100 * description.refused)}%`;
  const found = share < 0.0005 ? `None of the ${description.what}s` : `${percent(share)} of the ${description.what}s`;
  return `How usual? ${found} held out from training are as unusual as this. Below ${limit} it is refused.`;
}

const others = description.others.map(({ name }) => {
  const row = byId("others").querySelector("tbody").insertRow();
  row.innerHTML = `<th scope="row"></th><td></td><td class="number"></td>`;
  row.cells[0].textContent = name;
  return row;
});
if (others.length === 0) byId("others").remove();
else byId("others").addEventListener("toggle", showOthers);

function showOthers() {
  if (!byId("others")?.open) return;
  const isEmpty = current.fed.every((pixel) => pixel === 0);
  predictOthers(current.fed).forEach((probabilities, i) => {
    const highest = Math.max(...probabilities);
    others[i].cells[1].textContent = isEmpty ? "?" : names[probabilities.indexOf(highest)];
    others[i].cells[2].textContent = isEmpty ? "–" : percent(highest);
  });
}

// ---------------------------------------------------------------- what is changed on the way

const sliders = Object.fromEntries(["turn", "thicken", "noise"].map((name) => [name, byId(name)]));

/** Turn an image (degrees, clockwise), thicken or thin its ink (steps), add noise (percent of white). */
function change(pixels, { turn, thicken, noise }) {
  let image = Float64Array.from(pixels);
  const from = (x, y) => (x < 0 || y < 0 || x >= SIDE || y >= SIDE ? 0 : image[y * SIDE + x]);
  const everywhere = (value) => {
    image = image.map((_, i) => value(i % SIDE, Math.floor(i / SIDE)));
  };
  if (turn !== 0) {
    const angle = (turn * Math.PI) / 180, cos = Math.cos(angle), sin = Math.sin(angle);
    everywhere((column, row) => { // where this pixel comes from; between four pixels, their mean
      const x = MIDDLE + cos * (column - MIDDLE) + sin * (row - MIDDLE), left = Math.floor(x);
      const y = MIDDLE - sin * (column - MIDDLE) + cos * (row - MIDDLE), top = Math.floor(y);
      const across = (line) => from(left, line) + (x - left) * (from(left + 1, line) - from(left, line));
      return across(top) + (y - top) * (across(top + 1) - across(top));
    });
  }
  for (let step = 0; step < Math.abs(thicken); step++) {
    const choose = thicken > 0 ? Math.max : Math.min;
    everywhere((x, y) => choose(from(x, y), from(x - 1, y), from(x + 1, y), from(x, y - 1), from(x, y + 1)));
  }
  let random = 1; // the same noise every time
  if (noise !== 0) {
    everywhere((x, y) => {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      return from(x, y) + 2.55 * noise * ((2 * random) / 2 ** 32 - 1);
    });
  }
  return Uint8ClampedArray.from(image);
}

const SIGNS = { turn: "°", thicken: "", noise: "%" };
function showSliders() {
  for (const [name, slider] of Object.entries(sliders)) {
    const value = `${slider.value.replace("-", "−")}${SIGNS[name]}`;
    slider.nextElementSibling.textContent = value;
    slider.setAttribute("aria-valuetext", value);
  }
}
byId("changes").addEventListener("input", () => {
  showSliders();
  showAnswer();
});
byId("changes").addEventListener("toggle", () => { // on a phone, the sliders need the whole width
  byId("changes").parentElement.classList.toggle("changing", byId("changes").open);
});
byId("normal").addEventListener("click", () => {
  for (const slider of Object.values(sliders)) slider.value = 0;
  byId("prepared").checked = true;
  showSliders();
  showAnswer();
});

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

const pad = createPad(byId("pad"), onDrawn, document);
darkMode.addEventListener("change", repaint);
readColors();
showSliders();
showOwn();
pad.showImage(gallery[0]?.pixels ?? new Uint8Array(SIDE * SIDE));
if (gallery.length === 0) document.querySelector(".gallery").remove();
const strongest = state.maps[0].indexOf(Math.max(...state.maps[0])); // a pixel worth a look
const [place, strongestMap] = [Math.floor(strongest / 32), strongest % 32];
follow({ unit: state.dense.indexOf(Math.max(...state.dense)) });
choose(0, strongestMap, place % 26, Math.floor(place / 26));
repaint();
