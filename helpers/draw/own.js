// Your own drawings: whether the network was right, a game, and files of them. Uses files.js.

const FEWEST = 5; // of each class: fewer cannot be split into training and test images
const ROUND = Math.min(10, names.length); // drawings in a game
const own = []; // {label, read, pixels, right, rightShrunk}: what was meant, and how it was read
let game = null; // {tasks, results, started, timer}

/** Keep the drawing on the pad; `label` is what was meant. */
function keep(label) {
  const { ink } = current;
  const pixels = prepare(ink, PAD_SIDE, PAD_SIDE);
  const right = (image) => read(image).answer === label;
  own.push({ label, pixels, read: current.answer, right: right(pixels), rightShrunk: right(shrink(ink)) });
  pad.clear();
  showOwn();
}

const counted = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const meant = names.map((name, label) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.setAttribute("aria-label", `I meant ${name}: keep the drawing`);
  button.addEventListener("click", () => {
    const { answer } = current;
    keep(label);
    byId("verdict").textContent = answer === label ? `It was right. Kept as ${name}.`
      : `It was wrong: it read ${answer < 0 ? `no ${description.what}` : names[answer]}. Kept as ${name}.`;
  });
  byId("meant").append(button);
  return button;
});

/** Show which classes were read as which, how much the preparation helps, and what a data set lacks. */
function showOwn() {
  const labels = names.map((_, label) => label);
  const rows = labels.filter((label) => own.some((drawing) => drawing.label === label));
  const columns = [...labels, -1].filter((answer) =>
    rows.includes(answer) || own.some((drawing) => drawing.read === answer));
  const table = byId("confusion");
  table.innerHTML = `<caption class="note">Rows: what you meant. Columns: what it read.</caption>
    <thead><tr><td></td></tr></thead><tbody></tbody>`;
  const add = (row, kind, content, className = "") => {
    const cell = document.createElement(kind);
    cell.textContent = content;
    cell.className = className;
    if (kind === "th") cell.scope = row.parentNode.tagName === "THEAD" ? "col" : "row";
    row.append(cell);
  };
  for (const answer of columns) add(table.tHead.rows[0], "th", answer < 0 ? "none" : names[answer]);
  for (const label of rows) {
    const row = table.tBodies[0].insertRow();
    add(row, "th", names[label]);
    for (const answer of columns) {
      const count = own.filter((drawing) => drawing.label === label && drawing.read === answer).length;
      add(row, "td", count || "·", count === 0 ? "" : answer === label ? "right" : "wrong");
    }
  }
  const count = (kind) => own.filter((drawing) => drawing[kind]).length;
  byId("own-accuracy").textContent = own.length === 0 ? "Nothing is kept yet." :
    `Of ${counted(own.length, "drawing")} it reads ${count("right")}; if they were only shrunk, without ` +
    `the preparation, ${count("rightShrunk")}.`;
  const lacking = labels.map((label) => FEWEST - own.filter((drawing) => drawing.label === label).length);
  const missing = labels.filter((label) => lacking[label] > 0);
  const list = missing.slice(0, 12).map((label) => `${names[label]} (${lacking[label]})`).join(", ");
  byId("lacking").textContent = missing.length === 0
    ? "Enough for the notebooks: give them the file's path as dataset."
    : `The notebooks need at least ${FEWEST} drawings of each class. Still missing: ${list}` +
      `${missing.length > 12 ? `, and ${missing.length - 12} more classes` : ""}.`;
  byId("kept").hidden = own.length === 0;
}

byId("forget").addEventListener("click", () => {
  own.pop();
  byId("verdict").textContent = `Took it away. ${counted(own.length, "drawing")} left.`;
  showOwn();
  if (own.length === 0) meant[0].focus();
});

function download(name, bytes, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

byId("save-data").addEventListener("click", () => download("my_drawings.npz", zip({
  "x.npy": npy("|u1", [own.length, SIDE, SIDE], joined(own.map(({ pixels }) => pixels))),
  "y.npy": npy("|u1", [own.length], own.map(({ label }) => label)),
  "class_names.npy": npyOfTexts(names),
}), "application/octet-stream"));

byId("save-pictures").addEventListener("click", () => {
  const folder = (label) => names[label].replace(/[/\\:*?"<>|]/g, "_");
  const files = own.map(({ label, pixels }, i) => [`${folder(label)}/drawing_${i + 1}.png`, png(pixels)]);
  download("my_drawings.zip", zip(Object.fromEntries(files)), "application/zip");
});

// ---------------------------------------------------------------- the game

function shuffled(list) {
  const left = [...list];
  return list.map(() => left.splice(Math.floor(Math.random() * left.length), 1)[0]);
}

const secondsPlayed = () => Math.round((performance.now() - game.started) / 1000);

function showTask() {
  byId("task").hidden = game === null;
  byId("start").textContent = game ? "Stop the game" : "Start";
  if (!game) return;
  const { tasks, results } = game;
  const name = names[tasks[results.length]];
  byId("wanted").textContent = `Draw${description.what !== "digit" ? ":" : name === "8" ? " an" : " a"} ${name}`;
  showTime();
}

function showTime() {
  const { results } = game;
  const right = results.filter(Boolean).length;
  byId("score").textContent = `${results.length + 1} of ${ROUND}, ${right} right, ${secondsPlayed()} s`;
}

function stop(sentence) {
  clearInterval(game.timer);
  game = null;
  byId("result").textContent = sentence;
  showTask();
}

byId("start").addEventListener("click", () => {
  if (game) {
    stop("Stopped.");
    return;
  }
  pad.clear();
  const tasks = shuffled(names.map((_, label) => label)).slice(0, ROUND);
  game = { tasks, results: [], started: performance.now(), timer: setInterval(showTime, 1000) };
  byId("result").textContent = "";
  showTask();
  pad.focus();
  document.querySelector(".top").scrollIntoView();
});

function done() {
  if (!game || !current.isDrawn) return;
  const label = game.tasks[game.results.length];
  game.results.push(current.answer === label);
  keep(label);
  if (game.results.length < ROUND) {
    showTask();
    pad.focus();
    return;
  }
  const right = game.results.filter(Boolean).length;
  stop(`${right} of ${ROUND} read right, in ${counted(secondsPlayed(), "second")}.`);
  byId("start").focus();
}
byId("done").addEventListener("click", done);
byId("pad").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.tagName === "CANVAS") done();
});
