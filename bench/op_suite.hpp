#pragma once
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <memory>
#include <utility>

#include "bench/case_memory.hpp"
#include "bench/gates.hpp"
#include "bench/random.hpp"
#include "bench/suite.hpp"
#include "engine/device/buffer.hpp"
#include "engine/model/pack.hpp"

/// What the suites of all ops share: an op's file says its shapes, its inputs and what must come out.
namespace m40llm::bench {

/// Of one dimension of a shape.
inline constexpr int kLargestSize = 1 << 24;

/// Something a kernel writes: prepared before each launch and judged after it.
class Output {
 public:
  virtual ~Output() = default;
  virtual void reset(Stream& stream) const = 0;
  virtual void judge(Stream& stream, Verdict& verdict, OutputHash& hash) const = 0;
};

/// A buffer that is put into a known state, of which some elements are the output and all others must stay as
/// they were.
template <class T>
class TypedOutput : public Output {
 public:
  /// before: the buffer's contents before a launch; places: the index of each output element in it, in the
  /// order of `expected`.
  TypedOutput(Device& device, std::vector<T> before, std::vector<std::size_t> places, Expected<T> expected)
      : before_(std::move(before)),
        places_(std::move(places)),
        expected_(std::move(expected)),
        buffer_(device, before_.size(), "output") {}

  T* data() const { return buffer_.data(); }
  void reset(Stream& stream) const override { buffer_.upload(stream, before_); }
  void judge(Stream& stream, Verdict& verdict, OutputHash& hash) const override {
    std::vector<T> after = buffer_.download(stream);
    std::vector<T> got;
    got.reserve(places_.size());
    for (const std::size_t place : places_) {
      got.push_back(after[place]);
      after[place] = before_[place];
    }
    bench::judge<T>(got, expected_, verdict);
    hash.add(std::as_bytes(std::span(got)));
    for (std::size_t i = 0; i < after.size(); ++i) {
      if (std::memcmp(&after[i], &before_[i], sizeof(T)) != 0) {
        fail_guard(verdict, i, as_double(after[i]));
        break;
      }
    }
  }

 private:
  static double as_double(half x) { return x.bits; }
  template <class Number>
  static double as_double(Number x) {
    return x;
  }

  std::vector<T> before_;
  std::vector<std::size_t> places_;
  Expected<T> expected_;
  Buffer<T> buffer_;
};

/// Where a trial's memory is made: inputs go up at once and stay until the trial ends.
class Holder {
 public:
  explicit Holder(Device& device) : device_(&device), stream_(device.create_stream()) {}

  template <class T>
  const T* input(const std::vector<T>& host) {
    auto buffer = std::make_shared<Buffer<T>>(*device_, host.size(), "input");
    buffer->upload(*stream_, host);
    stream_->synchronize();
    held_.push_back(buffer);
    return buffer->data();
  }
  Matrix input(const PackedMatrix& packed) {
    auto matrix = std::make_shared<DeviceMatrix>(*device_, *stream_, packed, "input");
    held_.push_back(matrix);
    return matrix->view();
  }
  /// Poisoned, as long as what is expected, with a guard behind it.
  template <class T>
  T* output(Expected<T> expected) {
    const std::size_t n = expected.want.size();
    return add(std::vector<T>(n + kGuard, poison<T>()), first_places(n), std::move(expected));
  }
  /// Holds x before each launch, with a guard behind it; x.size() == expected.want.size().
  template <class T>
  T* in_place(std::vector<T> x, Expected<T> expected) {
    std::vector<std::size_t> places = first_places(x.size());
    x.resize(x.size() + kGuard, poison<T>());
    return add(std::move(x), std::move(places), std::move(expected));
  }
  /// Poisoned, `size` elements of which only those at `places` are the output.
  template <class T>
  T* scattered_output(std::size_t size, std::vector<std::size_t> places, Expected<T> expected) {
    return add(std::vector<T>(size + kGuard, poison<T>()), std::move(places), std::move(expected));
  }

  std::vector<std::unique_ptr<Output>> take_outputs() { return std::move(outputs_); }
  std::vector<std::shared_ptr<void>> take_held() { return std::move(held_); }

 private:
  static std::vector<std::size_t> first_places(std::size_t n) {
    std::vector<std::size_t> places(n);
    for (std::size_t i = 0; i < n; ++i) places[i] = i;
    return places;
  }
  template <class T>
  T* add(std::vector<T> before, std::vector<std::size_t> places, Expected<T> expected) {
    auto output =
        std::make_unique<TypedOutput<T>>(*device_, std::move(before), std::move(places), std::move(expected));
    T* const data = output->data();
    outputs_.push_back(std::move(output));
    return data;
  }

  Device* device_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::unique_ptr<Output>> outputs_;
  std::vector<std::shared_ptr<void>> held_;
};

template <class Params>
class OpTrial final : public Trial {
 public:
  OpTrial(const Variant<Params>& variant, const Params& params, const Work& work, Holder& holder)
      : kernel_(variant.kernel),
        config_(variant.config(params)),
        params_(params),
        work_(work),
        held_(holder.take_held()),
        outputs_(holder.take_outputs()) {}

  void reset(Stream& stream) override {
    for (const auto& output : outputs_) output->reset(stream);
  }
  void launch(Stream& stream) override { stream.launch(kernel_, config_, params_); }
  Verdict judge(Stream& stream) const override {
    Verdict verdict = nothing_judged();
    OutputHash hash;
    for (const auto& output : outputs_) output->judge(stream, verdict, hash);
    verdict.output_hash = hash.value();
    return verdict;
  }
  Work work() const override { return work_; }

 private:
  Kernel<Params> kernel_;
  LaunchConfig config_;
  Params params_;
  Work work_;
  std::vector<std::shared_ptr<void>> held_;
  std::vector<std::unique_ptr<Output>> outputs_;
};

/// One size of an op's shape and the values it may take.
struct Dimension {
  const char* name;
  int lowest = 1;
  int multiple_of = 1;
};

/// A product of sizes that a parameter, a kernel or a launch holds in an int.
struct IntProduct {
  const char* name;  ///< "n_heads x head_dim"
  std::uint64_t value;
};

/// The sizes of each sweep's shapes, in the order of the dimensions.
struct Sizes {
  std::vector<std::vector<int>> smoke, model, edge, bench;
  const std::vector<std::vector<int>>& of(Sweep sweep) const {
    switch (sweep) {
      case Sweep::smoke:
        return smoke;
      case Sweep::model:
        return model;
      case Sweep::edge:
        return edge;
      default:
        return bench;
    }
  }
};

/// A suite over an op's table. What differs from op to op is given by the virtual functions at its end.
template <class Params>
class OpSuite : public Suite {
 public:
  OpSuite(const Op<Params>& op, std::string dtype, std::vector<Dimension> dimensions, Sizes sizes)
      : op_(&op), dtype_(std::move(dtype)), dimensions_(std::move(dimensions)), sizes_(std::move(sizes)) {}

  std::string op() const final { return op_->name; }
  std::string source() const final { return op_->source; }
  std::string dtype() const final { return dtype_; }
  std::vector<VariantInfo> variants() const final {
    std::vector<VariantInfo> infos;
    for (const Variant<Params>& v : op_->variants) infos.push_back({v.name, v.kernel.name, v.bit_exact});
    return infos;
  }
  bool applies(std::string_view variant, const Shape& shape) const final {
    const Variant<Params>& v = op_->variant(variant);
    check(shape);
    return v.applies == nullptr || v.applies(without_pointers(shape));
  }
  LaunchConfig config(std::string_view variant, const Shape& shape) const final {
    check(shape);
    return op_->variant(variant).config(without_pointers(shape));
  }
  int chain(std::string_view variant, const Shape& shape) const final {
    check(shape);
    return op_->variant(variant).chain(without_pointers(shape), positions(shape));
  }
  std::vector<Shape> shapes(Sweep sweep) const final {
    std::vector<Shape> shapes;
    for (const std::vector<int>& values : sizes_.of(sweep)) {
      Shape shape;
      for (std::size_t i = 0; i < dimensions_.size(); ++i)
        shape.emplace_back(dimensions_[i].name, values.at(i));
      shapes.push_back(std::move(shape));
    }
    return shapes;
  }
  void check(const Case& c) const final {
    if (!applies(c.variant, c.shape)) {
      throw UsageError("case '" + c.line() + "': variant '" + c.variant + "' does not take this shape");
    }
    const std::vector<std::string> known = inputs();
    if (std::find(known.begin(), known.end(), c.inputs) == known.end()) {
      std::string list;
      for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
      throw UsageError("op '" + op() + "' has no inputs '" + c.inputs + "'; it has " + list);
    }
  }
  CaseMemory memory(const Shape& shape) const final {
    check(shape);
    CaseMemory memory;
    for (const TensorMemory& tensor : tensors(shape)) {
      if (tensor.on_device != 0) memory.on_device.add(tensor.name, tensor.on_device);
      memory.on_host.add(tensor.name + " on the host", tensor.on_host);
    }
    return memory;
  }
  std::unique_ptr<Trial> trial(Device& device, const Case& c) const final {
    check(c);
    const CaseMemory needed = memory(c.shape);
    const std::string missing = missing_memory(device, needed.on_device, needed.on_host);
    if (!missing.empty()) throw OutOfMemory("not enough memory for the case: " + missing);
    const Variant<Params>& variant = op_->variant(c.variant);
    Holder holder(device);
    Params params = without_pointers(c.shape);
    fill(params, c, chain(c.variant, c.shape), holder);
    return std::make_unique<OpTrial<Params>>(variant, params, work_of(params, c.shape), holder);
  }

 protected:
  /// The parameters' sizes for a shape, its pointers null: what configurations and traffic models look at.
  virtual Params without_pointers(const Shape& shape) const = 0;
  /// Makes inputs and expected outputs of a case and sets the pointers in params, whose sizes are set. chain:
  /// the variant's d.
  virtual void fill(Params& params, const Case& c, int chain, Holder& holder) const = 0;
  /// All tensors of fill(), by the same sizes.
  virtual std::vector<TensorMemory> tensors(const Shape& shape) const = 0;
  /// The products, in 64 bits, that do not fit an int for every shape whose sizes do. What kernels compute in
  /// 64 bits is not among them.
  virtual std::vector<IntProduct> int_products(const Shape& shape) const = 0;
  /// The op's model, for ops whose model sees the whole shape in their parameters.
  virtual Work work_of(const Params& params, const Shape&) const { return op_->work(params); }
  /// Of the sequence, for ops that sum over them.
  virtual int positions(const Shape&) const { return 1; }
  /// Throws UsageError if the sizes, each good by itself, do not go together.
  virtual void check_together(const Shape&) const {}

 private:
  void check(const Shape& shape) const {
    std::string names;
    for (const Dimension& d : dimensions_) names += std::string(names.empty() ? "" : ",") + d.name;
    bool fits = shape.size() == dimensions_.size();
    for (std::size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i].first == dimensions_[i].name;
    if (!fits)
      throw UsageError("op '" + op() + "' has a shape of " + names + "; got '" + to_string(shape) + "'");
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const Dimension& d = dimensions_[i];
      if (shape[i].second < d.lowest || shape[i].second > kLargestSize ||
          shape[i].second % d.multiple_of != 0) {
        throw UsageError(
            "op '" + op() + "': " + d.name + "=" + std::to_string(shape[i].second) + "; a number from " +
            std::to_string(d.lowest) + " to " + std::to_string(kLargestSize) +
            (d.multiple_of > 1 ? ", a multiple of " + std::to_string(d.multiple_of) : "") + " is expected");
      }
    }
    check_together(shape);
    for (const IntProduct& product : int_products(shape)) {
      if (product.value > kLargestInt) {
        throw UsageError("op '" + op() + "': " + product.name + " is " + std::to_string(product.value) +
                         " in '" + to_string(shape) + "'; at most " + std::to_string(kLargestInt) +
                         " is possible");
      }
    }
  }

  static constexpr std::uint64_t kLargestInt = std::numeric_limits<int>::max();
  const Op<Params>* op_;
  std::string dtype_;
  std::vector<Dimension> dimensions_;
  Sizes sizes_;
};

/// A size of a shape, for products in 64 bits.
inline std::uint64_t size_at(const Shape& shape, std::string_view name) {
  return static_cast<std::uint64_t>(at(shape, name));
}

/// n numbers made by `make`, in order.
template <class Make>
auto generate(std::size_t n, Make&& make) {
  std::vector<decltype(make())> values(n);
  for (auto& value : values) value = make();
  return values;
}

}  // namespace m40llm::bench
