// What 8-bit activations cost: how far their products lie from those of floats, against what rounding to the nearest of 255
// steps costs, d / sqrt(12) a value. The gates of gemv_int8_... compare with x rounded by the reference: they would pass a
// rounding that kernels and reference do wrong alike.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "bench/weights.hpp"
#include "engine/device/buffer.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/model/pack.hpp"
#include "reference/int8.hpp"

namespace m40llm::bench {
namespace {

constexpr std::size_t kRows = 512, kCols = 1024, kBlock = 32;

// Rounded as it should be it is 0.89 to 1.10, and truncated from 1.6 on.
constexpr double kLeast = 0.7, kMost = 1.4;

class Int8Quality : public ::testing::TestWithParam<Format> {
 protected:
  Int8Quality() {
    for (std::size_t row = 0; row < kRows; ++row) {
      reference::dequantize<double>(in_reference(GetParam()), inputs_.a.row(row),
                                    std::span(weights_).subspan(row * kCols, kCols));
    }
  }

  std::vector<double> product(Activations activations) const {
    const std::unique_ptr<Device> device = open_simt_device({});
    const std::unique_ptr<Stream> stream = device->create_stream();
    const gguf::TensorType type = gguf::tensor_type(GetParam());
    const DeviceMatrix a(*device, *stream, pack(type, kRows, kCols, inputs_.a.blocks), "a");
    const Buffer<float> x(*device, kCols, "x"), y(*device, kRows, "y");
    x.upload(*stream, inputs_.x);
    const GemvParams params{a.view(), x.data(), y.data()};
    const Op<GemvParams>& op = gemv_op(GetParam(), activations);
    for (const Launch& launch : op.default_variant(params).launches(params, device->n_sms(), {}))
      stream->launch(launch);
    const std::vector<float> values = y.download(*stream);
    return {values.begin(), values.end()};
  }

  std::vector<double> product(std::span<const double> x) const {
    std::vector<double> y(kRows);
    for (std::size_t i = 0; i < weights_.size(); ++i) y[i / kCols] += weights_[i] * x[i % kCols];
    return y;
  }

  /// x by blocks, each value to rounded(x, d, d of the next block), d = largest / 127.
  std::vector<double> rounded_by(
      const std::function<double(double x, double d, double next)>& rounded) const {
    const std::vector<double> d = steps();
    std::vector<double> x;
    for (std::size_t i = 0; i < kCols; ++i)
      x.push_back(rounded(inputs_.x[i], d[i / kBlock], d[(i / kBlock + 1) % d.size()]));
    return x;
  }

  const ProductInputs inputs_ = make_product_inputs("R", GetParam(), kRows, kCols, 1, Activations::int8);

  /// Root mean square over rows of how far y lies from `exact`, each in units of what rounding to the nearest costs there.
  double distance(std::span<const double> y, std::span<const double> exact) const {
    const std::vector<double> d = steps();
    double sum = 0;
    for (std::size_t row = 0; row < kRows; ++row) {
      double variance = 0;
      for (std::size_t i = 0; i < kCols; ++i)
        variance += std::pow(d[i / kBlock] * weights_[row * kCols + i], 2) / 12;
      sum += std::pow(y[row] - exact[row], 2) / variance;
    }
    return std::sqrt(sum / kRows);
  }

 private:
  /// d of each block.
  std::vector<double> steps() const {
    std::vector<double> d;
    for (std::size_t i = 0; i < kCols; i += kBlock) {
      const auto block = std::span(inputs_.x).subspan(i, kBlock);
      const auto [least, most] = std::ranges::minmax(block);
      d.push_back(std::max(-least, most) / 127.0);
    }
    return d;
  }
  std::vector<double> weights_ = std::vector<double>(kRows * kCols);
};

TEST_P(Int8Quality, IsThatOfTheNearestIntegers) {
  const std::vector<double> floats = product(Activations::float32);
  const double of_kernels = distance(product(Activations::int8), floats);
  EXPECT_GE(of_kernels, kLeast);
  EXPECT_LE(of_kernels, kMost);
  const double of_reference = distance(product(reference::rounded_to_int8(inputs_.x)), floats);
  EXPECT_NEAR(of_reference, of_kernels, 0.001);
}

TEST_P(Int8Quality, OfFaultsIsAnother) {
  const std::vector<double> floats = product(rounded_by([](double x, double, double) { return x; }));
  const auto of = [&](const std::function<double(double, double, double)>& rounded) {
    return distance(product(rounded_by(rounded)), floats);
  };
  const double honest = of([](double x, double d, double) { return d * std::nearbyint(x / d); });
  EXPECT_GE(honest, kLeast);
  EXPECT_LE(honest, kMost);
  EXPECT_GT(of([](double x, double d, double) { return d * std::trunc(x / d); }), kMost);
  EXPECT_GT(of([](double x, double d, double) { return d * std::floor(x / d); }), kMost);
  EXPECT_GT(of([](double x, double d, double) { return d * 127 / 128 * std::nearbyint(x / d); }), kMost);
  EXPECT_GT(of([](double x, double d, double next) { return next * std::nearbyint(x / d); }), kMost);
  EXPECT_GT(of([](double x, double d, double) { return 2 * d * std::nearbyint(x / (2 * d)); }), kMost);
  EXPECT_LT(of([](double x, double, double) { return x; }), kLeast);  // no integers at all
}

INSTANTIATE_TEST_SUITE_P(Formats, Int8Quality, ::testing::ValuesIn([] {
                           std::vector<Format> formats;
                           for (const FormatTraits& format : kFormats) {
                             if (has_integers(format.format)) formats.push_back(format.format);
                           }
                           return formats;
                         }()),
                         [](const auto& info) { return std::string(traits(info.param).name); });

}  // namespace
}  // namespace m40llm::bench
