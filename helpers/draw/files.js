// Files, written byte by byte: .npy arrays and PNG pictures, in zip files without compression.

const text = (string) => Array.from(string, (character) => character.charCodeAt(0));
const little = (number, bytes) => Array.from({ length: bytes }, (_, i) => (number >>> (8 * i)) & 255);
const big = (number) => little(number, 4).reverse();

const CRC = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? 0xedb88320 ^ (number >>> 1) : number >>> 1;
  return number;
});
const crc32 = (bytes) =>
  ~bytes.reduce((crc, byte) => CRC[(crc ^ byte) & 255] ^ (crc >>> 8), ~0) >>> 0;

/** A zip file of {name: bytes}; names may hold any letters. */
function zip(files) {
  const local = [], central = [];
  let offset = 0;
  for (const [name, bytes] of Object.entries(files)) {
    const letters = [...new TextEncoder().encode(name)];
    const about = [ // version, UTF-8 names, not compressed, time and date (January 1980)
      ...little(20, 2), ...little(0x800, 2), ...little(0, 4), ...little(0x21, 2),
      ...little(crc32(bytes), 4), ...little(bytes.length, 4), ...little(bytes.length, 4),
      ...little(letters.length, 2), ...little(0, 2),
    ];
    const head = Uint8Array.from([...text("PK\x03\x04"), ...about, ...letters]);
    central.push(...text("PK\x01\x02"), ...little(20, 2), ...about, ...little(0, 10), ...little(offset, 4),
      ...letters);
    local.push(head, bytes);
    offset += head.length + bytes.length;
  }
  const count = little(local.length / 2, 2);
  const end = [...text("PK\x05\x06"), ...little(0, 4), ...count, ...count, ...little(central.length, 4),
    ...little(offset, 4), ...little(0, 2)];
  return joined([...local, central, end]);
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** An array as NumPy's .npy file; `type` as NumPy writes it. */
function npy(type, shape, bytes) {
  const header = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.join(", ")},)}`;
  const padded = header.padEnd(Math.ceil((header.length + 11) / 64) * 64 - 11) + "\n";
  return joined([text("\x93NUMPY\x01\x00"), little(padded.length, 2), text(padded), bytes]);
}

/** Texts as a NumPy array: four bytes a character. */
function npyOfTexts(texts) {
  const points = texts.map((one) => Array.from(one, (character) => character.codePointAt(0)));
  const longest = Math.max(...points.map((one) => one.length));
  const bytes = points.flatMap((one) =>
    Array.from({ length: longest }, (_, i) => little(one[i] ?? 0, 4)).flat());
  return npy(`<U${longest}`, [texts.length], bytes);
}

/** A gray picture of 28×28 pixels as a PNG file. */
function png(pixels) {
  const chunk = (name, content) => {
    const named = [...text(name), ...content];
    return [...big(content.length), ...named, ...big(crc32(named))];
  };
  const rows = Array.from({ length: SIDE }, (_, y) => [0, ...pixels.slice(y * SIDE, (y + 1) * SIDE)]).flat();
  const [a, b] = rows.reduce(([one, two], byte) => [(one + byte) % 65521, (two + one + byte) % 65521], [1, 0]);
  const stored = [0x78, 1, 1, ...little(rows.length, 2), ...little(~rows.length, 2), ...rows];
  return Uint8Array.from([
    ...text("\x89PNG\r\n\x1a\n"), ...chunk("IHDR", [...big(SIDE), ...big(SIDE), 8, 0, 0, 0, 0]),
    ...chunk("IDAT", [...stored, ...big(b * 65536 + a)]), ...chunk("IEND", []),
  ]);
}
