#include "kernels/image/loops.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

namespace m40llm::image {
namespace {

constexpr std::int64_t kWord = 8;        // bytes of an instruction, and of a control word
constexpr std::int64_t kBundle = 4 * 8;  // a control word and three instructions

// BRA with an immediate: the opcode in the upper 12 bits, bit 5 clear, and in bits 20 to 43 how many bytes behind
// the next instruction it goes to.
bool is_branch(std::uint64_t instruction) {
  return instruction >> 52 == 0xe24 && (instruction >> 5 & 1) == 0;
}
std::int64_t distance(std::uint64_t branch) {
  const auto field = static_cast<std::int64_t>(branch >> 20 & 0xffffff);
  return field < 0x800000 ? field : field - 0x1000000;
}

/// How many instructions stand before an address.
std::int64_t instructions_before(std::int64_t address) {
  return address / kBundle * 3 + std::max<std::int64_t>(address % kBundle / kWord - 1, 0);
}

/// By numbers of instructions, both the loop's own.
struct Loop {
  std::int64_t first, last;
  int size() const { return static_cast<int>(last - first + 1); }
  bool is_around(const Loop& other) const {
    return this != &other && first <= other.first && other.last <= last;
  }
};

/// One for each address that is branched back to.
std::vector<Loop> find_loops(std::span<const std::byte> text) {
  std::map<std::int64_t, std::int64_t> last_by_first;
  const auto size = static_cast<std::int64_t>(text.size());
  for (std::int64_t address = kWord; address + kWord <= size; address += kWord) {
    if (address % kBundle == 0) continue;
    std::uint64_t instruction = 0;
    std::memcpy(&instruction, text.data() + address, sizeof instruction);
    if (!is_branch(instruction)) continue;
    const std::int64_t target = address + kWord + distance(instruction);
    const std::int64_t first = instructions_before(target);
    const std::int64_t last = instructions_before(address);
    // A branch to itself, or to its bundle's control word, stands behind a kernel's end, where nothing comes to.
    if (target >= 0 && first < last) last_by_first[first] = last;
  }
  std::vector<Loop> loops;
  for (const auto& [first, last] : last_by_first) loops.push_back({first, last});
  return loops;
}

}  // namespace

LoopSizes main_loop(std::span<const std::byte> text) {
  const std::vector<Loop> loops = find_loops(text);
  LoopSizes found;
  std::ptrdiff_t deepest = 0;
  for (const Loop& loop : loops) {
    const auto around = [&](const Loop& other) { return other.is_around(loop); };
    const std::ptrdiff_t depth = std::ranges::count_if(loops, around);
    if (depth < deepest || (depth == deepest && loop.size() <= found.inner)) continue;
    deepest = depth;
    found = {loop.size(), 0};
    for (const Loop& other : loops) {
      if (around(other) && (found.outer == 0 || other.size() < found.outer)) found.outer = other.size();
    }
  }
  return found;
}

}  // namespace m40llm::image
