#include "engine/ops/gemv_add.hpp"

#include "bench/op_suite.hpp"
#include "bench/separate_ops.hpp"
#include "bench/weights.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit against gemv and an addition.
class GemvAdd final : public OpSuite<GemvAddParams> {
 public:
  GemvAdd(const FormatTraits& format, Activations activations)
      : OpSuite(gemv_add_op(format.format, activations), format.name, {{"rows"}, {"cols", 1, format.block}},
                {.smoke = {{5, 64}},
                 .model = {{576, 576}, {576, 1536}, {2048, 2048}},
                 .edge = {{1, 32},
                          {31, 64},
                          {33, 96},
                          {7, 992},
                          {3, 2080},
                          {17, 5632},
                          {3, 12320},
                          {5, 7},
                          {3, 1021}},
                 .bench = {{2048, 2048}, {2048, 5632}, {4096, 4096}, {4096, 14336}}}),
        format_(format.format),
        activations_(activations) {}

  /// class   what it is                                    a fault that it is there for
  /// R       random, centred                               the product stored and not added, a row too many
  /// N-x     x infinite where weights are of all signs     skipping of sums that are 0
  bool judged_by_separate_ops() const override { return true; }
  std::vector<std::string> inputs() const override { return {"R", "N-x"}; }

 protected:
  GemvAddParams without_pointers(const Shape& shape) const override {
    GemvAddParams params{};
    params.a.rows = at(shape, "rows");
    params.a.cols = at(shape, "cols");
    params.a.format = format_;
    params.a.stride = (params.a.cols + 31) / 32 * 32;
    return params;
  }
  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t rows = size_at(shape, "rows");
    const std::uint64_t cols = size_at(shape, "cols");
    return {input_memory("a", gguf::tensor_type(format_), rows, cols),
            input_memory<float>("x", (cols + 31) / 32 * 32), output_memory<float>("y", rows),
            reference_memory(rows)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(GemvAddParams& params, const Case& c, int, Holder& holder) const override {
    const auto rows = static_cast<std::size_t>(params.a.rows);
    const auto cols = static_cast<std::size_t>(params.a.cols);
    ProductInputs made = make_product_inputs(c.inputs, format_, rows, cols, c.seed);
    Random random(c.seed, 2);
    const std::vector<float> before = generate(rows, [&] { return random.normal(); });
    params.a = holder.input(pack(gguf::tensor_type(format_), rows, cols, made.a.blocks));
    made.x.resize(static_cast<std::size_t>(params.a.stride), 0.0f);
    params.x = holder.input(made.x);
    SeparateOps separate(holder.device());
    const std::vector<float> product =
        separate.download(separate.product(params.a, params.x, activations_), rows);
    Expected<float> expected;
    for (std::size_t row = 0; row < rows; ++row)
      expected.want.push_back(static_cast<double>(before[row] + product[row]));
    params.y = holder.in_place(before, std::move(expected));
  }

 private:
  Format format_;
  Activations activations_;
};

const RegisterSuites kRegister([](SuiteList& suites) {
  for (const FormatTraits& format : kFormats) {
    suites.push_back(std::make_unique<GemvAdd>(format, Activations::float32));
    if (has_integers(format.format)) suites.push_back(std::make_unique<GemvAdd>(format, Activations::int8));
  }
});

}  // namespace

}  // namespace m40llm::bench
