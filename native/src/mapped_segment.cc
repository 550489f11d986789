#include "mapped_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "sigbus_guard.h"

// Linux 5.14; older kernels say EINVAL, and pages are then touched one by one, or by the append itself.
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace varve {
namespace {

constexpr uint64_t kPopulatePieceBytes = uint64_t{1} << 20;
constexpr uint64_t kSyncPieceBytes = uint64_t{1} << 20;

uint64_t page_bytes() {
  static const auto bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

uint64_t round_up(uint64_t bytes, uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

// Reads a byte of each page: where the system cannot populate a page, the guard can put zeros in its place.
void read_pages(const uint8_t* from, uint64_t length) {
  for (uint64_t at = 0; at < length; at += page_bytes()) {
    (void)*static_cast<const volatile uint8_t*>(from + at);
  }
}

}  // namespace

SegmentRef::SegmentRef(MappedSegment* segment) : segment_(segment) {
  if (segment_ != nullptr) segment_->references_.fetch_add(1, std::memory_order_relaxed);
}

SegmentRef::~SegmentRef() {
  if (segment_ != nullptr && segment_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete segment_;
}

MappedSegment::MappedSegment(std::string path, std::shared_ptr<Health> health)
    : path_(std::move(path)), health_(std::move(health)) {}

MappedSegment::~MappedSegment() {
  if (guard_slot_ >= 0) sigbus_guard::unwatch(guard_slot_);
  if (base_ != nullptr) munmap(base_, reserved_);
}

std::optional<Failure> MappedSegment::create(std::string path, uint64_t reserve_bytes, std::shared_ptr<Health> health,
                                             SegmentRef& out) {
  SegmentRef segment(new MappedSegment(std::move(path), std::move(health)));
  // The address space comes first, so that its failure leaves no file behind.
  if (auto failure = segment->reserve(reserve_bytes, true)) return failure;
  if (const int error = open_file(segment->path_, O_RDWR | O_CREAT | O_EXCL, segment->health_->trace(), segment->file_);
      error != 0) {
    return system_failure("creation", segment->path_, error);
  }
  out = std::move(segment);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::open_writable(std::string path, uint64_t reserve_bytes, uint64_t size,
                                                    std::shared_ptr<Health> health, SegmentRef& out) {
  SegmentRef segment(new MappedSegment(std::move(path), std::move(health)));
  if (size > reserve_bytes) {
    return Failure{FailureCode::invalid_argument, "size of " + segment->path_ + " exceeds reserveBytes"};
  }
  if (auto failure = segment->reserve(reserve_bytes, true)) return failure;
  if (const int error = open_file(segment->path_, O_RDWR, segment->health_->trace(), segment->file_);
      error != 0) {
    return system_failure("open", segment->path_, error);
  }
  uint64_t present = 0;
  if (const int error = file_size(segment->file_, present); error != 0) {
    return system_failure("fstat", segment->path_, error);
  }
  if (present < size) {
    return Failure{FailureCode::invariant_broken, segment->path_ + " has " + std::to_string(present) +
                                                      " bytes, fewer than the " + std::to_string(size) +
                                                      " it is to be opened with"};
  }
  if (present > size) {
    if (const int error = truncate_file(segment->file_, size); error != 0) {
      return system_failure("truncation", segment->path_, error);
    }
  }
  if (auto failure = segment->map_existing(size, PROT_READ | PROT_WRITE)) return failure;
  out = std::move(segment);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::open_read_only(std::string path, std::shared_ptr<Health> health,
                                                     SegmentRef& out) {
  SegmentRef segment(new MappedSegment(std::move(path), std::move(health)));
  if (const int error = open_file(segment->path_, O_RDONLY, segment->health_->trace(), segment->file_);
      error != 0) {
    return system_failure("open", segment->path_, error);
  }
  uint64_t size = 0;
  if (const int error = file_size(segment->file_, size); error != 0) {
    return system_failure("fstat", segment->path_, error);
  }
  if (auto failure = segment->reserve(size, false)) return failure;
  if (auto failure = segment->map_existing(size, PROT_READ)) return failure;
  out = std::move(segment);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::reserve(uint64_t reserve_bytes, bool writable) {
  writable_ = writable;
  reserve_bytes_ = reserve_bytes;
  if (reserve_bytes == 0) return std::nullopt;
  if (reserve_bytes > kMaxReserveBytes) {
    return Failure{FailureCode::invalid_argument, "reserveBytes of " + path_ + " is larger than 1 TiB"};
  }
  reserved_ = round_up(reserve_bytes, page_bytes());
  void* address = mmap(nullptr, reserved_, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return system_failure("mmap (reservation)", path_, errno);
  base_ = static_cast<uint8_t*>(address);
  guard_slot_ = sigbus_guard::watch(base_, reserved_, writable);
  if (guard_slot_ < 0) {
    return Failure{FailureCode::disk_failed, "too many segments are mapped: " + path_ + " cannot be opened"};
  }
  return std::nullopt;
}

std::optional<Failure> MappedSegment::map_existing(uint64_t size, int protection) {
  size_ = size;
  synced_ = size;
  mapped_ = round_up(size, page_bytes());
  if (size > 0 && mmap(base_, mapped_, protection, MAP_SHARED | MAP_FIXED, file_.get(), 0) == MAP_FAILED) {
    return system_failure("mmap", path_, errno);
  }
  allocated_.store(size, std::memory_order_release);
  return std::nullopt;
}

bool MappedSegment::poisoned() const { return guard_slot_ >= 0 && sigbus_guard::poisoned(guard_slot_); }

// The new end is always past `required`; a chunk is allocated and mapped before `allocated_` says so, and a failure
// leaves everything as it was (blocks a partial fallocate left behind are trimmed at the next open).
std::optional<Failure> MappedSegment::grow(uint64_t required) {
  const std::lock_guard lock(grow_mutex_);
  const uint64_t from = allocated_.load(std::memory_order_relaxed);
  if (from >= required) return std::nullopt;
  const uint64_t wanted = std::max(required, from + next_chunk_);
  const uint64_t to = std::min(round_up(wanted, page_bytes()), reserved_);
  if (const int error = allocate(file_, from, to); error != 0) return system_failure("fallocate", path_, error);
  if (to > mapped_) {
    void* address = mmap(base_ + mapped_, to - mapped_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file_.get(),
                         static_cast<off_t>(mapped_));
    if (address == MAP_FAILED) return system_failure("mmap", path_, errno);
    mapped_ = to;
  }
  allocated_.store(to, std::memory_order_release);
  next_chunk_ = std::min(next_chunk_ * 2, kMaxChunkBytes);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::append(const uint8_t* source, size_t length, uint64_t& position) {
  if (closed_) return Failure{FailureCode::closed, path_ + " is closed"};
  if (!writable_) return Failure{FailureCode::invariant_broken, path_ + " was opened read-only"};
  if (health_->failed()) return health_->failure();
  if (length > reserve_bytes_ - size_) {
    return Failure{FailureCode::invariant_broken, "append of " + std::to_string(length) + " bytes to " + path_ +
                                                      " at " + std::to_string(size_) + " exceeds its " +
                                                      std::to_string(reserve_bytes_) + " reserved bytes"};
  }
  if (allocated_.load(std::memory_order_acquire) < size_ + length) {
    if (auto failure = grow(size_ + length)) return failure;
  }
  std::memcpy(base_ + size_, source, length);
  if (Trace* const trace = health_->trace()) trace->stored(path_, size_, source, length);
  if (poisoned()) {
    return Failure{FailureCode::disk_failed, "a page of " + path_ + " could not be written (SIGBUS)"};
  }
  position = size_;
  size_ += length;
  return std::nullopt;
}

bool MappedSegment::request_prepare(uint64_t bytes) {
  const uint64_t target = std::min(reserve_bytes_, size_ + std::min(bytes, reserve_bytes_));
  if (!writable_ || target <= prepare_target_.load(std::memory_order_relaxed)) return false;
  prepare_target_.store(target, std::memory_order_release);
  return !prepare_posted_.exchange(true, std::memory_order_acq_rel);
}

void MappedSegment::prepare(uint64_t from) {
  prepare_posted_.store(false, std::memory_order_release);
  const uint64_t target = prepare_target_.load(std::memory_order_acquire);
  while (allocated_bytes() < target) {
    if (grow(std::min(target, allocated_bytes() + kMaxChunkBytes))) return;
  }
  // Populating only faults pages in; it changes no byte, so it may run beside the appending thread.
  for (uint64_t at = from / page_bytes() * page_bytes(); at < target; at += kPopulatePieceBytes) {
    if (madvise(base_ + at, std::min(kPopulatePieceBytes, round_up(target - at, page_bytes())), MADV_POPULATE_WRITE) !=
        0) {
      return;
    }
  }
}

void MappedSegment::touch(uint64_t position, uint64_t length, const std::function<bool()>& stop) {
  const uint64_t end = std::min(allocated_bytes(), position + length);
  for (uint64_t at = position / page_bytes() * page_bytes(); at < end && !stop(); at += kPopulatePieceBytes) {
    uint8_t* const from = base_ + at;
    const uint64_t bytes = std::min(kPopulatePieceBytes, round_up(end - at, page_bytes()));
    // Asks for the piece as a whole; populating alone would read it a few pages at a time.
    (void)madvise(from, bytes, MADV_WILLNEED);
    if (madvise(from, bytes, MADV_POPULATE_READ) != 0) read_pages(from, bytes);
  }
}

std::optional<Failure> MappedSegment::sync(uint64_t stored_bytes,
                                           const std::function<void(std::chrono::nanoseconds)>& pause) {
  if (health_->failed()) return health_->failure();
  int error = 0;
  if (stored_bytes > synced_ + kSyncPieceBytes) {
    constexpr unsigned kWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    for (uint64_t at = synced_; at < stored_bytes && error == 0; at += kSyncPieceBytes) {
      const uint64_t length = std::min(kSyncPieceBytes, stored_bytes - at);
      const auto began = std::chrono::steady_clock::now();
      error = write_back(file_, at, length, kWait);
      if (error == 0) pause(std::chrono::steady_clock::now() - began);
    }
    // Pacing is a courtesy that not every file system knows; an I/O error met on the way counts.
    if (error != EIO && error != ENOSPC && error != EDQUOT) error = 0;
  }
  if (error == 0) error = sync_data(file_);
  if (error != 0) {
    const Failure failure = final_failure("fdatasync", path_, error);
    health_->fail(failure);
    return failure;
  }
  synced_ = std::max(synced_, stored_bytes);
  return std::nullopt;
}

bool MappedSegment::enter_file() {
  uint32_t users = file_users_.load(std::memory_order_relaxed);
  while (users > 0) {
    if (file_users_.compare_exchange_weak(users, users + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void MappedSegment::leave_file() {
  if (file_users_.fetch_sub(1, std::memory_order_acq_rel) == 1) file_.reset();
}

void MappedSegment::close() {
  if (closed_) return;
  closed_ = true;
  leave_file();
}

}  // namespace varve
