"""Hostile records for scripts/report.py: it writes a page or says one line, whatever it is given.

    .venv/bin/python tests/fuzz/report_fuzz.py [--inputs 200] [--seed 1] [--only 17]

Each input is tests/data/records.jsonl changed in a few places, decided by seed and number alone. A page must hold no tag, attribute or
plot text that came from a record; a refusal is one printable line and exit code 1; in both cases nothing else is left in the folder.
"""
import argparse
import contextlib
import copy
import html.parser
import io
import json
import pathlib
import random
import sys
import tempfile
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import report  # noqa: E402

CORPUS = ROOT / "tests/data/records.jsonl"
HTML = ["<fuzz onfuzz=1>", '"><fuzz onfuzz="1">', "' onfuzz='1", '" onfuzz="1', "</script><fuzz>", "</style><fuzz>", "<!--<fuzz>", "]]><fuzz>",
        "<a href='javascript:fuzz()'>", "<b>fuzz</b>", "&lt;fuzz&gt;", "\\u003cfuzz\\u003e", "{fuzz}{0}{}%s", "${fuzz}`"]
TEXTS = ["", "x", "nan", "inf", "\x00\x1b[31m\x7f", "\u202e\u2028", "é\U0001f600", "a" * 5000, "0" * 16, "unknown", "cut short"]
NUMBERS = [0, -1, 1, 2, 0.0, -0.0, 0.5, 1.0, 5e-324, 1e-300, 1e300, 1.7976931348623157e308, 2**31, 2**53 + 1, 2**63, 2**64 - 1]
# JSON that json.dumps does not write; put in the place of a text that stands for it.
RAW = ["NaN", "-Infinity", "1e999", "-1e999", "1" * 25, "1" * 5000, '"\\ud800"', '"\\udfff<fuzz>"', "[" * 40 + "]" * 40, "[" * 100000,
       '{"a":' * 2000 + "1" + "}" * 2000, '{"a":1,"a":2}', "01", "tru", '"\t"', ""]


class PageCheck(html.parser.HTMLParser):
    """The tags, attributes and scripts of a page."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.scripts, self.comments, self.script = set(), set(), [], 0, False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.script = tag == "script"
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attributes)

    def handle_endtag(self, tag):
        self.script = False

    def handle_data(self, data):
        if self.script:
            self.scripts.append(data)

    def handle_comment(self, data):
        self.comments += 1


TAGS = set("html head meta title style script body main h1 h2 h3 p div span dl dt dd ul li b br code details summary table thead tbody tr th td"
           .split())
ATTRIBUTES = {"lang", "charset", "name", "content", "class", "style", "title", "id", "type"}
PLOT_TAGS = ("\\u003cbr\\u003e",)  # what a plot's text may have: line breaks


def check_page(page):
    found = PageCheck(page)
    assert found.tags <= TAGS, f"tags {found.tags - TAGS}"
    assert found.attributes <= ATTRIBUTES, f"attributes {found.attributes - ATTRIBUTES}"
    assert not found.comments, "a comment"
    for script in found.scripts:
        script = script.replace("\\\\", "")  # a backslash of a text's own
        for tag in PLOT_TAGS:
            script = script.replace(tag, "")
        assert "\\u003c" not in script, f"a tag in a plot: ...{script[max(0, script.find('u003c') - 80):][:200]}"
    assert page.endswith("</html>\n")


# ---- mutations -------------------------------------------------------------------------------------------------------------------

def places(value):
    """Every (container, key) in a record."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from places(item)


def a_place(rng, records, kinds=object):
    found = [(owner, key) for owner, key in places(rng.choice(records)) if isinstance(owner[key], kinds) and not isinstance(owner[key], bool)]
    return rng.choice(found) if found else (None, None)


def drop_field(rng, records):
    owner, key = a_place(rng, records)
    if owner is not None:
        del owner[key]


def rename_field(rng, records):
    owner, key = a_place(rng, records)
    if isinstance(owner, dict):
        owner[rng.choice(HTML + TEXTS + ["value", "kind", "run"])] = owner.pop(key)


def any_value(rng, records):
    owner, key = a_place(rng, records)
    if owner is not None:
        owner[key] = rng.choice([None, True, [], {}, [[]], {"value": None, "status": "unavailable", "reason": "<fuzz>"},
                                 *NUMBERS, *TEXTS, *HTML])


def other_number(rng, records):
    owner, key = a_place(rng, records, (int, float))
    if owner is not None:
        owner[key] = rng.choice(NUMBERS)


def no_figure(rng, records):
    record = rng.choice(records)
    found = [(owner, key) for owner, key in places(record) if isinstance(owner[key], dict) and "status" in owner[key]]
    if found:
        owner, key = rng.choice(found)
        owner[key] = {"value": None, "status": "unavailable", "reason": rng.choice(HTML)}


FIXED = {"kind", "device_kind", "run", "status", "timer", "time", "stopped", "limiter", "sm_limiter"}  # the schema lists what they can be


def is_free(key, value):
    """Whether the schema takes any text in the field."""
    return isinstance(value, str) and key not in FIXED and value not in ("inf", "nan") and not (len(value) in (16, 40) and value.isalnum())


def other_text(rng, records):
    found = [(owner, key) for record in records for owner, key in places(record) if is_free(key, owner[key])]
    for owner, key in rng.choices(found, k=5):
        owner[key] = rng.choice(TEXTS + HTML)


def html_everywhere(rng, records):
    payload = rng.choice(HTML)
    for record in records:
        for owner, key in places(record):
            if is_free(key, owner[key]):
                owner[key] = payload
        if "shape" in record:
            record["shape"] = {payload + name: size for name, size in record["shape"].items()}


def other_list(rng, records):
    owner, key = a_place(rng, records, list)
    if owner is not None:
        owner[key] = owner[key] * rng.choice([0, 2, 100])


def other_verdict(rng, records):
    found = [(owner, key) for record in records for owner, key in places(record) if isinstance(owner[key], bool)]
    for owner, key in rng.choices(found, k=3):
        owner[key] = not owner[key]


def move_record(rng, records):
    records.insert(rng.randrange(len(records)), records.pop(rng.randrange(len(records))))


def repeat_record(rng, records):
    records.insert(rng.randrange(len(records)), copy.deepcopy(rng.choice(records)))


def drop_record(rng, records):
    if len(records) > 1:
        records.pop(rng.randrange(len(records)))


def other_run(rng, records):
    rng.choice(records)["run"] = rng.choice(records)["run"]


ON_RECORDS = [drop_field, rename_field, any_value, *[other_number] * 4, no_figure, *[other_text] * 3, *[html_everywhere] * 3, other_list,
              other_verdict, other_verdict, move_record, move_record, repeat_record, drop_record, other_run]


def raw_json(rng, text):
    start = rng.randrange(len(text))
    colon = text.find(b":", start)
    end = min((at for at in (text.find(b",", colon), text.find(b"}", colon)) if at >= 0), default=len(text))
    return text if colon < 0 else text[:colon + 1] + rng.choice(RAW).encode() + text[end:]


def other_bytes(rng, text):
    at = rng.randrange(len(text))
    return text[:at] + rng.randbytes(rng.randrange(1, 5)) + text[at + rng.randrange(3):]


def torn(rng, text):
    return text[:rng.randrange(len(text) + 1)]


def without_part(rng, text):
    at = rng.randrange(len(text))
    return text[:at] + text[at + rng.randrange(1, 200):]


def a_line(rng, text):
    lines = text.split(b"\n")
    lines.insert(rng.randrange(len(lines)), rng.choice([b"", b"\r", b"[]", b"{}", b"null", b"\xff\xfe", b"\xef\xbb\xbf{}", b"[" * 100000, b"\0" * 100]))
    return b"\n".join(lines)


def other_ends(rng, text):
    return text.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n", b"\0\n"]))


ON_BYTES = [raw_json, raw_json, other_bytes, torn, without_part, a_line, other_ends]


def make_input(corpus, seed, number):
    rng = random.Random(f"{seed}/{number}")
    records = copy.deepcopy(corpus)
    for mutate in rng.choices(ON_RECORDS, k=rng.randrange(4)):
        mutate(rng, records)
    content = "".join(json.dumps(record, ensure_ascii=rng.random() < 0.5) + "\n" for record in records).encode()
    if rng.random() < 0.3:
        for mutate in rng.choices(ON_BYTES, k=rng.randrange(1, 3)):
            content = mutate(rng, content) or b"\n"
    return content


# ---- running ---------------------------------------------------------------------------------------------------------------------

def run_one(folder, content):
    """Whether the records became a page; AssertionError for what must not be."""
    records, page = folder / "records.jsonl", folder / "page.html"
    records.write_bytes(content)
    page.unlink(missing_ok=True)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = report.main([str(records), "-o", str(page)])
    said = err.getvalue().splitlines()
    notes = [line for line in said if line.startswith("report.py: note: ")]
    assert all(line.isprintable() for line in said), f"unprintable: {said}"
    left = sorted(path.name for path in folder.iterdir())
    if code == 0:
        assert said == notes and left == ["page.html", "records.jsonl"], f"exit 0, but said {said} and left {left}"
        check_page(page.read_text(encoding="utf-8"))
        return True
    assert code == 1 and out.getvalue() == "", f"exit code {code}, stdout {out.getvalue()!r}"
    assert len(said) == len(notes) + 1 and said[-1].startswith("report.py: error: ") and len(said[-1]) < 1000, f"said {said}"
    assert left == ["records.jsonl"], f"left {left}"
    return False


def main():
    parser = argparse.ArgumentParser(description="Hostile records for scripts/report.py.")
    parser.add_argument("--inputs", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides them (default: %(default)s)")
    parser.add_argument("--only", type=int, help="the number of one input to repeat")
    arguments = parser.parse_args()
    report.get_plotlyjs = lambda: ""  # 5 MB that no record changes
    corpus = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    numbers = range(arguments.inputs) if arguments.only is None else [arguments.only]
    pages = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            content = make_input(corpus, arguments.seed, number)
            try:
                pages += run_one(pathlib.Path(folder), content)
            except Exception as error:  # whatever leaves report.main is a finding
                failed += 1
                if failed <= 10:
                    where = "" if isinstance(error, AssertionError) else "".join(traceback.format_tb(error.__traceback__)[-1:])
                    print(f"FAILED --seed {arguments.seed} --only {number}: {type(error).__name__}: {error}\n{where}")
    print(f"{len(numbers)} inputs: {pages} pages, {len(numbers) - pages - failed} refused, {failed} failed")
    # Inputs that are all refused, or all taken, try only half of the program.
    one_sided = arguments.only is None and not len(numbers) // 5 < pages < len(numbers) * 4 // 5
    if one_sided:
        print("FAILED: the inputs are no mix of good and bad")
    return 1 if failed or one_sided else 0


if __name__ == "__main__":
    sys.exit(main())
