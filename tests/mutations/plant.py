#!/usr/bin/env python3
"""Builds copies of the kernels with planted faults for the SIMT device.

Reads mutations.toml and kernels/. A mutation of a kernel file is a copy of that file; one of the language of kernels (`file` is a header,
"device.cuh") is a copy of the language, compiled with the kernel files that it names in `kernels` and with the kernels that judge the
language by itself. Each mutant stands in a namespace of its own. Fails if a mutation's `find` does not stand in its file exactly once.

usage: plant.py MUTATIONS ROOT OUT          writes the C++ files
       plant.py --list MUTATIONS ROOT OUT   prints their names, and those of the files that they are made from
"""

import re
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from kernel_text import FORMATS, kernels_in  # noqa: E402

LANGUAGE = ("kernels/device.cuh", "kernels/simt/language.hpp")
JUDGE = "tests/language/language"  # .h, .cu
NETS = ("gates", "order", "language", "ring", "rows", "checker", "sanitizer")
NEEDED = {"name", "file", "ops", "find", "replace"}
FIELDS = NEEDED | {"net", "kernels"}


def fail(message):
    sys.exit(f"plant.py: error: {message}")


def read(table):
    try:
        mutations = tomllib.loads(table.read_text())["mutation"]
    except tomllib.TOMLDecodeError as error:
        fail(f"{table}: {error}")
    for number, mutation in enumerate(mutations, 1):
        if missing := NEEDED - set(mutation):
            fail(f"mutation {mutation.get('name', f'number {number}')}: it lacks '{min(missing)}'")
    names = [mutation["name"] for mutation in mutations]
    if len(set(names)) != len(names):
        fail(f"two mutations of one name: {next(name for name in names if names.count(name) > 1)}")
    for mutation in mutations:
        if mutation.setdefault("net", "gates") not in NETS:
            fail(f"mutation {mutation['name']}: net '{mutation['net']}' is none of {', '.join(NETS)}")
        if unknown := set(mutation) - FIELDS:
            fail(f"mutation {mutation['name']}: unknown field '{min(unknown)}'")
        if (Path(mutation["file"]).suffix != "") != ("kernels" in mutation):
            fail(f"mutation {mutation['name']}: `kernels` goes with a header of the language, and only with one")
    return mutations


def is_language(mutation):
    return "kernels" in mutation


def source_of(mutation):
    return f"kernels/{mutation['file']}" + ("" if is_language(mutation) else ".cu")


def sources_of(root, source):
    """A kernel file and the .cuh files that it and they include: functions of ops, and how formats are read."""
    sources = [source]
    for path in sources:
        included = re.findall(r'^#include "(kernels/\w+\.cuh)"$', (root / path).read_text(), re.MULTILINE)
        sources += [path for path in included if path not in LANGUAGE and path not in sources]
    return sources


def kernel_text(root, source):
    """A kernel file as one text, with what it includes in the place of its first include."""
    seen = set(LANGUAGE)

    def text_of(path):
        def included(include):
            if include[1] in seen:
                return ""
            seen.add(include[1])
            return text_of(include[1])

        return re.sub(r'^#include "(kernels/\w+\.cuh)"\n', included, (root / path).read_text(), flags=re.MULTILINE)

    return without_includes(text_of(source), LANGUAGE)


def mutate(mutation, text):
    # Where lines are broken is the formatter's business.
    pattern = re.compile(r"\s+".join(re.escape(word) for word in mutation["find"].split()))
    found = len(pattern.findall(text))
    if found != 1:
        fail(f"mutation {mutation['name']}: its text stands {found} times in {source_of(mutation)}; expected once")
    return pattern.sub(lambda _: mutation["replace"], text)


def of_formats(mutation, text):
    """The text with kernels for those formats alone that the mutation is meant for: a file has one for each."""
    named = re.findall(r'^ *X\((\w+), "', FORMATS.read_text(), re.MULTILINE)

    def listed(table):
        integers = "int8_" if table[1] else ""
        meant = [name for name in named if re.fullmatch(mutation["ops"], f"{mutation['file']}_{integers}{name}")]
        return " ".join(f"{table[2]}({name})" for name in meant)

    return re.sub(r"^ *M40LLM_(INTEGER_)?FORMATS\((\w+)\)$", listed, text, flags=re.MULTILINE)


def without_includes(text, paths):
    for path in paths:
        text = text.replace(f'#include "{path}"\n', "")
    return text.replace("#pragma once\n", "")


def language(root, mutation):
    """The language as one text, one of its headers mutated."""
    texts = {path: (root / path).read_text() for path in LANGUAGE}
    if source_of(mutation) not in texts:
        fail(f"mutation {mutation['name']}: {source_of(mutation)} is none of {', '.join(LANGUAGE)}")
    texts[source_of(mutation)] = mutate(mutation, texts[source_of(mutation)])
    outer, inner = LANGUAGE
    text = texts[outer].replace(f'#include "{inner}"\n', texts[inner])
    return without_includes(text, [outer, inner])


def table_of(mutations, kernels):
    """All mutants, each with the kernels in its namespaces: {mutation: {namespace: text}}."""
    declarations, entries = "", ""
    for mutation in mutations:
        name, rows = mutation["name"], ""
        for namespace, text in kernels[name].items():
            found = kernels_in(text, f"mutation {name}: {namespace.removeprefix('mutants::')}")
            declarations += f"namespace {namespace} {{\n" + "".join(f"void {kernel}({params});\n" for kernel, params in found) + "}\n"
            rows += "".join(f'{{"{kernel}", reinterpret_cast<void (*)()>(&{namespace}::{kernel})}},\n' for kernel, _ in found)
        entries += f'{{"{name}", "{mutation["ops"]}", "{mutation["net"]}", {{\n{rows}}}}},\n'
    return declarations + f"std::vector<m40llm::testing::Mutant> m40llm::testing::mutants() {{\nreturn {{\n{entries}}};\n}}\n"


def copies(root, mutations):
    """The C++ files by their names."""
    headers = "".join(f'#include "kernels/{header.name}"\n' for header in sorted((root / "kernels").glob("*.h")))
    headers += f'#include "{JUDGE}.h"\n'
    files, kernels = {}, {}
    for mutation in mutations:
        name = mutation["name"]
        if is_language(mutation):
            start, file = language(root, mutation), name
            sources = [f"kernels/{stem}.cu" for stem in mutation["kernels"]] + [JUDGE + ".cu"]
            texts = {f"mutants::{name}::{Path(source).stem}": kernel_text(root, source) for source in sources}
        else:
            start, file = '#include "kernels/device.cuh"\n', mutation["file"]
            texts = {f"mutants::{name}": of_formats(mutation, mutate(mutation, kernel_text(root, source_of(mutation))))}
        kernels[name] = texts
        files.setdefault(file, start + headers)
        for namespace, text in texts.items():
            text = text.replace('extern "C" ', "")
            files[file] += f"\nnamespace {namespace} {{\n{text}\n}}\n"
    files["table"] = '#include "tests/mutations/mutant.hpp"\n' + headers + table_of(mutations, kernels)
    return files


def main():
    arguments = sys.argv[1:]
    only_list = arguments[:1] == ["--list"]
    table, root, out = (Path(argument) for argument in arguments[only_list:])
    mutations = read(table)
    if only_list:
        outputs = {"table"} | {m["name"] if is_language(m) else m["file"] for m in mutations}
        kernels = {source_of(m) for m in mutations if not is_language(m)}
        kernels |= {f"kernels/{stem}.cu" for m in mutations for stem in m.get("kernels", [])} | {JUDGE + ".cu"}
        sources = {path for kernel in kernels for path in sources_of(root, kernel)} | set(LANGUAGE) | {JUDGE + ".h"}
        print(";".join(sorted(str(out / f"{name}.cpp") for name in outputs)))
        print(";".join(sorted(str(root / source) for source in sources)))
        return
    out.mkdir(parents=True, exist_ok=True)
    try:
        texts = copies(root, mutations)
    except ValueError as error:
        fail(error)
    for name, text in texts.items():
        path = out / f"{name}.cpp"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    main()
