#include "engine/ops/advance.hpp"
#include "bench/op_suite.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit.
class Advance final : public OpSuite<AdvanceParams> {
 public:
  Advance()
      : OpSuite(kAdvance, "i32", {{"n_rows"}, {"prompt_stride"}},
                {.smoke = {{3, 8}},
                 .model = {{1, 2048}},
                 .edge = {{1, 1}, {2, 1}, {31, 5}, {33, 7}, {257, 3}, {1021, 16}},
                 .bench = {{1, 2048}, {512, 2048}},
                 .limits = {{{70000, 2}, {"random"}}, {{(1 << 20) + 5, 2080}, {kFar}}}}) {}

  /// class   what it is                                           a fault that it is there for
  /// random  rows anywhere before, at and behind a prompt's end   another row's token, a position too far
  /// ends    the next position is the prompt's last or behind it  an end that is off by one
  /// far     random, the last rows beyond a hole (op_suite.hpp)   row * prompt_stride in 32 bits
  std::vector<std::string> inputs() const override { return {"random", "ends", kFar}; }

 protected:
  AdvanceParams without_pointers(const Shape& shape) const override {
    AdvanceParams params{};
    params.n_rows = at(shape, "n_rows");
    params.prompt_stride = at(shape, "prompt_stride");
    return params;
  }
  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n_rows");
    return {input_memory<int>("chosen", n), input_memory<int>("prompt", n * size_at(shape, "prompt_stride")),
            input_memory<int>("prompt_length", n), output_memory<int>("token", n),
            output_memory<int>("position", n)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(AdvanceParams& params, const Case& c, int, Holder& holder) const override {
    Random random(c.seed, 1);
    const std::size_t left_out = hole(c, static_cast<std::size_t>(params.n_rows), 17);
    const std::size_t n = static_cast<std::size_t>(params.n_rows) - left_out;
    const auto stride = static_cast<std::size_t>(params.prompt_stride);
    const auto below = [&](int end) { return static_cast<int>(random.below(static_cast<unsigned>(end))); };
    const std::vector<int> token = generate(n, [&] { return below(50000); });
    const std::vector<int> chosen = generate(n, [&] { return below(50000); });
    const std::vector<int> prompt = generate(n * stride, [&] { return below(50000); });
    const std::vector<int> length = generate(n, [&] { return below(params.prompt_stride + 1); });
    std::vector<int> position(n);
    Expected<int> tokens;
    Expected<int> positions;
    for (std::size_t row = 0; row < n; ++row) {
      position[row] = c.inputs == "ends" ? length[row] - 1 - below(2) : below(2 * params.prompt_stride);
      position[row] = std::max(position[row], 0);
      const auto first = prompt.begin() + static_cast<std::ptrdiff_t>(row * stride);
      const reference::Fed next =
          reference::advance(position[row], chosen[row], std::vector<int>(first, first + length[row]));
      tokens.want.push_back(next.token);
      positions.want.push_back(next.position);
    }
    params.chosen = holder.input(chosen, left_out);
    params.prompt = holder.input(prompt, left_out * stride);
    params.prompt_length = holder.input(length, left_out);
    params.token = holder.in_place(token, std::move(tokens), left_out);
    params.position = holder.in_place(position, std::move(positions), left_out);
    if (left_out > 0) holder.judge_last(n);
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<Advance>()); });

}  // namespace

}  // namespace m40llm::bench
