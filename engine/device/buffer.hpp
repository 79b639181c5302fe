#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/device/device.hpp"

namespace m40llm {

/// n elements of device memory that free themselves. data() is a device address: the host must not read
/// through it.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  Buffer(Device& device, std::size_t n, const std::string& owner)
      : device_(&device), data_(static_cast<T*>(device.allocate(n * sizeof(T), owner))), size_(n) {}
  /// Of Device::allocate_sparse.
  static Buffer sparse(Device& device, std::size_t n, const std::string& owner) {
    Buffer buffer;
    buffer.device_ = &device;
    buffer.data_ = static_cast<T*>(device.allocate_sparse(n * sizeof(T), owner));
    buffer.size_ = n;
    return buffer;
  }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved(std::move(other));
    swap(moved);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    if (data_ != nullptr) device_->release(data_);
  }

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(T); }

  /// Copies host[0, host.size()) to the buffer from element `first` on, in the stream's order. first +
  /// host.size() <= size().
  void upload(Stream& stream, std::span<const T> host, std::size_t first = 0) const {
    stream.copy_to_device(data_ + first, host.data(), host.size_bytes());
  }
  /// The whole buffer, once the stream has done all before it. Waits.
  std::vector<T> download(Stream& stream) const { return download(stream, 0, size_); }
  /// Likewise n elements from `first` on.
  std::vector<T> download(Stream& stream, std::size_t first, std::size_t n) const {
    std::vector<T> host(n);
    stream.copy_to_host(host.data(), data_ + first, n * sizeof(T));
    stream.synchronize();
    return host;
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  Device* device_ = nullptr;
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// n elements of pinned host memory.
template <class T>
class PinnedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  PinnedBuffer(Device& device, std::size_t n)
      : device_(&device), data_(static_cast<T*>(device.allocate_pinned(n * sizeof(T)))), size_(n) {}
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : device_(other.device_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&&) = delete;
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;
  ~PinnedBuffer() {
    if (data_ != nullptr) device_->release_pinned(data_);
  }

  std::span<T> span() const { return {data_, size_}; }
  T& operator[](std::size_t i) const { return data_[i]; }

 private:
  Device* device_;
  T* data_;
  std::size_t size_;
};

}  // namespace m40llm
