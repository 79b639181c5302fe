"""Reads records files (JSON Lines, results/schema.json). All Python that reads records reads them here.

What a file may hold is decided by the schema alone; here are the limits of size and depth, and how records join their run.
"""
import errno
import functools
import json
import os
import pathlib
import re
import stat

import fastjsonschema

SCHEMA = pathlib.Path(__file__).resolve().parent.parent / "results" / "schema.json"

# The limits of bench/records.cpp and bench/json_file.hpp too.
MAX_FILE_BYTES = 128 << 20
MAX_LINE_BYTES = 16 << 20
MAX_DEPTH = 32  # brackets within brackets; the schema's deepest record has 5


class RecordsError(Exception):
    """A file that cannot be read or holds what is no record; the text names file, line and field."""


class Run:
    """One program's run: its header, its records in their order, and its end, None if it was cut short; `lines` as they stand in files,
    but the header's first and the end's last."""

    def __init__(self, header, file, line):
        self.header, self.file, self.records, self.end, self.lines = header, file, [], None, [line]

    @property
    def program(self):
        return self.header["command"][0]

    @property
    def kind(self):
        return self.header["device_kind"]

    @property
    def arm(self):
        """Device and image: what times may be compared within. Two cards of one name are two devices."""
        device = self.header["device"]
        if device is None:
            return "no device (modelled)"
        place = f" [{device['pci_id']}]" if device["pci_id"] else ""
        return f"{device['name']}{place}, {device['image']}" + (" (CPU)" if self.kind == "simt" else "")

    @property
    def commit(self):
        commit = self.header["commit"]
        return commit["hash"][:10] + (" with changes" if commit["dirty"] else "")


def read(paths):
    """(runs in the order of their headers, notes on what was left out). Records join their run by its id, in whatever order or file
    they stand. RecordsError for whatever is no records file."""
    validate, version = load_schema()
    found, notes = [], []
    for path in paths:
        for number, line in lines(path, notes):
            where = f"'{printable(path)}' line {number}"
            found.append((where, path, line, parse(line, where, validate, version)))
    return join(found), notes


@functools.cache
def load_schema():
    """(a function that raises for what is not valid, schema_version)."""
    try:
        schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
        return fastjsonschema.compile(schema), schema["definitions"]["header"]["properties"]["schema_version"]["const"]
    except (OSError, ValueError) as error:
        raise RecordsError(f"cannot read the schema '{SCHEMA}': {reason(error)}") from None


def printable(text):
    """A file's name, or a text from a file, for a message: bytes that are not UTF-8 and control characters stand escaped."""
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def reason(error):
    """What the system says of an OSError; else the error's own text."""
    return getattr(error, "strerror", None) or str(error)


# ---- file -> lines ---------------------------------------------------------------------------------------------------------------

def open_regular(path):
    """The file, opened for reading bytes; RecordsError if it is none (and no wait for the writer of a FIFO)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        what = "a socket or a device that is not there" if error.errno == errno.ENXIO else reason(error)
        raise RecordsError(f"cannot read records from '{printable(path)}': {what}") from None
    status = os.fstat(descriptor)
    kinds = ((stat.S_ISDIR, "directory"), (stat.S_ISFIFO, "FIFO"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))
    kind = next((name for is_kind, name in kinds if is_kind(status.st_mode)), None)
    if kind or not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise RecordsError(f"cannot read records from '{printable(path)}': it is a {kind or 'special file'}, expected a regular file")
    return os.fdopen(descriptor, "rb")


def lines(path, notes):
    """(number, line) of every whole line, at least one; a last line without an end is left out and noted."""
    n_bytes = number = 0
    with open_regular(path) as file:
        while True:
            try:
                line = file.readline(MAX_LINE_BYTES + 1)
            except OSError as error:
                raise RecordsError(f"cannot read records from '{printable(path)}' after line {number}: {reason(error)}") from None
            if not line:
                break
            n_bytes += len(line)
            if n_bytes > MAX_FILE_BYTES:
                raise RecordsError(f"'{printable(path)}' is longer than {MAX_FILE_BYTES} bytes, the most that is read")
            if len(line) > MAX_LINE_BYTES:
                raise RecordsError(f"'{printable(path)}' line {number + 1} is longer than {MAX_LINE_BYTES} bytes, the most that is read")
            if not line.endswith(b"\n"):
                notes.append(f"{printable(os.path.basename(path))}: the last line (line {number + 1}) is torn and was left out")
                break
            number += 1
            yield number, line
    if number == 0:
        raise RecordsError(f"'{printable(path)}' has no records")


# ---- line -> record --------------------------------------------------------------------------------------------------------------

def parse(line, where, validate, version):
    """The record, valid by the schema, its numbers finite and its text Unicode."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordsError(f"{where} is not a record: byte {error.start + 1} is not UTF-8") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and depth(text) > MAX_DEPTH:
        raise RecordsError(f"{where} is not a record: brackets are nested deeper than {MAX_DEPTH}")
    try:
        record = json.loads(text, parse_int=integer, parse_float=finite, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise RecordsError(f"{where} is not a record: {error}; found {short(text)}") from None
    if not isinstance(record, dict):
        raise RecordsError(f"{where} is not a record: expected a JSON object, found {short(text)}")
    if record.get("kind") == "header" and record.get("schema_version") != version:
        raise RecordsError(f"{where}: schema_version is {short(record.get('schema_version'))}, expected {version}")
    try:
        validate(record)
    except fastjsonschema.JsonSchemaValueException as error:
        raise RecordsError(f"{where}: {explain(error)}") from None
    if "\\u" in text:
        check_unicode(record, where, [])
    return record


_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def depth(text):
    """The most brackets that are open at once, outside strings."""
    level = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    return deepest


def integer(digits):
    if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
        raise ValueError(f"the number {short(digits)} does not fit 64 bits")
    return int(digits)


def finite(digits):
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {short(digits)} is beyond a double's range")
    return value


def no_number(name):
    raise ValueError(f"{name} is no JSON number")


def check_unicode(value, where, path):
    """RecordsError if a text in it has half of a surrogate pair, which no encoding can write."""
    if isinstance(value, dict):
        for name, item in value.items():
            check_unicode(name, where, path)
            check_unicode(item, where, [*path, name])
    elif isinstance(value, list):
        for index, item in enumerate(value):
            check_unicode(item, where, [*path, str(index)])
    elif isinstance(value, str) and re.search("[\ud800-\udfff]", value):
        raise RecordsError(f"{where}: field '{field(path)}' is {short(value)}, which has half of a surrogate pair")


def short(value):
    """The value in at most 60 printable ASCII characters."""
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def field(path):
    return ascii(".".join(path))[1:-1]


def explain(error):
    """What the schema says against the record, in our words."""
    path = field([str(part) for part in error.path[1:]])
    value, schema = error.value, error.definition
    owner = f"field '{path}'" if path else f"'{value['kind']}' record" if isinstance(value.get("kind"), str) else "record"
    if error.rule == "required":
        return f"{owner} without {', '.join(name for name in schema['required'] if name not in value)}"
    if error.rule == "additionalProperties" and isinstance(value, dict) and schema["additionalProperties"] is False:
        unknown = [ascii(name)[1:-1] for name in value if name not in schema["properties"]]
        return f"{owner} with unknown {', '.join(unknown)[:60]}"
    if path == "kind":
        return f"unknown kind {short(value)}"
    return f"{owner} is {short(value)}, expected {expected(schema, error.rule)}"


def expected(schema, rule=None):
    """A definition of the schema in a few words; with a rule, that one alone."""
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[-1]
    if "oneOf" in schema:
        return " or ".join(map(expected, schema["oneOf"]))
    names = [rule] if rule in schema else ["const", "enum", "type"]
    for name in names:
        if name in schema:
            value = schema[name]
            if name == "enum":
                return "one of " + ", ".join(map(ascii, value))
            if name == "type":
                return f"{value} like {schema['pattern']}" if "pattern" in schema else value
            return ascii(value) if name == "const" else f"{name} {ascii(value)}"
    return "what results/schema.json says"


# ---- records -> runs -------------------------------------------------------------------------------------------------------------

def join(found):
    """The runs. Each record belongs to the header with its run id, must be of the same kind of device, and ends it at most once."""
    runs, headers, ends = {}, {}, {}
    for where, path, line, record in found:
        if record["kind"] != "header":
            continue
        if record["run"] in runs:
            raise RecordsError(f"{where}: header of run {record['run']}, which {headers[record['run']]} began")
        device = record["device"]
        if record["device_kind"] != ("none" if device is None else device["kind"]):
            raise RecordsError(f"{where}: device_kind is '{record['device_kind']}', but device is "
                               f"{'null' if device is None else device['kind']}")
        runs[record["run"]], headers[record["run"]] = Run(record, printable(os.path.basename(path)), line), where
    for where, _, line, record in found:
        if record["kind"] == "header":
            continue
        run = runs.get(record["run"])
        if run is None:
            raise RecordsError(f"{where}: '{record['kind']}' record of run {record['run']}, which has no header")
        if record["device_kind"] != run.kind:
            raise RecordsError(f"{where}: device_kind is '{record['device_kind']}', but the header of run {record['run']} says '{run.kind}'")
        if record["kind"] != "end":
            run.records.append(record)
            run.lines.append(line)
        elif run.end is None:
            run.end, ends[record["run"]] = record, line
        else:
            raise RecordsError(f"{where}: second end of run {record['run']}")
    for run, line in ends.items():
        runs[run].lines.append(line)
    return list(runs.values())
