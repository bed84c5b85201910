"""Drive an installed Firefox over WebDriver BiDi, which it speaks by itself.

Playwright needs a Firefox of its own, and Selenium a driver that Debian does not have.
"""

import itertools
import json
import re
import subprocess

import websocket


class Firefox:
    """A headless Firefox with one page: ``with Firefox(program, folder, preferences) as firefox``."""

    def __init__(self, program, folder, preferences):
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()
        ]
        (folder / "user.js").write_text("".join(lines), encoding="utf-8")
        command = [program, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port=0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.numbers = itertools.count(1)

    def __enter__(self):
        address = next(filter(None, (re.search(r"ws://\S+", line) for line in self.process.stderr)))[0]
        self.socket = websocket.create_connection(f"{address}/session", suppress_origin=True, timeout=60)
        self.send("session.new", capabilities={})
        self.page = self.send("browsingContext.getTree")["contexts"][0]["context"]
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.communicate()

    def send(self, method, **parameters):
        """Send a command of https://w3c.github.io/webdriver-bidi; return its result."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, path):
        self.send("browsingContext.navigate", context=self.page, url=path.as_uri(), wait="complete")

    def evaluate(self, script):
        """Return what a piece of JavaScript gives, which may be anything that JSON can say."""
        options = {"target": {"context": self.page}, "awaitPromise": True}
        answer = self.send("script.evaluate", expression=f"JSON.stringify({script})", **options)
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"].get("value", "null"))

    def draw(self, points):
        """Draw one stroke with the mouse through (x, y) in the page's pixels."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 20} for x, y in points]
        steps = [
            moves[0],
            {"type": "pointerDown", "button": 0},
            *moves[1:],
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": steps}
        self.send("input.performActions", context=self.page, actions=[mouse])

    def press(self, *keys):
        """Press keys together, and let them go."""
        steps = [{"type": "keyDown", "value": key} for key in keys]
        steps += [{"type": "keyUp", "value": key} for key in reversed(keys)]
        keyboard = {"type": "key", "id": "keyboard", "actions": steps}
        self.send("input.performActions", context=self.page, actions=[keyboard])
