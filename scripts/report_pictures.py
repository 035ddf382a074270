#!/usr/bin/env python3
"""report_pictures.py STROBE FOLDER: the top of the report page of docs/data, light and dark, as PNG files of 256 colours.

Needs chromium, chromium-driver and the Python packages selenium and pillow."""

import base64
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile

from PIL import Image
from selenium import webdriver

DATA = pathlib.Path(__file__).resolve().parent.parent / "docs/data"
WIDTH, HEIGHT = 1280, 1170


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder) / "page.html"
        subprocess.run([sys.argv[1], "bench", "report", DATA / "llama-3.1-8b.json", DATA / "azure-conv.json", "-o", page], check=True)
        for scheme in ("light", "dark"):
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                    {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": scheme}]})
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False})
            browser.get(page.as_uri())
            shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
            picture = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB").quantize(256)
            picture.save(pathlib.Path(sys.argv[2]) / f"report_{scheme}.png", optimize=True)
    browser.quit()


if __name__ == "__main__":
    main()
