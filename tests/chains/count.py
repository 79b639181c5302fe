#!/usr/bin/env python3
"""Compiles every kernel for the number that counts roundings (counted.hpp): writes one C++ file with all of them in it.

usage: count.py KERNELS OUT
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from kernel_text import kernels_in  # noqa: E402

START = """#include "tests/chains/counted.hpp"
#include "tests/chains/counted_kernels.hpp"
#include "kernels/types.h"

// From here on a float is a count; what the kernels include comes after.
#define float Counted
namespace counted {
// An exponential starts a new chain: its error, and what its argument's makes of it, the gates add by themselves.
#define exp_f32 exp_f32_of_counts
#include "kernels/device.cuh"
#undef exp_f32
inline Counted exp_f32(Counted) { return 0; }
"""
END = """}  // namespace counted

std::vector<m40llm::testing::CountedKernel> m40llm::testing::counted_kernels() {
  return {
%s  };
}
"""


def main():
    kernels, out = Path(sys.argv[1]), Path(sys.argv[2])
    text = START + "".join(
        f'#include "kernels/{header.name}"\n' for header in sorted(kernels.glob("*.h")) if header.name != "types.h"
    )
    # What several of them include stands in front of all.
    text += "".join(f'#include "kernels/{header.name}"\n' for header in sorted(kernels.glob("*.cuh")))
    rows = ""
    for source in sorted(kernels.glob("*.cu")):
        kernel = source.read_text()
        for name, _ in kernels_in(kernel, source):
            rows += f'      {{"{name}", reinterpret_cast<void (*)()>(&counted::{source.stem}::{name})}},\n'
        text += f"namespace {source.stem} {{\n" + kernel.replace('extern "C" ', "") + "}\n"
    out.write_text(text + END % rows)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(f"count.py: error: {error}")
