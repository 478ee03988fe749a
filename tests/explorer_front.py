"""A front end of two small modules, and a bundle to show in it."""

import io

from PIL import Image

HOSTILE = "</script><script>window.hacked = 1</script><!-- <script> \"quoted\" 'single' ]]> \u2028 é"
"""A name as nobody should give it."""
FILES = {
    "main.js": """// @ts-check
import {told} from "./told.js";

export async function start(root, source) {
  root.textContent = JSON.stringify(await told(source));
  if (source.probe) {
    root.dataset.text = JSON.stringify(await source.probe({kind: "text", body: "a text"}).catch(String));
    root.dataset.image = JSON.stringify(await source.probe({kind: "image", body: new Blob(["x"])}).catch(String));
  }
  root.dataset.ready = "true";
  return {};
}
""",
    "told.js": """// @ts-check
/** What came of the bundle. */
export async function told({json, read, url}) {
  const picture = new Image();
  picture.src = await url("sheets/sample-0.png");
  await picture.decode();
  const numbers = Array.from(new Uint16Array(await read("arrays/code/0/0.bin")));
  return {title: json.title, classes: json.classes, numbers, size: [picture.naturalWidth, picture.naturalHeight]};
}
""",
    "style.css": "#explorer { color: rgb(1, 2, 3); }\n",
}
SHOWN = {"title": HOSTILE, "classes": [HOSTILE, "b"], "numbers": [0, 1, 258, 65535], "size": [3, 2]}
"""What the front end shows of the bundle."""


def front_bundle():
    """A bundle whose names are hostile."""
    from layerscope.explorer.bundle import whole  # inside: the run-time shape checks are installed after collection

    picture = io.BytesIO()
    Image.new("RGB", (3, 2), (255, 0, 0)).save(picture, "PNG")
    files = {
        "arrays/code/0/0.bin": bytes([0, 0, 1, 0, 2, 1, 255, 255]),
        "arrays/id.bin": bytes(32),
        "sheets/sample-0.png": picture.getvalue(),
    }
    return whole({"schema": 2, "title": HOSTILE, "classes": [HOSTILE, "b"], "texts": False}, files)
