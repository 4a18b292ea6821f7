"""The published site: its links, alternative texts and sizes, and every page in Chromium.

`make site-check` looks at every page in all four views and keeps the pictures in build/site-check/."""

import functools
import gzip
import re
import struct
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
import pytest
from conftest import CHAPTERS, ROOT
from web import BASE, CHROMIUM, HOST, Watch, chromium, load_builder, served, violations

VIEWS = [(width, scheme) for width in (360, 1200) for scheme in ("light", "dark")]
KB, MB = 1000, 1_000_000
KINDS = ("document", "stylesheet", "script")
LOADING = ("icon", "stylesheet", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest")
chromium_only = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    "The site, built for these tests without a network, and the seconds that it took."
    builder = load_builder(tmp_path_factory.mktemp("site"))
    nowhere = "http://127.0.0.1:9"  # whoever asks another host by Python fails
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(name, nowhere)
        start = time.perf_counter()
        builder.main()
    return builder.SITE, time.perf_counter() - start


@pytest.fixture(scope="module")
def site(built) -> Path:
    return built[0]


class Page(HTMLParser):
    "What a page holds: its ids, the addresses that it names and those that it loads, its pictures' texts."

    def __init__(self, file: Path):
        super().__init__()
        self.ids, self.addresses, self.loads, self.texts, self.facts = set(), [], [], [], {}
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        facts = {name: value or "" for name, value in attrs}
        self.ids.add(facts.get("id"))
        named = [facts[name] for name in ("href", "src") if name in facts]
        self.addresses += named
        if tag not in ("a", "link") or set(facts.get("rel", "").split()) & set(LOADING):
            self.loads += named
        if tag == "img":
            self.texts.append(facts.get("alt"))
        if tag == "meta":
            content = facts.get("content", "")
            self.facts[facts.get("property") or facts.get("name")] = content
            self.addresses += [content] if content.startswith(HOST) else []


@functools.cache
def pages(folder: Path) -> dict[str, Page]:
    "Every page of a site, by its path."
    return {path.relative_to(folder).as_posix(): Page(path) for path in sorted(folder.rglob("*.html"))}


def place_of(name: str) -> str:
    "A page's address; the one for missing pages answers anywhere."
    return HOST + BASE + ("no/such/page.html" if name == "404.html" else name)


def target_of(folder: Path, url: str) -> Path | None:
    "The file that an address of the site means; none outside of it."
    if not url.startswith(HOST + BASE):
        return None
    path = folder / unquote(urlsplit(url).path).removeprefix(BASE)
    return path / "index.html" if path.is_dir() else path


def broken_links(folder: Path) -> list[str]:
    "Links and files of a site's pages and style sheets that lead nowhere, or to a part that is not there."
    read = pages(folder)
    links = [(name, address) for name, page in read.items() for address in page.addresses]
    for sheet in folder.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.S)
        addresses = re.findall(r"""url\(\s*["']?([^"')]+)""", text)
        links += [(sheet.relative_to(folder).as_posix(), address) for address in addresses]
    broken = []
    for name, address in links:
        url = urljoin(place_of(name), address)
        target = target_of(folder, url)
        if target is None:
            broken += [f"{name}: {address}"] * url.startswith(HOST)  # ours, but not in the site
            continue
        fragment = unquote(urlsplit(url).fragment)
        page = read.get(target.relative_to(folder).as_posix()) if target.is_file() else None
        if not target.is_file() or page and fragment and fragment not in page.ids:
            broken.append(f"{name}: {address}")
    return broken


def foreign_loads(folder: Path) -> list[str]:
    "What pages and style sheets take from another host by themselves."
    loads = [(name, address) for name, page in pages(folder).items() for address in page.loads]
    for sheet in folder.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        loads += [(sheet.name, a) for a in re.findall(r"""(?:url\(|@import)\s*["']?([^"')]+)""", text)]
    return [f"{name}: {a}" for name, a in loads if re.match(r"(https?:)?//", a) and not a.startswith(HOST)]


def reached(folder: Path) -> set[str]:
    "The pages to which a reader gets from the front door, by links alone."
    read, found, new = pages(folder), set(), {"index.html"}
    while new:
        found |= new
        urls = [urljoin(place_of(name), a) for name in new for a in read[name].addresses]
        files = {target_of(folder, url) for url in urls} - {None}
        new = {file.relative_to(folder).as_posix() for file in files} & read.keys() - found
    return found


def texts_of(notebook) -> list[str]:
    "The alternative texts of a notebook's pictures."
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            texts += re.findall(r"!\[([^\]]*)\]\(", cell.source)
        for output in cell.get("outputs", []):
            texts += [
                f["alt"] for f in output.get("metadata", {}).values() if isinstance(f, dict) and "alt" in f
            ]
    return texts


def plain(texts: list[str | None]) -> Counter:
    return Counter(" ".join(text.split()) for text in texts if text)


def page_of(chapter: Path) -> str:
    return f"book/{chapter.relative_to(ROOT / 'nbs').with_suffix('.html').as_posix()}"


def test_the_check_of_links_finds_what_is_broken(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "index.html").write_text(
        '<link rel="stylesheet" href="a.css"><h1 id="top">x</h1><a href="deep/">good</a><a href="#top">x</a>'
        '<a href="deep/index.html#sum%20of">good</a><a href="https://example.org/none">not ours</a>'
        '<a href="#bottom">x</a><a href="none.html">x</a><img src="none.png"><a href="/elsewhere">x</a>'
        f'<meta property="og:image" content="{HOST}{BASE}card.png"><script src="//example.org/x.js"></script>'
    )
    (tmp_path / "deep" / "index.html").write_text('<p id="sum of"><a href="../index.html">good</a></p>')
    (tmp_path / "404.html").write_text(f'<a href="index.html">x</a><a href="{BASE}index.html">good</a>')
    (tmp_path / "a.css").write_text("@import 'https://example.org/a.css'; a { background: url(b.png) }")
    assert sorted(broken_links(tmp_path)) == [
        "404.html: index.html", "a.css: b.png", "index.html: #bottom", "index.html: /elsewhere",
        f"index.html: {HOST}{BASE}card.png", "index.html: none.html", "index.html: none.png",
    ]  # fmt: skip
    assert sorted(foreign_loads(tmp_path)) == [
        "a.css: https://example.org/a.css",
        "index.html: //example.org/x.js",
    ]
    assert reached(tmp_path) == {"index.html", "deep/index.html"}


def test_every_internal_link_leads_somewhere(site):
    assert broken_links(site) == []


def test_nothing_is_loaded_from_another_host(site):
    assert foreign_loads(site) == []


def test_every_notebook_has_a_page_and_every_page_can_be_reached(site):
    names = pages(site).keys()
    assert {page_of(chapter) for chapter in CHAPTERS} <= names and "404.html" in names
    assert names - reached(site) == {"404.html"}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_alternative_text_is_in_the_page(site, chapter):
    wanted, page = plain(texts_of(nbformat.read(chapter, 4))), Page(site / page_of(chapter))
    assert wanted - plain(page.texts) == Counter()
    assert None not in page.texts
    pictures = sum(
        "image/png" in o.get("data", {})
        for c in nbformat.read(chapter, 4).cells
        for o in c.get("outputs", [])
    )
    assert wanted.total() >= pictures  # so that no text was lost on the way here


def test_a_lost_alternative_text_is_noticed(site):
    chapter = next(path for path in CHAPTERS if path.stem == "01_model")
    wanted, page = plain(texts_of(nbformat.read(chapter, 4))), Page(site / page_of(chapter))
    lost = page.texts.pop(page.texts.index(next(text for text in page.texts if plain([text]) & wanted)))
    assert wanted - plain(page.texts) == plain([lost])


def test_the_site_is_light_and_quickly_built(built, whole, record_property):
    site, seconds = built
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    record_property("the site in all", f"{size / MB:.1f} MB (allowed 40)")
    record_property("building it", f"{seconds:.0f} s (allowed 180)")
    largest = max(site.rglob("*.html"), key=lambda file: file.stat().st_size)
    record_property(
        "largest page alone", f"{largest.stat().st_size / KB:.0f} KB, {largest.name} (allowed 400)"
    )
    assert size < 40 * MB and largest.stat().st_size < 400 * KB
    assert seconds < 180 or not whole  # beside other tests it may take longer


def test_the_card_is_there_in_the_promised_size(site):
    for name in ("index.html", "book/index.html"):
        facts = Page(site / name).facts
        card = target_of(site, facts["og:image"]).read_bytes()
        assert card.startswith(b"\x89PNG") and len(card) < 300 * KB
        assert struct.unpack(">II", card[16:24]) == (1200, 630)
        assert (facts["og:image:width"], facts["og:image:height"]) == ("1200", "630")
        assert facts["twitter:card"] == "summary_large_image"
        assert facts["og:title"] and facts["og:description"]


# In Chromium


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(site):
    with served(site) as address:
        yield address


LOOK = """async () => {
  for (const image of document.images) image.loading = "eager";
  const check = (image) => image.decode().then(() => true, () => false);
  const fine = await Promise.all([...document.images].map(check));
  const words = document.body.cloneNode(true);
  for (const part of words.querySelectorAll("pre, code, dt, script, style, math")) part.remove();
  return {
    markup: words.textContent.match(/\\| ?[-—:]+ ?\\||\\]\\(|\\*\\*|\\$\\$|```|^#+ /m),
    title: [...document.querySelectorAll("h1")].map((title) => title.textContent).join(""),
    blank: [...document.images].filter((_, i) => !fine[i]).map((image) => image.src),
    beyond: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    text: getComputedStyle(document.body).color,
  };
}"""


HEIGHT = "document.documentElement.scrollHeight"


def is_bright(color: str) -> bool:
    return sum(map(float, re.findall(r"[\d.]+", color)[:3])) > 3 * 128


def looked_at(page, address, scheme) -> list[str]:
    "Open a page; what is wrong with its look."
    page.goto(address, wait_until="load")
    seen = page.evaluate(LOOK)
    wrong = [f"cannot show {url}" for url in seen["blank"]]
    wrong += [f"{seen['beyond']} pixels wider than the window"] * (seen["beyond"] > 0)
    wrong += [f"not {scheme}"] * (is_bright(seen["text"]) != (scheme == "dark"))
    wrong += [f"raw {seen['markup']}"] if seen["markup"] else []
    return wrong + ["no title"] * (not seen["title"].strip())


@chromium_only
def test_the_look_of_a_page_is_judged(browser, tmp_path):
    (tmp_path / "good.html").write_text("<!doctype html><h1>x</h1>")
    (tmp_path / "bad.html").write_text(
        '<!doctype html><h1> </h1><p style="width: 500px">| --- | x</p><img src="none">'
        '<img src="http://example.org/x.png"><script>console.error("said"); throw Error("thrown")</script>'
    )
    with served(tmp_path) as address:
        context = browser.new_context(viewport={"width": 360, "height": 800}, color_scheme="dark")
        watch, page = Watch(context), context.new_page()
        wrong = looked_at(page, f"{address}bad.html", "dark")
        assert [line.split(" http")[0] for line in wrong] == [
            "cannot show", "cannot show", "148 pixels wider than the window", "not dark", "raw ['| --- |']",
            "no title",
        ]  # fmt: skip
        complaints = "\n".join(watch.complaints())
        assert all(
            word in complaints for word in ("asks http://example.org", "said", "thrown", "404 http://127")
        )
        assert not looked_at(page, f"{address}good.html", "light")
        context.close()


class Visit(NamedTuple):
    "What was seen of a page."

    name: str
    wrong: list[str]  # one line each
    bytes: int  # of its text, style sheets and scripts, packed as Pages sends them


def visit(page, watch: Watch, site: Path, address: str, name: str, scheme: str) -> Visit:
    for kept in (watch.foreign, watch.errors, watch.fetched):
        kept.clear()
    wrong = looked_at(page, address + name, scheme) + watch.complaints()
    urls = {urlsplit(url)._replace(query="").geturl() for url, _, kind in watch.fetched if kind in KINDS}
    files = [target_of(site, HOST + urlsplit(url).path) for url in urls if url.startswith(address)]
    weight = sum(len(gzip.compress(file.read_bytes())) for file in files if file.is_file())
    return Visit(name, [f"{name}, {page.viewport_size['width']}, {scheme}: {line}" for line in wrong], weight)


@pytest.fixture(scope="module")
def visits(site, browser, address, whole) -> list[Visit]:
    "Every page at 360 pixels, in turn light and dark; with `--whole` all four views, with pictures of them."
    names, visits = list(pages(site)), []
    for width, scheme in VIEWS if whole else VIEWS[:2]:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page, watch = context.new_page(), Watch(context)
        for name in names if whole else names[scheme == "dark" :: 2]:
            visits.append(visit(page, watch, site, address, name, scheme))
            if whole:
                file = f"{name.replace('/', '_')[:-5]}_{width}_{scheme}.png"
                part = {"x": 0, "y": 0, "width": width, "height": min(4000, page.evaluate(HEIGHT))}
                page.screenshot(path=ROOT / "build" / "site-check" / file, full_page=True, clip=part)
        context.close()
    return visits


@chromium_only
def test_every_page_looks_right(visits, record_property):
    pages = {visit.name for visit in visits}
    record_property("pages looked at", f"{len(pages)}, in {len(visits) / len(pages):.0f} views each")
    assert "\n".join(line for visit in visits for line in visit.wrong) == ""


@chromium_only
def test_a_page_is_light_without_its_pictures(visits, record_property):
    heaviest = max(visits, key=lambda visit: visit.bytes)
    record_property(
        "heaviest page without pictures", f"{heaviest.bytes / KB:.0f} KB, {heaviest.name} (allowed 400)"
    )
    assert 20 * KB < heaviest.bytes < 400 * KB


@chromium_only
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault_in_the_book(browser, address, whole, scheme):
    "In a page of each kind; without `--whole` in the title page."
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    names = [
        "index",
        "01_model",
        "experiments/07_speed",
        "appendix/support",
        "api/index",
        "api/model",
        "search",
    ]
    for name in names if whole else names[:1]:
        page.goto(f"{address}book/{name}.html")
        assert violations(page) == [], name
    context.close()


@chromium_only
def test_a_missing_page_says_so_and_leads_back(browser, address):
    context = browser.new_context()
    page, watch = context.new_page(), Watch(context)
    lost = f"{address}book/no/such/page.html"
    assert page.goto(lost).status == 404
    assert [url for url, status, _ in watch.fetched if status >= 400] == [lost] and watch.foreign == []
    page.get_by_role("link").first.click()
    page.wait_for_url(f"{address}index.html")
    assert "Draw a digit" in page.locator("h1").inner_text()
    context.close()


@chromium_only
def test_the_search_finds_without_a_server(browser, address):
    context = browser.new_context()
    page, watch = context.new_page(), Watch(context)
    page.goto(f"{address}book/search.html?q=convolution")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    assert any("01_model" in link.get_attribute("href") for link in results.all())
    results.first.click()
    page.locator("article h1").wait_for()
    assert watch.complaints() == []
    context.close()
