#include "bench/op_suite.hpp"
#include "bench/suites/registry.hpp"
#include "bench/weights.hpp"
#include "engine/ops/ops.hpp"

namespace m40llm::bench {
namespace {

class Gemv final : public OpSuite<GemvParams> {
 public:
  Gemv(const Op<GemvParams>& op, const char* dtype, reference::Format format)
      : OpSuite(op, dtype, {{"rows"}, {"cols", 1, static_cast<int>(reference::block_elements(format))}},
                sizes_for(format)),
        format_(format) {}

  std::vector<std::string> inputs() const override {
    const auto classes = product_classes();
    return {classes.begin(), classes.end()};
  }

 protected:
  GemvParams without_pointers(const Shape& shape) const override {
    GemvParams params{};
    params.a.rows = at(shape, "rows");
    params.a.cols = at(shape, "cols");
    params.a.stride = (params.a.cols + 31) / 32 * 32;
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t rows = size_at(shape, "rows");
    const std::uint64_t cols = size_at(shape, "cols");
    return {input_memory("a", tensor_type(format_), rows, cols),
            input_memory<float>("x", (cols + 31) / 32 * 32), output_memory<float>("y", rows)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(GemvParams& params, const Case& c, int chain, Holder& holder) const override {
    const auto rows = static_cast<std::size_t>(params.a.rows);
    const auto cols = static_cast<std::size_t>(params.a.cols);
    ProductInputs made = make_product_inputs(c.inputs, format_, rows, cols, c.seed);

    Expected<float> expected;
    for (std::size_t row = 0; row < rows; ++row) {
      Product product;
      reference::for_each_weight(format_, made.a.row(row), [&](std::size_t i, const reference::Weight& w) {
        product.add(w.value(), w.expanded_magnitude(), made.x[i]);
      });
      expected.want.push_back(product.value);
      if (c.inputs == "R") expected.bound.push_back(random_bound(product, chain));
      if (c.inputs.starts_with("S-")) expected.bound.push_back(structured_bound(product, chain));
    }
    params.a = holder.input(pack(tensor_type(format_), rows, cols, made.a.blocks));
    made.x.resize(static_cast<std::size_t>(params.a.stride), 0.0f);
    params.x = holder.input(made.x);
    params.y = holder.output(std::move(expected));
  }

 private:
  static Sizes sizes_for(reference::Format format) {
    Sizes sizes;
    sizes.smoke = {{5, 64}};
    // SmolLM2-135M: q and attention's output, k and v, gate and up, down; TinyLlama: q.
    sizes.model = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {2048, 2048}};
    if (format == reference::Format::q8_0) sizes.model.push_back({49152, 576});  // SmolLM2's logits
    sizes.edge = {{1, 32},   {31, 64},    {33, 96},   {7, 992},  {127, 1056},
                  {3, 2080}, {17, 11008}, {3, 12288}, {2, 12320}};
    if (reference::block_elements(format) == 1) {
      for (const int cols : {1, 2, 3, 5, 7, 31, 33, 127, 257, 1021}) sizes.edge.push_back({13, cols});
    }
    sizes.bench = {{576, 576},   {1536, 576},  {49152, 576}, {2048, 2048},
                   {5632, 2048}, {4096, 4096}, {8192, 8192}};
    if (format != reference::Format::f32) sizes.bench.push_back({28672, 8192});
    return sizes;
  }
  reference::Format format_;
};

}  // namespace

void add_gemv(Suites& suites) {
  suites.push_back(std::make_unique<Gemv>(kGemvF32, "f32", reference::Format::f32));
  suites.push_back(std::make_unique<Gemv>(kGemvF16, "f16", reference::Format::f16));
  suites.push_back(std::make_unique<Gemv>(kGemvQ8_0, "q8_0", reference::Format::q8_0));
  suites.push_back(std::make_unique<Gemv>(kGemvQ4_1, "q4_1", reference::Format::q4_1));
}

}  // namespace m40llm::bench
