"""The drawing pad as a notebook widget: what you draw comes back as an array.

``pad.js`` draws and prepares the image; the page of `helpers.draw` uses the same file.
"""

from pathlib import Path

import anywidget
import numpy as np
import traitlets

HERE = Path(__file__).parent
SCRIPT, STYLE = (HERE / name for name in ("pad.js", "pad.css"))

RENDER = """
export default {
  render({ model, el }) {
    createPad(el, (pixels, ink, isFinished) => {
      if (!isFinished) return;
      const isEmpty = pixels.every((pixel) => pixel === 0);
      model.set("pixels", new DataView((isEmpty ? new Uint8Array(0) : new Uint8Array(pixels)).buffer));
      model.save_changes();
    });
  },
};
"""


class Pad(anywidget.AnyWidget):
    """A pad to draw on in JupyterLab or Colab: ``pad = Pad()``, then ``pad``, then ``pad.digit``."""

    _esm = SCRIPT.read_text(encoding="utf-8") + RENDER
    _css = STYLE.read_text(encoding="utf-8")
    pixels = traitlets.CBytes().tag(sync=True)  # 784 of them once something is drawn

    @property
    def digit(self) -> np.ndarray | None:
        """The drawn digit, prepared as MNIST's are: ``(28, 28)`` uint8, or None if nothing is drawn."""
        return np.frombuffer(self.pixels, np.uint8).reshape(28, 28) if self.pixels else None

    def __repr__(self):
        return "A pad to draw on. It appears when you run this cell in JupyterLab or Colab."
