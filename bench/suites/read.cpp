#include "engine/ops/read.hpp"
#include "bench/op_suite.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

/// 1 GiB, whose bytes an int counts: no index lies further, and none is judged further.
constexpr int kMostWords = 1 << 28;

/// Judged to the bit: sums of words are exact in any order.
class Read final : public OpSuite<ReadParams> {
 public:
  Read()
      : OpSuite(
            kRead, "u32", {{"n", 4, 4, kMostWords}},
            {.smoke = {{40}},
             .model = {{1 << 16}, {1 << 20}},
             // Of a lane, of a warp's load, of a part, and of all warps of the SIMT device's grid.
             .edge =
                 {{4}, {8}, {124}, {132}, {1020}, {1024}, {1028}, {33 * 1024 + 516}, {2 * 768 * 1024 + 4}},
             .bench = {{1 << 16}, {1 << 20}, {1 << 24}, {1 << 27}},
             .limits = {{{(1 << 26) + 4}, {kFar}}}}) {}

  /// class       what it is                     a fault that it is there for
  /// random      none is 0, sums below 2^31     a word, a piece or a part left out or read twice
  /// patterns    all bits                       high bits dropped, sums that saturate
  /// far         beyond a hole (op_suite.hpp)   parts cut to 16 bits
  std::vector<std::string> inputs() const override { return {"random", "patterns", kFar}; }

 protected:
  ReadParams without_pointers(const Shape& shape) const override {
    ReadParams params{};
    params.n = at(shape, "n");
    return params;
  }
  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n");
    const std::uint64_t n_parts = (n + kReadPart - 1) / kReadPart;
    return {input_memory<unsigned>("x", n), output_memory<int>("sums", n_parts), reference_memory(n_parts)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(ReadParams& params, const Case& c, int, Holder& holder) const override {
    const auto all = static_cast<std::size_t>(params.n);
    const std::size_t parts_left_out = hole(c, (all + kReadPart - 1) / kReadPart, 17);
    const std::size_t left_out = parts_left_out * kReadPart;
    Random random(c.seed, 1);
    const std::vector<unsigned> x = generate(all - left_out, [&] {
      // Of 20 bits, so that no sum is the pattern that stands for what was not written.
      return c.inputs == "patterns" ? static_cast<unsigned>(random.bits())
                                    : static_cast<unsigned>(random.between(1, (1 << 20) - 1));
    });
    Expected<int> expected;
    for (const std::uint32_t sum : reference::sums_of_words(x, kReadPart))
      expected.want.push_back(static_cast<int>(sum));
    const std::size_t n_parts = expected.want.size();
    params.x = holder.input(x, left_out);
    params.sums = reinterpret_cast<unsigned*>(holder.output(std::move(expected), parts_left_out));
    if (parts_left_out > 0) holder.judge_last(n_parts);
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<Read>()); });

}  // namespace

}  // namespace m40llm::bench
