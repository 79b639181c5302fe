#include "engine/ops/gate_up.hpp"

#include <algorithm>

#include "bench/op_suite.hpp"
#include "bench/separate_ops.hpp"
#include "bench/weights.hpp"
#include "engine/ops/swiglu.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit against rms_norm, two gemv and swiglu.
class GateUp final : public OpSuite<GateUpParams> {
 public:
  GateUp(const FormatTraits& format, Activations activations)
      : OpSuite(gate_up_op(format.format, activations), format.name,
                {{"rows"}, {"cols", 1, format.block, widest_normed(activations)}},
                {.smoke = {{5, 64}},
                 .model = {{1536, 576}, {5632, 2048}},
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
                 .bench = {{1536, 576}, {5632, 2048}, {14336, 4096}}}),
        format_(format.format),
        activations_(activations) {}

  /// class   what it is                                    a fault that it is there for
  /// R       random, centred                               gate and up swapped, another activation or norm
  /// N-x     x infinite where weights are of all signs     skipping of what is 0
  bool judged_by_separate_ops() const override { return true; }
  std::vector<std::string> inputs() const override { return {"R", "N-x"}; }

 protected:
  GateUpParams without_pointers(const Shape& shape) const override {
    GateUpParams params{};
    params.gate.rows = at(shape, "rows");
    params.gate.cols = at(shape, "cols");
    params.gate.format = format_;
    params.gate.stride = (params.gate.cols + 31) / 32 * 32;
    params.up = params.gate;
    params.eps = 1e-5f;
    return params;
  }
  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t rows = size_at(shape, "rows");
    const std::uint64_t cols = size_at(shape, "cols");
    const gguf::TensorType type = gguf::tensor_type(format_);
    return {input_memory("gate", type, rows, cols), input_memory("up", type, rows, cols),
            input_memory<float>("x", cols),         input_memory<float>("weight", cols),
            output_memory<float>("y", rows),        reference_memory(3 * rows + cols + 31)};
  }
  std::vector<IntProduct> int_products(const Shape& shape) const override {
    return {{"2 x rows", 2 * size_at(shape, "rows")}};
  }

  void fill(GateUpParams& params, const Case& c, int, Holder& holder) const override {
    const auto rows = static_cast<std::size_t>(params.gate.rows);
    const auto cols = static_cast<std::size_t>(params.gate.cols);
    const ProductInputs gate = make_product_inputs(c.inputs, format_, rows, cols, c.seed);
    const ProductInputs up = make_product_inputs("R", format_, rows, cols, c.seed + 1);
    Random random(c.seed, 2);
    params.gate = holder.input(pack(gguf::tensor_type(format_), rows, cols, gate.a.blocks));
    params.up = holder.input(pack(gguf::tensor_type(format_), rows, cols, up.a.blocks));
    params.x = holder.input(gate.x);
    params.weight = holder.input(generate(cols, [&] { return 1 + 0.5f * random.normal(); }));
    SeparateOps separate(holder.device());
    const float* const normed =
        separate.normed(params.x, params.weight, params.gate.cols, params.gate.stride, params.eps);
    Buffer<float>& y = separate.buffer(rows);
    separate.run(kSwiglu,
                 SwigluParams{separate.product(params.gate, normed, activations_),
                              separate.product(params.up, normed, activations_), y.data(), params.gate.rows});
    const std::vector<float> want = separate.download(y.data(), rows);
    params.y = holder.output(Expected<float>{{want.begin(), want.end()}, {}});
  }

 private:
  Format format_;
  Activations activations_;
};

const RegisterSuites kRegister([](SuiteList& suites) {
  for (const FormatTraits& format : kFormats) {
    suites.push_back(std::make_unique<GateUp>(format, Activations::float32));
    if (has_integers(format.format)) suites.push_back(std::make_unique<GateUp>(format, Activations::int8));
  }
});

}  // namespace

}  // namespace m40llm::bench
