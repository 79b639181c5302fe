#include "tests/language/checks.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "bench/random.hpp"
#include "engine/device/buffer.hpp"
#include "reference/half.hpp"
#include "tests/language/language.h"

extern "C" {
void language_exp(LanguageParams);
void language_float_to_half(LanguageParams);
void language_bits(LanguageParams);
void language_half_to_float(LanguageParams);
void language_halfs_to_floats(LanguageParams);
void language_arithmetic(LanguageParams);
void language_dot4(LanguageParams);
void language_collectives(LanguageParams);
void language_group_sum_32(LanguageParams);
void language_group_sum_96(LanguageParams);
void language_group_sum_256(LanguageParams);
void language_group_sum_736(LanguageParams);
void language_group_sum_1024(LanguageParams);
void language_atomics(LanguageParams);
void language_grid_barrier(LanguageParams);
}

namespace m40llm::testing {
namespace {

using Words = std::vector<std::uint32_t>;
using bench::Random;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::uint32_t kNan = 0x7fffffff;
// A prime: the floats looked at where not all are, spread over all exponents and fractions.
constexpr std::uint32_t kStride = 4099;
constexpr std::uint32_t kStrided = 0xffffffffu / kStride + 1;
constexpr LaunchConfig kWide{{16}, 64};

float as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
std::uint32_t as_bits(float x) { return std::isnan(x) ? kNan : std::bit_cast<std::uint32_t>(x); }

struct Run {
  const char* name;
  void (*kernel)(LanguageParams);
  LaunchConfig config = kWide;
  std::uint32_t first = 0, stride = 1, n = 0;
};

/// Runs a kernel of language.cu on `in`; n_out words of what it wrote, and of p.words what it left there.
Words run(Device& device, const Run& r, const Words& in, std::size_t n_out, Words* words = nullptr) {
  const std::unique_ptr<Stream> stream = device.create_stream();
  const Buffer<unsigned> input(device, std::max<std::size_t>(in.size(), 1), "in");
  const Buffer<unsigned> output(device, n_out, "out");
  const Buffer<unsigned> counters(device, 4, "words");
  if (!in.empty()) input.upload(*stream, in);
  stream->fill(output.data(), 0, output.bytes());
  stream->fill(counters.data(), 0, counters.bytes());
  stream->launch(Kernel<LanguageParams>{r.name, r.kernel}, r.config,
                 {input.data(), output.data(), counters.data(), r.first, r.stride, r.n});
  Words out = output.download(*stream);
  if (words != nullptr) *words = counters.download(*stream);
  return out;
}

std::string hex(std::uint32_t bits) {
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "0x%08x", bits);
  return text.data();
}

/// The first difference.
std::string compare(const char* what, const Words& got, const Words& want) {
  const auto [at, expected] = std::ranges::mismatch(got, want);
  if (at == got.end() && expected == want.end()) return {};
  return std::string(what) + ": result " + std::to_string(at - got.begin()) + " is " + hex(*at) +
         "; expected " + hex(*expected);
}

std::string exp_is_as_promised(Device& device) {
  // Spread over all floats; then each one around where results overflow, become denormal and vanish.
  struct Range {
    std::uint32_t first, stride, n;
  };
  for (const Range& range : {Range{0, kStride, kStrided}, Range{as_bits(88.5f), 1, 1 << 16},
                             Range{as_bits(-87.25f), 1, 1 << 14}, Range{as_bits(-103.75f), 1, 1 << 16}}) {
    const Words got =
        run(device, {"language_exp", language_exp, kWide, range.first, range.stride, range.n}, {}, range.n);
    for (std::uint32_t i = 0; i < range.n; ++i) {
      const std::uint32_t x = range.first + i * range.stride;
      const double error = exp_error(as_float(x), as_float(got[i]));
      if (!(error <= kExpUlps))
        return "exp_f32(" + hex(x) + ") is " + hex(got[i]) + ", " + std::to_string(error) + " ulp off";
    }
  }
  return {};
}

std::string halves_are_nearest(Device& device) {
  constexpr std::uint32_t n = kStrided;
  const Words got =
      run(device, {"language_float_to_half", language_float_to_half, kWide, 0, kStride, n}, {}, (n + 1) / 2);
  const HalfRounding rounding;
  Words want((n + 1) / 2);
  for (std::uint32_t i = 0; i < n; ++i) {
    std::uint16_t half = 0;
    rounding.round(i * kStride, {&half, 1});
    want[i / 2] |= static_cast<std::uint32_t>(half) << 16 * (i % 2);
  }
  return compare("float_to_half", got, want);
}

std::string bits_stay(Device& device) {
  const Words got = run(device, {"language_bits", language_bits, kWide, 0, kStride, kStrided}, {}, kStrided);
  Words want(kStrided);
  for (std::uint32_t i = 0; i < kStrided; ++i) want[i] = i * kStride;
  return compare("float_to_bits(bits_to_float())", got, want);
}

std::string all_halves_become_floats(Device& device) {
  constexpr std::uint32_t n = 1 << 16;
  const Words got =
      run(device, {"language_half_to_float", language_half_to_float, kWide, 0, 1, n}, {}, 3 * n);
  Words want;
  for (std::uint32_t i = 0; i < n; ++i) {
    const double value = reference::half_to_double(static_cast<std::uint16_t>(i));
    want.insert(want.end(), 3, as_bits(static_cast<float>(value)));
  }
  return compare("half_to_float, low_half_to_float, high_half_to_float", got, want);
}

std::string eight_halves_keep_their_order(Device& device) {
  Random random(1, 0);
  Words in(4 * 512), want;
  for (std::uint32_t& word : in) word = static_cast<std::uint32_t>(random.bits() >> 32);
  for (const std::uint32_t word : in) {
    for (const std::uint32_t half : {word & 0xffff, word >> 16})
      want.push_back(
          as_bits(static_cast<float>(reference::half_to_double(static_cast<std::uint16_t>(half)))));
  }
  const Words got =
      run(device, {"language_halfs_to_floats", language_halfs_to_floats, kWide, 0, 1, 512}, in, want.size());
  return compare("halfs_to_floats", got, want);
}

std::string arithmetic_is_ieee(Device& device) {
  constexpr std::uint32_t n = 1 << 14;
  Random random(2, 0);
  Words in, want;
  for (std::uint32_t i = 0; i < n; ++i) {
    // Any bits; magnitudes that meet each other; and specials among them.
    static constexpr std::uint32_t kSpecial[] = {0,          0x80000000, 0x7f800000, 0xff800000,
                                                 0x7fc00000, 1,          0x807fffff};
    float abc[3];
    for (float& x : abc) {
      x = i % 2 == 0 ? as_float(static_cast<std::uint32_t>(random.bits() >> 32))
                     : random.over_binades(-10, 10);
      if (i % 8 == 7 && random.below(2) == 0) x = as_float(kSpecial[random.below(7)]);
      in.push_back(std::bit_cast<std::uint32_t>(x));
    }
    const auto [a, b, c] = abc;
    const float product = a * b;
    for (const float y : {std::fma(a, b, c), product + c, a / b, std::sqrt(a), a > b ? a : b})
      want.push_back(as_bits(y));
  }
  const Words got =
      run(device, {"language_arithmetic", language_arithmetic, kWide, 0, 1, n}, in, want.size());
  return compare("fmaf, * and +, /, sqrtf, larger", got, want);
}

/// Every pair of signed bytes in each of the four places, random ones in the others. The sums they are added to are small,
/// and of either sign where the result wraps around or just does not.
std::string dot_products_wrap_around(Device& device) {
  constexpr std::uint32_t kPairs = 1 << 16, n = 4 * kPairs;
  constexpr std::uint32_t kSums[] = {0, 1000, 0x7fffffff, 0x80000000, 0x7fffc000, 0x80004000};
  Random random(4, 0);
  Words in, want;
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint32_t pair = i % kPairs, shift = i / kPairs * 8, others = ~(0xffu << shift);
    const auto a = (static_cast<std::uint32_t>(random.bits() >> 32) & others) | (pair & 255) << shift;
    const auto b = (static_cast<std::uint32_t>(random.bits() >> 32) & others) | (pair >> 8) << shift;
    const std::uint32_t sum = kSums[random.below(6)];
    in.insert(in.end(), {a, b, sum});
    std::int64_t total = sum;
    const auto a_bytes = std::bit_cast<std::array<std::int8_t, 4>>(a);
    const auto b_bytes = std::bit_cast<std::array<std::int8_t, 4>>(b);
    for (std::size_t j = 0; j < 4; ++j) total += a_bytes[j] * b_bytes[j];
    want.push_back(static_cast<std::uint32_t>(total));
  }
  return compare("dot4", run(device, {"language_dot4", language_dot4, kWide, 0, 1, n}, in, n), want);
}

/// Numbers whose sum depends on the order of additions; with_specials: infinities and zeros of both signs too.
Words floats_to_sum(std::size_t n, std::uint64_t seed, bool with_specials) {
  Random random(seed, 0);
  Words in;
  for (std::size_t i = 0; i < n; ++i) {
    float x = random.over_binades(-12, 12);
    if (with_specials && random.below(16) == 0) x = random.below(2) == 0 ? 0.0f : -0.0f;
    if (with_specials && random.below(64) == 0) x = -std::numeric_limits<float>::infinity();
    in.push_back(std::bit_cast<std::uint32_t>(x));
  }
  return in;
}

/// The order that warp_sum states: pairs 16, 8, 4, 2, 1 lanes apart, so a tree over the lanes.
float tree_sum(std::span<const float> lanes) {
  if (lanes.size() == 1) return lanes[0];
  std::vector<float> pairs(lanes.size() / 2);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = lanes[i] + lanes[i + pairs.size()];
  return tree_sum(pairs);
}

std::string warps_compute_what_they_state(Device& device) {
  constexpr LaunchConfig config{{3}, 96};
  constexpr std::size_t n = 3 * 96, kOut = 7 + 2 * 6;  // words a thread writes
  for (const bool with_specials : {false, true}) {
    const Words in = floats_to_sum(n, 3, with_specials);
    const Words got =
        run(device, {"language_collectives", language_collectives, config, 0, 1, 0}, in, kOut * n);
    Words want;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t lane = i % 32;
      std::vector<float> warp;
      for (std::size_t j = 0; j < 32; ++j) warp.push_back(as_float(in[i - lane + j]));
      std::uint32_t votes = 0;
      for (std::size_t j = 0; j < 32; ++j) votes |= (warp[j] > 0 ? 1u : 0u) << j;
      // Of zeros of both signs the largest is the one or the other: what is stated is its value.
      const float largest = *std::ranges::max_element(warp);
      const std::uint32_t got_largest = got[kOut * i + 1];
      want.push_back(as_bits(tree_sum(warp)));
      want.push_back(as_float(got_largest) == largest ? got_largest : as_bits(largest));
      want.push_back(as_bits(warp[(lane * 5 + 3) % 32]));
      want.push_back(as_bits(warp[lane ^ 11]));
      want.push_back(static_cast<std::uint32_t>(i - lane + (lane + 1) % 32));
      want.push_back(static_cast<std::uint32_t>(i - lane + (lane ^ 16)));
      want.push_back(votes);
      for (std::size_t lanes = 1; lanes <= 32; lanes *= 2) {
        const auto first = warp.begin() + static_cast<std::ptrdiff_t>(lane / lanes * lanes);
        std::vector<float> part(first, first + static_cast<std::ptrdiff_t>(lanes));
        want.push_back(as_bits(tree_sum(part)));
        for (float& value : part) value *= -2;
        want.push_back(as_bits(tree_sum(part)));
      }
    }
    const std::string wrong = compare(
        "warp_sum, warp_max, shuffle, shuffle_xor, both of int, ballot, warp_sums: of a thread (result / 19)",
        got, want);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::string groups_sum_in_the_stated_order(Device& device) {
  struct Sum {
    const char* name;
    void (*kernel)(LanguageParams);
    unsigned block;
  };
  for (const auto& [name, kernel, block] : {Sum{"language_group_sum_32", language_group_sum_32, 32},
                                            Sum{"language_group_sum_96", language_group_sum_96, 96},
                                            Sum{"language_group_sum_256", language_group_sum_256, 256},
                                            Sum{"language_group_sum_736", language_group_sum_736, 736},
                                            Sum{"language_group_sum_1024", language_group_sum_1024, 1024}}) {
    const Words in = floats_to_sum(2 * block, block, false);
    const Words got = run(device, {name, kernel, {{2}, block}, 0, 1, 0}, in, in.size());
    Words want;
    for (std::size_t b = 0; b < 2; ++b) {
      std::vector<float> sums(32, 0.0f);
      for (std::size_t warp = 0; warp < block / 32; ++warp) {
        std::vector<float> lanes;
        for (std::size_t j = 0; j < 32; ++j) lanes.push_back(as_float(in[b * block + warp * 32 + j]));
        sums[warp] = tree_sum(lanes);
      }
      want.insert(want.end(), block, as_bits(tree_sum(sums)));
    }
    const std::string wrong =
        compare(("group_sum of " + std::to_string(block) + " threads").c_str(), got, want);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::string atomics_lose_nothing(Device& device) {
  constexpr std::uint32_t n = 8 * 128;
  Words words;
  Words got = run(device, {"language_atomics", language_atomics, {{8}, 128}, 0, 1, 0}, {}, n, &words);
  std::ranges::sort(got);
  Words want(n);
  for (std::uint32_t i = 0; i < n; ++i) want[i] = i + 1;
  const std::string wrong = compare("atomic_add: each number drawn once", got, want);
  return wrong.empty() ? compare("atomic_add", words, {n, 0, 0, 0}) : wrong;
}

std::string grids_meet(Device& device) {
  constexpr std::uint32_t blocks = 8, phases = 50;
  Words want;
  for (std::uint32_t b = 0; b < blocks; ++b) want.push_back(phases + b);
  for (const Grid grid : {Grid{blocks}, Grid{blocks / 4, 4}}) {
    const Words got =
        run(device, {"language_grid_barrier", language_grid_barrier, {grid, 64, 0, true}, 0, 1, phases}, {},
            blocks);
    const std::string wrong = compare(
        ("grid_barrier of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " blocks").c_str(),
        got, want);
    if (!wrong.empty()) return wrong;
  }
  return {};
}

std::uint64_t hash_of_all(Device& device, const Run& kernel, std::size_t bytes_each) {
  const std::unique_ptr<Stream> stream = device.create_stream();
  const Buffer<unsigned> output(device, kChunk * bytes_each / sizeof(unsigned), "out");
  const PinnedBuffer<unsigned> host(device, kChunk * bytes_each / sizeof(unsigned));
  std::vector<std::uint64_t> hashes;
  for (std::uint64_t first = 0; first <= 0xffffffffu; first += kChunk) {
    stream->launch(Kernel<LanguageParams>{kernel.name, kernel.kernel}, {{1024}, 256},
                   {nullptr, output.data(), nullptr, static_cast<unsigned>(first), 1, kChunk});
    stream->copy_to_host(host.span().data(), output.data(), output.bytes());
    stream->synchronize();
    hashes.push_back(XXH3_64bits(host.span().data(), output.bytes()));
  }
  return XXH3_64bits(hashes.data(), hashes.size() * sizeof(std::uint64_t));
}

constexpr Check kChecks[] = {
    {"exp_f32", exp_is_as_promised},
    {"float_to_half", halves_are_nearest},
    {"half_to_float", all_halves_become_floats},
    {"halfs_to_floats", eight_halves_keep_their_order},
    {"bits", bits_stay},
    {"arithmetic", arithmetic_is_ieee},
    {"dot4", dot_products_wrap_around},
    {"warps", warps_compute_what_they_state},
    {"group_sum", groups_sum_in_the_stated_order},
    {"atomics", atomics_lose_nothing},
    {"grid_barrier", grids_meet},
    {"composed_ops", composed_ops_are_as_launched},
};

}  // namespace

std::span<const Check> checks() { return kChecks; }

double exp_error(float x, float got) {
  if (std::isnan(x)) return std::isnan(got) ? 0 : kInfinity;
  // Off by less than 2^-52 of itself: nothing beside 2^-24.
  const double want = std::exp(static_cast<double>(x));
  if (want >= 0x1.ffffffp127) return got == static_cast<float>(kInfinity) ? 0 : kInfinity;
  if (x == 0 || std::isinf(x)) return got == want ? 0 : kInfinity;
  if (!(got >= 0) || std::isinf(got) || std::signbit(got)) return kInfinity;
  // The last place of want, from its exponent; denormal floats share one.
  const std::uint64_t exponent =
      std::max<std::uint64_t>(std::bit_cast<std::uint64_t>(want) >> 52, 1023 - 126);
  const double ulp = std::bit_cast<double>((exponent - 23) << 52);
  return std::fabs(got - want) / ulp;
}

HalfRounding::HalfRounding() : from_(0x7c01) {
  const auto value = [](std::uint32_t half) {  // infinity stands where the next number would
    return half == 0x7c00 ? 65536 : reference::half_to_double(static_cast<std::uint16_t>(half));
  };
  for (std::uint32_t half = 1; half <= 0x7c00; ++half) {
    const auto middle = static_cast<float>((value(half - 1) + value(half)) / 2);  // exact
    from_[half] = std::bit_cast<std::uint32_t>(middle) + half % 2;  // a tie goes to the even one
  }
}

void HalfRounding::round(std::uint32_t first, std::span<std::uint16_t> halves) const {
  const std::uint32_t sign = first >> 31 << 15;
  std::uint32_t bits = first & 0x7fffffff;
  auto next = std::ranges::upper_bound(from_, bits);  // the half behind the current one
  for (std::uint16_t& half : halves) {
    while (next != from_.end() && bits >= *next) ++next;
    half = static_cast<std::uint16_t>(
        bits > 0x7f800000 ? 0x7fff : sign | static_cast<std::uint32_t>(next - from_.begin() - 1));
    ++bits;
  }
}

std::uint64_t hash_of_all_exp(Device& device) {
  return hash_of_all(device, {"language_exp", language_exp}, sizeof(float));
}
std::uint64_t hash_of_all_halves(Device& device) {
  return hash_of_all(device, {"language_float_to_half", language_float_to_half}, sizeof(half));
}

}  // namespace m40llm::testing
