"""Shows a page of `wdt-lake report` in headless Chromium, on a desktop and on a phone, in light and dark, and prints what is wrong as a JSON list.

    python report_page.py PAGE.html [FOLDER]

It drives chromedriver by the WebDriver protocol, with Python's own library. Wrong is: anything on the console, any request but for the page itself, a page
that is wider than the screen, text of too little contrast on what lies behind it (WCAG 2.2 AA: 4.5, or 3 where it is large), shapes of charts below 3, a
region that scrolls and that the keyboard does not reach, a link that leads nowhere or whose focus is not seen, headings that skip a level, an SVG without a
text. With FOLDER it puts whole-page screenshots there.
"""

import base64
import json
import pathlib
import subprocess
import sys
import time
import urllib.request

AUDIT = r"""
const wrong = [];
const parse = text => { const m = text.match(/rgba?\(([^)]+)\)/); const p = m[1].split(/[ ,\/]+/).map(Number); return [p[0], p[1], p[2], p.length > 3 ? p[3] : 1]; };
const channel = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const behind = element => {
  const stack = [];
  for (let at = element; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor); if (c[3] > 0) { stack.push(c); if (c[3] === 1) break; } }
  return stack.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
};
document.querySelectorAll('details').forEach(one => one.open = true);
const seen = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let texts = 0;
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  if (!node.textContent.trim() || node.parentElement.closest('svg, style, script')) continue;
  const element = node.parentElement, style = getComputedStyle(element);
  texts += 1;
  const size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const found = contrast(over(parse(style.color), behind(element)), behind(element));
  if (found < (isLarge ? 3 : 4.5)) wrong.push(`contrast ${found.toFixed(2)}: ${element.tagName}.${element.className}: ${node.textContent.trim().slice(0, 40)}`);
  if (size < 12) wrong.push(`text of ${size} px: ${node.textContent.trim().slice(0, 40)}`);
}
if (texts < 40) wrong.push(`only ${texts} texts`);
for (const shape of document.querySelectorAll('svg rect, svg path:not(.g):not(.du)')) {
  const found = contrast(parse(getComputedStyle(shape).fill), behind(shape.closest('svg').parentElement));
  const name = shape.getAttribute('class');
  if (found < 3 && name !== 'du' && !seen.has(name)) { seen.add(name); wrong.push(`contrast ${found.toFixed(2)} of the shape ${name}`); }
}
if (document.documentElement.scrollWidth > innerWidth) {
  const wide = [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.parentElement.closest('.scroll'));
  wrong.push(`the page is ${document.documentElement.scrollWidth} px wide: ${wide.slice(0, 3).map(e => e.outerHTML.slice(0, 80)).join(' | ')}`);
}
for (const e of document.querySelectorAll('body *')) {
  const style = getComputedStyle(e);
  if (/auto|scroll/.test(style.overflowX) && e.scrollWidth > e.clientWidth && (e.tabIndex < 0 || !e.getAttribute('aria-label'))) wrong.push(`no keyboard reaches ${e.outerHTML.slice(0, 80)}`);
}
for (const svg of document.querySelectorAll('svg')) {
  if (svg.getAttribute('aria-hidden') !== 'true' && !(svg.getAttribute('role') === 'img' && svg.getAttribute('aria-label'))) wrong.push('an SVG without a text');
}
for (const link of document.querySelectorAll('a[href^="#"]')) if (!document.getElementById(link.getAttribute('href').slice(1))) wrong.push(`${link.href} leads nowhere`);
let level = 0;
for (const heading of document.querySelectorAll('h1, h2, h3, h4')) { const own = Number(heading.tagName[1]); if (own > level + 1) wrong.push(`heading ${heading.textContent} skips a level`); level = own; }
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
if (new Set(ids).size < ids.length) wrong.push('an id stands twice');
if (document.querySelectorAll('h1').length !== 1 || !document.title || !document.documentElement.lang || !document.querySelector('main')) wrong.push('no title, language or main part');
if (performance.getEntriesByType('resource').filter(one => !one.name.startsWith('data:')).length) wrong.push('something was fetched');
return wrong;
"""
FOCUS = r"""
const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
return [e.tagName, (e.textContent || '').slice(0, 30), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, box.left >= 0 && box.width > 0];
"""


class Driver:
    def __init__(self):
        # The free port that it finds may be taken by another program before it listens there: then it ends, and is started again.
        for _ in range(5):
            self.base = self.start()
            if self.base:
                break
        else:
            raise SystemExit("chromedriver does not start")
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]}
        wanted = {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL"}, "goog:chromeOptions": options}
        self.session = self.base + "/session/" + self.ask("POST", self.base + "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def start(self):
        """Starts chromedriver, and gives its address; none when it ended at once."""
        self.process = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if "started successfully on port" in line:
                return "http://127.0.0.1:%s" % line.strip().rstrip(".").rsplit(" ", 1)[1]
        self.process.wait()
        return None

    def ask(self, method, url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        # The loopback is never behind a proxy.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as answer:
            return json.load(answer)["value"]

    def do(self, path, body):
        return self.ask("POST", self.session + path, body)

    def cdp(self, command, **parameters):
        return self.do("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script):
        return self.do("/execute/sync", {"script": script, "args": []})

    def close(self):
        try:
            self.ask("DELETE", self.session)
        finally:
            self.process.terminate()
            self.process.wait()


def keyboard(driver):
    """Goes through the page by the Tab key: what it reaches, and what is wrong with how that is seen."""
    wrong, reached = [], []
    stops = driver.run("document.querySelectorAll('details').forEach(one => one.open = false); return document.querySelectorAll('a, summary, [tabindex=\"0\"]').length")
    for _ in range(stops):
        for kind in ("rawKeyDown", "keyUp"):
            driver.cdp("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        time.sleep(0.01)
        tag, text, outlined, visible = driver.run(FOCUS)
        reached.append(tag)
        if tag != "BODY" and not (outlined and visible):
            wrong.append("the focus is not seen on %s %s" % (tag, text))
    for tag in ("A", "DIV"):
        if tag not in reached:
            wrong.append("the keyboard does not reach any %s: %s" % (tag, reached))
    return wrong


def main(page, folder=None):
    driver, wrong = Driver(), []
    try:
        for width, height, is_phone in ((1440, 900, False), (390, 844, True)):
            for scheme in ("light", "dark"):
                driver.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone)
                driver.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
                driver.do("/url", {"url": pathlib.Path(page).resolve().as_uri()})
                found = keyboard(driver) if scheme == "light" else []
                if folder:
                    driver.do("/url", {"url": pathlib.Path(page).resolve().as_uri()})
                    size = driver.cdp("Page.getLayoutMetrics")["cssContentSize"]
                    clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
                    shot = driver.cdp("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
                    name = "%s-%d-%s.png" % (pathlib.Path(page).stem, width, scheme)
                    (pathlib.Path(folder) / name).write_bytes(base64.b64decode(shot))
                found += driver.run(AUDIT)
                found += ["console: " + entry["message"] for entry in driver.do("/se/log", {"type": "browser"})]
                wrong += ["%d px, %s: %s" % (width, scheme, one) for one in found]
    finally:
        driver.close()
    print(json.dumps(wrong, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
