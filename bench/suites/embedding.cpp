#include "engine/ops/embedding.hpp"
#include "bench/op_suite.hpp"
#include "bench/weights.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit: a row is at most one rounding away from what is stored.
class Embedding final : public OpSuite<EmbeddingParams> {
 public:
  explicit Embedding(const FormatTraits& format)
      : OpSuite(embedding_op(format.format), format.name, {{"n_vocab"}, {"width", 1, format.block}},
                sizes_for(format)),
        format_(format.format) {}

  /// class      what it is                                      a fault that it is there for
  /// first      the table's first token                         a row off
  /// last       its last                                        a guard one too small
  /// random     any token                                       a wrong stride
  /// before     token -1: zeros                                 no guard below
  /// behind     token n_vocab: zeros                            a guard one too large
  /// denormal   any token, small scales                         denormals flushed
  /// signs      the last token; scales and minima of both       a scale read as unsigned, -0 as 0
  ///            signs
  /// patterns   the last token; bit patterns in turn, in        conversions by bit tricks
  ///            65536 columns every half
  /// far        the last token, beyond a hole (op_suite.hpp)    rows cut to 16 or 20 bits, row * stride in 32 bits
  std::vector<std::string> inputs() const override {
    return {"first", "last", "random", "denormal", "before", "behind", "signs", "patterns", kFar};
  }

 protected:
  EmbeddingParams without_pointers(const Shape& shape) const override {
    EmbeddingParams params{};
    params.table.rows = at(shape, "n_vocab");
    params.table.cols = at(shape, "width");
    params.table.format = format_;
    params.table.stride = (params.table.cols + 31) / 32 * 32;
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t width = size_at(shape, "width");
    return {input_memory("table", gguf::tensor_type(format_), size_at(shape, "n_vocab"), width),
            input_memory<int>("token", 1), output_memory<float>("y", width)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(EmbeddingParams& params, const Case& c, int, Holder& holder) const override {
    const int n_vocab = params.table.rows;
    const std::size_t rows_left_out = hole(c, static_cast<std::size_t>(n_vocab), 2);
    const std::size_t rows = static_cast<std::size_t>(n_vocab) - rows_left_out;
    const auto width = static_cast<std::size_t>(params.table.cols);
    int token = Random(c.seed, 2).below(n_vocab);
    if (c.inputs == "first") token = 0;
    if (c.inputs == "last" || c.inputs == "signs" || c.inputs == "patterns" || c.inputs == kFar)
      token = n_vocab - 1;
    if (c.inputs == "before") token = -1;
    if (c.inputs == "behind") token = n_vocab;
    const ProductInputs made = make_product_inputs(weights_for(c.inputs), format_, rows, width, c.seed);

    Expected<float> expected{std::vector<double>(width, 0.0), {}};
    if (token >= 0 && token < n_vocab) {
      reference::dequantize<double>(
          in_reference(format_), made.a.row(static_cast<std::size_t>(token) - rows_left_out), expected.want);
    }
    params.table = holder.input(pack(gguf::tensor_type(format_), rows, width, made.a.blocks), rows_left_out);
    params.token = holder.input(std::vector<int>{token});
    params.y = holder.output(std::move(expected));
  }

 private:
  static const char* weights_for(const std::string& inputs) {
    if (inputs == "signs") return "R-signs";
    if (inputs == "patterns") return "patterns";
    return inputs == "denormal" ? "S-denormal" : "R";
  }
  static Sizes sizes_for(const FormatTraits& format) {
    Sizes sizes;
    sizes.smoke = {{3, 32}};
    sizes.model = {{4096, 576}, {2000, 2048}};  // the vocabularies are cut: only one row is read
    sizes.edge = {{1, 32}, {2, 96}, {7, 992}};
    if (format.block == 1) {
      for (const int width : {1, 31, 33, 257, 1021}) sizes.edge.push_back({5, width});
    }
    sizes.limits = {{{1, 65536}, {"patterns"}},    {{65601, 32}, {kFar}},
                    {{151936, 576}, {kFar}},       {{256000, 2048}, {kFar}},
                    {{(1 << 20) + 5, 32}, {kFar}}, {{(1 << 23) + 3, 1056}, {kFar}}};
    sizes.bench = {{49152, 576}, {32000, 2048}};
    return sizes;
  }
  Format format_;
};

const RegisterSuites kRegister([](SuiteList& suites) {
  for (const FormatTraits& format : kFormats) suites.push_back(std::make_unique<Embedding>(format));
});

}  // namespace

}  // namespace m40llm::bench
