#include "engine/ops/gemv.hpp"
#include "bench/op_suite.hpp"
#include "bench/weights.hpp"
#include "reference/int8.hpp"

namespace m40llm::bench {
namespace {

class Gemv final : public OpSuite<GemvParams> {
 public:
  Gemv(const FormatTraits& format, Activations activations)
      : OpSuite(gemv_op(format.format, activations), format.name, {{"rows"}, {"cols", 1, format.block}},
                sizes_for(format, activations)),
        format_(format.format),
        activations_(activations) {}

  /// class        what it is (weights.hpp)                a fault that it is there for
  /// E            small integers                          a dropped term, sums or weights in half
  /// E2           x of 13 bits                            x or weights cut to TF32 or half
  /// R            random, centred                         whatever moves a sum beyond rounding
  /// S-constant   constant rows                           (honest errors at their largest)
  /// S-outlier    one input in 64 about 1e4 times         a sum that loses small terms
  ///              the others
  /// S-cancel     pairs of terms that cancel              a difference taken after rounding
  /// S-denormal   products below the normal numbers       denormals flushed
  ///              (of 8 bits: x where it becomes zeros)   (the limit forgotten, or another)
  /// R-signs      scales and minima of both signs         a scale read as unsigned, its sign taken from elsewhere
  /// E-patterns   every pattern of a half as weight       conversions by bit tricks, skipping of x = 0
  ///              or scale, and x = 0
  /// N-x          x infinite                              skipping of weights that are 0
  /// far          R beyond a hole (op_suite.hpp)          rows cut to 16 or 20 bits, row * stride in 32 bits
  std::vector<std::string> inputs() const override {
    const auto classes = product_classes(format_, activations_);
    std::vector<std::string> all(classes.begin(), classes.end());
    all.push_back(kFar);
    return all;
  }

 protected:
  GemvParams without_pointers(const Shape& shape) const override {
    GemvParams params{};
    params.a.rows = at(shape, "rows");
    params.a.cols = at(shape, "cols");
    params.a.format = format_;
    params.a.stride = (params.a.cols + 31) / 32 * 32;
    return params;
  }

  /// How single weights are read shows in small matrices.
  bool tells_more_at(const Shape& shape, std::string_view inputs) const override {
    const bool of_single_weights = inputs == "E-patterns" || inputs == "N-x" || inputs == "R-signs";
    return !of_single_weights || at(shape, "rows") < 1000;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t rows = size_at(shape, "rows");
    const std::uint64_t cols = size_at(shape, "cols");
    std::vector<TensorMemory> all{input_memory("a", gguf::tensor_type(format_), rows, cols),
                                  input_memory<float>("x", (cols + 31) / 32 * 32),
                                  output_memory<float>("y", rows)};
    if (activations_ == Activations::int8) all.push_back(reference_memory((cols + 31) / 32 * 32));
    return all;
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(GemvParams& params, const Case& c, int chain, Holder& holder) const override {
    const bool int8 = activations_ == Activations::int8;
    // The last rows are made by as many of the last blocks: their units go to adjacent blocks, and at most one less than a
    // block has warps (16 or 8) behind them have none.
    const std::size_t rows_left_out = hole(c, static_cast<std::size_t>(params.a.rows), int8 ? 33 : 17);
    const auto rows = static_cast<std::size_t>(params.a.rows) - rows_left_out;
    const auto cols = static_cast<std::size_t>(params.a.cols);
    const std::string inputs = c.inputs == kFar ? "R" : c.inputs;
    ProductInputs made = make_product_inputs(inputs, format_, rows, cols, c.seed, activations_);
    made.x.resize(static_cast<std::size_t>(params.a.stride), 0.0f);
    const std::vector<double> rounded = int8 ? reference::rounded_to_int8(made.x) : std::vector<double>();

    Expected<float> expected;
    for (std::size_t row = 0; row < rows; ++row) {
      Product product;
      reference::for_each_weight(
          in_reference(format_), made.a.row(row), [&](std::size_t i, const reference::Weight& w) {
            product.add(w.value(), w.expanded_magnitude(), int8 ? rounded[i] : made.x[i]);
          });
      expected.want.push_back(product.value);
      if (inputs.starts_with("R")) expected.bound.push_back(random_bound(product, chain));
      // With 8-bit activations the largest of a block times a half is more bits than a float has.
      if (inputs.starts_with("S-") || (int8 && inputs == "E-patterns"))
        expected.bound.push_back(bound_if_finite(product.value, structured_bound(product, chain)));
    }
    params.a = holder.input(pack(gguf::tensor_type(format_), rows, cols, made.a.blocks), rows_left_out);
    params.x = holder.input(made.x);
    params.y = holder.output(std::move(expected), rows_left_out);
    if (rows_left_out > 0) holder.judge_last(rows);
  }

 private:
  static Sizes sizes_for(const FormatTraits& format, Activations activations) {
    Sizes sizes;
    sizes.smoke = {{5, 64}};
    // SmolLM2-135M: q and attention's output, k and v, gate and up, down; TinyLlama: q.
    sizes.model = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {2048, 2048}};
    if (format.format == Format::q8_0) sizes.model.push_back({49152, 576});  // SmolLM2's logits
    sizes.edge = {{1, 32},   {31, 64},  {33, 96},    {7, 992},   {127, 1056},
                  {3, 2080}, {3, 8224}, {17, 11008}, {3, 12288}, {2, 12320}};
    if (format.block == 1) {
      for (const int cols : {1, 2, 3, 5, 7, 31, 33, 127, 257, 1021}) sizes.edge.push_back({13, cols});
    }
    sizes.limits = {{{65601, 64}, {kFar}},           {{151936, 576}, {kFar}},
                    {{(1 << 20) + 5, 96}, {kFar}},   {{(1 << 21) + 5, 2080}, {kFar}},
                    {{(1 << 23) + 5, 2080}, {kFar}}, {{65544, 32}, {"E-patterns"}}};
    if (activations == Activations::float32) sizes.limits.push_back({{2, 65568}, {"R"}});
    sizes.bench = {{576, 576},   {1536, 576},  {49152, 576}, {2048, 2048},
                   {5632, 2048}, {4096, 4096}, {8192, 8192}};
    if (format.format != Format::f32) sizes.bench.push_back({28672, 8192});
    return sizes;
  }
  Format format_;
  Activations activations_;
};

const RegisterSuites kRegister([](SuiteList& suites) {
  for (const FormatTraits& format : kFormats) {
    suites.push_back(std::make_unique<Gemv>(format, Activations::float32));
    if (has_integers(format.format)) suites.push_back(std::make_unique<Gemv>(format, Activations::int8));
  }
});

}  // namespace

}  // namespace m40llm::bench
