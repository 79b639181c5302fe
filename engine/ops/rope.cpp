#include "engine/ops/rope.hpp"
#include "engine/ops/shapes.hpp"

extern "C" {
void rope_normal(RopeParams);
void rope_neox(RopeParams);
}

namespace m40llm {
namespace {

LaunchConfig thread_a_pair(const RopeParams& p) {
  return {{udiv_up(p.n_rows * p.n_heads * (p.n_rotated / 2), 128)}, 128};
}
int chain(const RopeParams&, int) { return 2; }
Work work(const RopeParams& p) {
  const double rotated = static_cast<double>(p.n_rows) * p.n_heads * p.n_rotated;
  return {rotated * 8.0 + p.n_rows * p.n_rotated * 4.0, rotated * 3.0};
}

constexpr Variant<RopeParams> kNormal[] = {{"pair", {"rope_normal", rope_normal}, thread_a_pair, chain}};
constexpr Variant<RopeParams> kNeox[] = {{"pair", {"rope_neox", rope_neox}, thread_a_pair, chain}};

}  // namespace

const Op<RopeParams> kRopeNormal{"rope_normal", "rope", kNormal, work};
const Op<RopeParams> kRopeNeox{"rope_neox", "rope", kNeox, work};

}  // namespace m40llm
