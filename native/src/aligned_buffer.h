// Memory for writes past the page cache (O_DIRECT): begins at a block's boundary. It grows, and what was in it is lost then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace varve {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 4096;

  uint8_t* data() { return bytes_.get(); }
  const uint8_t* data() const { return bytes_.get(); }

  // At least `bytes` of it.
  uint8_t* reserve(size_t bytes) {
    if (bytes > capacity_) {
      const size_t doubled = 2 * capacity_;
      const size_t capacity = bytes > doubled ? bytes : doubled;
      bytes_.reset();
      capacity_ = 0;
      bytes_.reset(static_cast<uint8_t*>(::operator new(capacity, std::align_val_t{kAlignment})));
      capacity_ = capacity;
    }
    return data();
  }

 private:
  struct Free {
    void operator()(uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t{kAlignment}); }
  };

  std::unique_ptr<uint8_t, Free> bytes_;
  size_t capacity_ = 0;
};

}  // namespace varve
