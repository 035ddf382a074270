#!/usr/bin/env python3
"""Drives the report pages in Debian's chromium: report_page_test.py STROBE [unittest's arguments].

Needs the Debian packages chromium and chromium-driver and the Python package selenium; without them every test is skipped with
the reason. `make test-browser` installs them."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

try:
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    MISSING = next((f"{program} is not installed" for program in ("chromium", "chromedriver") if not shutil.which(program)), "")
except ImportError:
    MISSING = "the Python package selenium is not installed"

DATA = pathlib.Path(__file__).resolve().parents[2] / "docs/data"
STROBE = ""


def start_browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    # Debian's sandbox helper is not there in containers.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


@unittest.skipIf(MISSING, MISSING)
class ReportPage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.browser = start_browser()
        cls.addClassCleanup(cls.browser.quit)
        cls.report = cls.write_page("report.html", "report", DATA / "llama-3.1-8b.json", DATA / "azure-conv.json", "-o")
        cls.comparison = cls.write_page("compare.html", "compare", DATA / "llama-3.1-8b.json", DATA / "llama-3.1-8b.json",
                                        "--report")
        cls.rows = json.loads((DATA / "llama-3.1-8b.json").read_text())["rows"]

    @classmethod
    def write_page(cls, name, *words):
        path = pathlib.Path(cls.folder.name) / name
        subprocess.run([STROBE, "bench", *map(str, words), str(path)], check=True, stdout=subprocess.DEVNULL)
        return path

    def open(self, path, width=1280, scheme="light", media="screen"):
        command = self.browser.execute_cdp_cmd
        command("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        command("Emulation.setEmulatedMedia",
                {"media": media, "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self.browser.get(path.as_uri())
        self.script("localStorage.clear()")
        self.browser.refresh()

    def script(self, code, *arguments):
        return self.browser.execute_script(code, *arguments)

    def column(self, index):
        """Sort keys, or texts, of the shown rows."""
        return self.script("""
            return [...document.querySelectorAll('table.sortable tbody tr')].filter((row) => !row.hidden).map((row) =>
                row.cells[arguments[0]].dataset.key ?? row.cells[arguments[0]].textContent)""", index)

    def heading(self, index):
        return self.browser.find_elements(By.CSS_SELECTOR, "table.sortable thead th")[index]

    def background(self):
        return self.script("return getComputedStyle(document.body).backgroundColor")

    def test_sorts_by_number_and_by_text(self):
        self.open(self.report)
        as_written = self.column(1)
        self.assertEqual(len(as_written), len(self.rows))
        self.heading(1).find_element(By.TAG_NAME, "button").click()
        self.assertEqual(self.heading(1).get_attribute("aria-sort"), "ascending")
        self.assertEqual(self.column(1), sorted(as_written, key=float))
        self.assertNotEqual(self.column(1), as_written)
        self.heading(1).find_element(By.TAG_NAME, "button").click()
        self.assertEqual(self.heading(1).get_attribute("aria-sort"), "descending")
        self.assertEqual(self.column(1), sorted(as_written, key=float, reverse=True))
        self.heading(0).find_element(By.TAG_NAME, "button").click()
        self.assertEqual(self.column(0), sorted(self.column(0)))
        self.assertIsNone(self.heading(1).get_attribute("aria-sort"))

    def test_sorts_from_the_keyboard(self):
        self.open(self.report)
        self.heading(1).find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
        self.assertEqual(self.column(1), sorted(self.column(1), key=float))

    def test_filters_by_names_and_values(self):
        self.open(self.report)
        field = self.browser.find_element(By.CSS_SELECTOR, "input[type=search]")
        count = self.browser.find_element(By.CSS_SELECTOR, ".controls output")
        wanted = [row for row in self.rows if "decode" in row["routine"] and "--page_size 64" in row["flags"]]
        field.send_keys("page_size 64  Decode")
        self.assertEqual(len(self.column(0)), len(wanted))
        self.assertEqual(count.text, f"{len(wanted)} of {len(self.rows)} cases")
        field.send_keys(" nothing-has-this")
        self.assertEqual(self.column(0), [])
        field.clear()
        field.send_keys(" ")
        self.assertEqual(len(self.column(0)), len(self.rows))

    def test_opens_a_row(self):
        self.open(self.report)
        details = self.browser.find_element(By.CSS_SELECTOR, "table.sortable details")
        code = details.find_element(By.TAG_NAME, "code")
        self.assertFalse(code.is_displayed())
        details.find_element(By.TAG_NAME, "summary").click()
        self.assertTrue(code.is_displayed())
        self.assertEqual(code.text, self.rows[0]["repro"])

    def test_themes(self):
        self.open(self.report, scheme="light")
        light = self.background()
        self.open(self.report, scheme="dark")
        dark = self.background()
        self.assertNotEqual(light, dark)
        button = self.browser.find_element(By.ID, "theme")
        seen = []
        for _ in range(3):
            button.click()
            seen.append((button.text, self.background()))
        self.assertEqual(seen, [("Theme: light", light), ("Theme: dark", dark), ("Theme: auto", dark)])
        self.open(self.report, scheme="dark", media="print")
        self.assertEqual(self.background(), "rgb(255, 255, 255)")

    def test_contrast_of_texts(self):
        """Every text against the page, 4.5 to 1 at least."""
        luminance = """
            const parts = (color) => color.match(/[\\d.]+/g).map(Number);
            const light = (color) => parts(color).slice(0, 3).map((c) => c / 255)
                .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
                .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
            const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
            const behind = (element) => {
                for (let e = element; e; e = e.parentElement)
                    if (parts(getComputedStyle(e).backgroundColor)[3] !== 0) return getComputedStyle(e).backgroundColor;
            };
            return [...document.querySelectorAll('body *')].filter((e) => e.getClientRects().length &&
                [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())).map((e) => {
                    const style = getComputedStyle(e);
                    return [ratio(e instanceof SVGElement ? style.fill : style.color, behind(e)), e.textContent.slice(0, 40)];
                }).filter((pair) => !(pair[0] >= 4.5))"""
        for page in (self.report, self.comparison):
            for scheme in ("light", "dark"):
                self.open(page, scheme=scheme)
                self.assertEqual(self.script(luminance), [], scheme)

    def test_fits_every_width(self):
        for page in (self.report, self.comparison):
            for width in (360, 768, 1280, 3840):
                self.open(page, width=width)
                self.assertLessEqual(self.script("return document.documentElement.scrollWidth"), width)
                shown = self.script("""
                    return [...document.querySelectorAll('.canvas')].map((canvas) =>
                        [...canvas.children].filter((svg) => svg.getClientRects().length).length)""")
                self.assertEqual(set(shown), {1}, "one picture of each figure")

    def test_texts_of_pictures_do_not_overlap(self):
        overlaps = """
            const found = [];
            for (const svg of document.querySelectorAll('svg.chart')) {
                if (!svg.getClientRects().length) continue;
                const texts = [...svg.querySelectorAll('text:not([transform])')];
                const boxes = texts.map((text) => text.getBBox());
                for (let i = 0; i < boxes.length; ++i)
                    for (let k = 0; k < i; ++k) {
                        const [a, b] = [boxes[i], boxes[k]];
                        if (Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x) > 1 &&
                            Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y) > 4)
                            found.push(texts[i].textContent + ' / ' + texts[k].textContent);
                    }
            }
            return found"""
        for page in (self.report, self.comparison):
            for width in (360, 768, 1280, 3840):
                self.open(page, width=width)
                self.assertEqual(self.script(overlaps), [], width)

    def test_tables_and_pictures_have_names(self):
        self.open(self.report)
        self.assertEqual(self.script("return document.querySelectorAll('thead th:not([scope=col]), tbody th:not([scope=row])').length"), 0)
        self.assertEqual(self.script("return [...document.querySelectorAll('table')].filter((t) => !t.caption).length"), 0)
        self.assertEqual(self.script("""return [...document.querySelectorAll('svg[role=img]')].filter((svg) =>
            !svg.querySelector(':scope > title') || !svg.querySelector(':scope > desc')).length"""), 0)
        self.assertEqual(self.script("return document.querySelectorAll('h1').length"), 1)

    def test_quiet_and_alone(self):
        """No message in the console and no request but for the page itself, whatever is clicked."""
        self.browser.get_log("browser"), self.browser.get_log("performance")
        for page in (self.report, self.comparison):
            self.assertNotIn("http", page.read_text())
            self.open(page)
            for button in self.browser.find_elements(By.TAG_NAME, "button"):
                button.click()
        self.assertEqual(self.browser.get_log("browser"), [])
        events = [json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")]
        urls = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
        self.assertEqual({url for url in urls if not url.startswith("data:")}, {self.report.as_uri(), self.comparison.as_uri()})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    STROBE = str(pathlib.Path(sys.argv.pop(1)).resolve())
    if MISSING:
        print(f"skipped: {MISSING}", file=sys.stderr)
    unittest.main()
