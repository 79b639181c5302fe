#include "engine/ops/argmax.hpp"

#include <algorithm>

#include "engine/ops/shapes.hpp"

extern "C" {
void argmax_block(ArgmaxParams);
void argmax_parts(ArgmaxParams);
void argmax_join(ArgmaxParams);
}

namespace m40llm {
namespace {

constexpr int kBlock = 1024;

int exact(const ArgmaxParams&, int) { return 0; }

/// A block an SM, none without a value.
int n_parts(const ArgmaxParams& p, int n_sms) { return std::min(n_sms, div_up(p.n, kBlock)); }

std::vector<Launch> blocks(const ArgmaxParams& p, int n_sms, const WorkMemory& memory) {
  ArgmaxParams split = p;
  split.n_parts = n_parts(p, n_sms);
  split.parts = reinterpret_cast<ArgmaxCandidate*>(memory.scratch);
  return {Launch(Kernel<ArgmaxParams>{"argmax_parts", argmax_parts},
                 {{static_cast<unsigned>(p.n_rows * split.n_parts)}, kBlock}, split),
          Launch(Kernel<ArgmaxParams>{"argmax_join", argmax_join},
                 {{static_cast<unsigned>(p.n_rows)}, kWarpSize}, split)};
}
std::size_t blocks_scratch(const ArgmaxParams& p, int n_sms) {
  return static_cast<std::size_t>(p.n_rows) * static_cast<std::size_t>(n_parts(p, n_sms)) *
         sizeof(ArgmaxCandidate);
}

constexpr Variant<ArgmaxParams> kVariants[] = {
    // A vocabulary takes one block 17 to 23 us on an H100: more than a second launch.
    {.name = "blocks",
     .kernel = {"argmax_parts", argmax_parts},
     .config = nullptr,
     .chain = exact,
     .applies = [](const ArgmaxParams& p) { return p.n > 4 * kBlock; },
     .all = blocks,
     .scratch = blocks_scratch},
    {.name = "block",
     .kernel = {"argmax_block", argmax_block},
     .config =
         [](const ArgmaxParams& p) {
           return LaunchConfig{{static_cast<unsigned>(p.n_rows)}, kBlock};
         },
     .chain = exact}};
}  // namespace

const Op<ArgmaxParams> kArgmax{"argmax", "argmax", kVariants, [](const ArgmaxParams& p) {
                                 return Work{4.0 * p.n_rows * p.n, 0.0};
                               }};

}  // namespace m40llm
