#include "engine/ops/norm_gemv.hpp"

#include <algorithm>

#include "bench/op_suite.hpp"
#include "bench/separate_ops.hpp"
#include "bench/weights.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit against rms_norm and gemv.
class NormGemv final : public OpSuite<NormGemvParams> {
 public:
  NormGemv(const FormatTraits& format, Activations activations)
      : OpSuite(norm_gemv_op(format.format, activations), format.name,
                {{"rows"}, {"cols", 1, format.block, widest_normed(activations)}},
                {.smoke = {{5, 64}},
                 .model = {{2048, 576}, {4096, 2048}},
                 .edge = {{1, 32},
                          {31, 64},
                          {33, 96},
                          {7, 992},
                          {3, 2080},
                          {17, 4096},
                          {3, std::min(8192, widest_normed(format, activations))},
                          {5, 7},
                          {3, 1021},
                          {2, widest_normed(format, activations)}},
                 .bench = {{49152, 576}, {32000, 2048}, {128256, 4096}}}),
        format_(format.format),
        activations_(activations) {}

  /// class   what it is                                    a fault that it is there for
  /// R       random, centred                               another norm or weight, padding that is not 0
  /// N-x     x infinite where weights are of all signs     skipping of what is 0
  bool judged_by_separate_ops() const override { return true; }
  std::vector<std::string> inputs() const override { return {"R", "N-x"}; }

 protected:
  NormGemvParams without_pointers(const Shape& shape) const override {
    NormGemvParams params{};
    params.a.rows = at(shape, "rows");
    params.a.cols = at(shape, "cols");
    params.a.format = format_;
    params.a.stride = (params.a.cols + 31) / 32 * 32;
    params.eps = 1e-5f;
    return params;
  }
  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t rows = size_at(shape, "rows");
    const std::uint64_t cols = size_at(shape, "cols");
    return {input_memory("a", gguf::tensor_type(format_), rows, cols), input_memory<float>("x", cols),
            input_memory<float>("weight", cols), output_memory<float>("y", rows),
            reference_memory(rows + cols + 31)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(NormGemvParams& params, const Case& c, int, Holder& holder) const override {
    const auto rows = static_cast<std::size_t>(params.a.rows);
    const auto cols = static_cast<std::size_t>(params.a.cols);
    const ProductInputs made = make_product_inputs(c.inputs, format_, rows, cols, c.seed);
    Random random(c.seed, 2);
    params.a = holder.input(pack(gguf::tensor_type(format_), rows, cols, made.a.blocks));
    params.x = holder.input(made.x);
    params.weight = holder.input(generate(cols, [&] { return 1 + 0.5f * random.normal(); }));
    SeparateOps separate(holder.device());
    const float* const normed =
        separate.normed(params.x, params.weight, params.a.cols, params.a.stride, params.eps);
    const std::vector<float> want = separate.download(separate.product(params.a, normed, activations_), rows);
    params.y = holder.output(Expected<float>{{want.begin(), want.end()}, {}});
  }

 private:
  Format format_;
  Activations activations_;
};

const RegisterSuites kRegister([](SuiteList& suites) {
  for (const FormatTraits& format : kFormats) {
    suites.push_back(std::make_unique<NormGemv>(format, Activations::float32));
    if (has_integers(format.format)) suites.push_back(std::make_unique<NormGemv>(format, Activations::int8));
  }
});

}  // namespace

}  // namespace m40llm::bench
