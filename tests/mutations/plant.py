#!/usr/bin/env python3
"""Builds copies of the kernels with planted faults for the SIMT device.

Reads mutations.toml and kernels/<file>.cu; writes one C++ file per kernel file, with each mutant in a namespace of its own, and one with
the table of all. Fails if a mutation's `find` does not stand in its file exactly once.

usage: plant.py MUTATIONS KERNELS OUT
"""

import re
import sys
import tomllib
from pathlib import Path

KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(')


def fail(message):
    sys.exit(f"plant.py: error: {message}")


def main():
    table, kernels, out = (Path(argument) for argument in sys.argv[1:4])
    mutations = tomllib.loads(table.read_text())["mutation"]
    names = [mutation["name"] for mutation in mutations]
    if len(set(names)) != len(names):
        fail("two mutations of one name")
    headers = "".join(f'#include "kernels/{header.name}"\n' for header in sorted(kernels.glob("*.h")))
    by_file, rows = {}, []
    for mutation in mutations:
        name = mutation["name"]
        source = kernels / f"{mutation['file']}.cu"
        text = source.read_text()
        # Where lines are broken is the formatter's business.
        pattern = re.compile(r"\s+".join(re.escape(word) for word in mutation["find"].split()))
        found = len(pattern.findall(text))
        if found != 1:
            fail(f"mutation {name}: its text stands {found} times in {source.name}; expected once")
        mutated = pattern.sub(lambda _: mutation["replace"], text).replace('extern "C" ', "")
        entries = "".join(
            f'    {{"{kernel}", reinterpret_cast<void (*)()>(&{name}::{kernel})}},\n' for kernel in KERNEL.findall(text)
        )
        by_file.setdefault(mutation["file"], []).append(
            f"namespace {name} {{\n{mutated}\n}}\n"
            f"extern const std::vector<m40llm::testing::MutantKernel> kernels_of_{name}{{\n{entries}}};\n"
        )
        rows.append((name, mutation["ops"]))
    out.mkdir(parents=True, exist_ok=True)
    include = '#include "kernels/device.cuh"\n#include "tests/mutations/mutant.hpp"\n' + headers
    for file, parts in by_file.items():
        write(out / f"{file}.cpp", include + "\nnamespace mutants {\n" + "\n".join(parts) + "}  // namespace mutants\n")
    declarations = "".join(f"extern const std::vector<m40llm::testing::MutantKernel> kernels_of_{name};\n" for name, _ in rows)
    entries = "".join(f'      {{"{name}", "{ops}", mutants::kernels_of_{name}}},\n' for name, ops in rows)
    write(
        out / "table.cpp",
        f"""#include "tests/mutations/mutant.hpp"
namespace mutants {{
{declarations}}}
std::vector<m40llm::testing::Mutant> m40llm::testing::mutants() {{
  return {{
{entries}  }};
}}
""",
    )


def write(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


if __name__ == "__main__":
    main()
