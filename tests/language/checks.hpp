#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/device/device.hpp"

/// The language of kernels, function by function: kernels of language.cu run on a device, and their results
/// judged by references that share nothing with them.
namespace m40llm::testing {

struct Check {
  const char* name;
  /// What is wrong, or nothing.
  std::string (*run)(Device& device);
};
std::span<const Check> checks();

/// What the comment of exp_f32 promises, in units of the last place.
inline constexpr double kExpUlps = 0.94;
/// How far `got` lies from exp(x), in units of the last place of float there; infinite where only one result is
/// right (NaN, infinities, 0, what rounds to infinity) and it is another.
double exp_error(float x, float got);

/// float_to_half by the values of the halves alone: for each half the first float that is not nearer to the
/// one below, ties to even.
class HalfRounding {
 public:
  HalfRounding();
  /// The halves of the floats whose bits are first, first + 1, ... No sign lies between two of them.
  void round(std::uint32_t first, std::span<std::uint16_t> halves) const;

 private:
  std::vector<std::uint32_t> from_;  // of half h > 0: the bits of the smallest float that becomes it
};

/// XXH3 of the results for 2^24 floats that follow each other, of all floats the XXH3 of those 256: of exp_f32
/// (NaN as 0x7fffffff) and of float_to_half, the same on every device.
inline constexpr std::uint32_t kChunk = 1u << 24;
inline constexpr std::uint64_t kExpHash = 15475811245128117322u;
inline constexpr std::uint64_t kHalfHash = 15385090499070241455u;

/// All floats through language_exp or language_float_to_half of a device: the hash.
std::uint64_t hash_of_all_exp(Device& device);
std::uint64_t hash_of_all_halves(Device& device);

/// Three ops in one kernel with a grid barrier between them give the bits of three launches, whatever the grid:
/// empty, or what differs.
std::string composed_ops_are_as_launched(Device& device);

}  // namespace m40llm::testing
