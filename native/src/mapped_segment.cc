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
constexpr int kReservation = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

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
  if (segment_ != nullptr) segment_->users_.fetch_add(1, std::memory_order_relaxed);
}

SegmentRef::~SegmentRef() {
  if (segment_ != nullptr && segment_->users_.fetch_sub(1, std::memory_order_acq_rel) == 1) segment_->left_by_engine();
}

ViewRef::ViewRef(const SegmentRef& segment) : segment_(segment.get()) {
  segment_->references_.fetch_add(1, std::memory_order_relaxed);
}

ViewRef::~ViewRef() { segment_->release(); }

MappedSegment::MappedSegment(std::string path, std::shared_ptr<SegmentGround> ground)
    : path_(std::move(path)), ground_(std::move(ground)), file_(ground_->files(), path_) {}

MappedSegment::~MappedSegment() {
  if (registered_) ground_->unmapped(*this);
  if (view_guard_slot_ >= 0) sigbus_guard::unwatch(view_guard_slot_);
  if (view_base_ != nullptr) munmap(view_base_, reserved_);
}

void MappedSegment::left_by_engine() {
  if (guard_slot_ >= 0) sigbus_guard::unwatch(guard_slot_);
  if (base_ != nullptr) munmap(base_, reserved_);
  file_.close();
  if (registered_) ground_->left_by_engine();
  release();
}

void MappedSegment::release() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

std::optional<Failure> MappedSegment::create(std::string path, uint64_t reserve_bytes,
                                             std::shared_ptr<SegmentGround> ground, SegmentRef& out,
                                             SegmentWriter writer) {
  SegmentRef segment(new MappedSegment(std::move(path), std::move(ground)));
  segment->writer_ = writer;
  // The address space comes first, so that its failure leaves no file behind.
  if (auto failure = segment->reserve_for_writing(reserve_bytes)) return failure;
  FileDescriptor file;
  if (const int error = open_file(segment->path_, O_RDWR | O_CREAT | O_EXCL, segment->trace(), file); error != 0) {
    return system_failure("creation", segment->path_, error);
  }
  if (auto failure = segment->map_writable(std::move(file), 0)) {
    // Ours, and empty: left there, it would be in the way of the next attempt.
    (void)unlink_file(segment->path_, segment->trace());
    return failure;
  }
  out = std::move(segment);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::open_writable(std::string path, uint64_t reserve_bytes, uint64_t size,
                                                    std::shared_ptr<SegmentGround> ground, SegmentRef& out,
                                                    SegmentWriter writer, Tail tail) {
  SegmentRef segment(new MappedSegment(std::move(path), std::move(ground)));
  segment->writer_ = writer;
  if (size > reserve_bytes) {
    return Failure{FailureCode::invalid_argument, "size of " + segment->path_ + " exceeds reserveBytes"};
  }
  if (auto failure = segment->reserve_for_writing(reserve_bytes)) return failure;
  FileDescriptor file;
  if (const int error = open_file(segment->path_, O_RDWR, segment->trace(), file); error != 0) {
    return system_failure("open", segment->path_, error);
  }
  uint64_t present = 0;
  if (const int error = file_size(file, present); error != 0) {
    return system_failure("fstat", segment->path_, error);
  }
  if (present < size) {
    return Failure{FailureCode::invariant_broken, segment->path_ + " has " + std::to_string(present) +
                                                      " bytes, fewer than the " + std::to_string(size) +
                                                      " it is to be opened with"};
  }
  if (present > size && tail == Tail::cut) {
    if (const int error = truncate_file(file, size); error != 0) {
      return system_failure("truncation", segment->path_, error);
    }
  }
  segment->has_kept_tail_ = present > size && tail == Tail::keep;
  if (auto failure = segment->map_writable(std::move(file), size)) return failure;
  out = std::move(segment);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::open_read_only(std::string path, std::shared_ptr<SegmentGround> ground,
                                                     SegmentRef& out) {
  SegmentRef segment(new MappedSegment(std::move(path), std::move(ground)));
  FileDescriptor file;
  if (const int error = open_file(segment->path_, O_RDONLY, segment->trace(), file); error != 0) {
    return system_failure("open", segment->path_, error);
  }
  uint64_t size = 0;
  if (const int error = file_size(file, size); error != 0) {
    return system_failure("fstat", segment->path_, error);
  }
  if (auto failure = segment->file_.identify(file)) return failure;
  if (auto failure = segment->set_reserve_bytes(size)) return failure;
  if (auto failure = segment->reserve(false, segment->view_base_, segment->view_guard_slot_)) return failure;
  segment->view_mapped_ = segment->reserved_;
  if (size > 0 &&
      mmap(segment->view_base_, segment->reserved_, PROT_READ, MAP_SHARED | MAP_FIXED, file.get(), 0) == MAP_FAILED) {
    return system_failure("mmap", segment->path_, errno);
  }
  segment->begin(size);
  out = std::move(segment);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::set_reserve_bytes(uint64_t reserve_bytes) {
  if (reserve_bytes > kMaxReserveBytes) {
    return Failure{FailureCode::invalid_argument, "reserveBytes of " + path_ + " is larger than 1 TiB"};
  }
  reserve_bytes_ = reserve_bytes;
  reserved_ = round_up(reserve_bytes, page_bytes());
  return std::nullopt;
}

std::optional<Failure> MappedSegment::reserve(bool writable, uint8_t*& base, int& guard_slot) {
  if (reserved_ == 0) return std::nullopt;
  void* address = mmap(nullptr, reserved_, PROT_READ, kReservation, -1, 0);
  if (address == MAP_FAILED) return mapping_failure("mmap (reservation)", errno);
  base = static_cast<uint8_t*>(address);
  guard_slot = sigbus_guard::watch(base, reserved_, writable, mark_.get());
  if (guard_slot < 0) {
    return Failure{FailureCode::disk_failed, "too many segments are mapped: " + path_ + " cannot be opened"};
  }
  return std::nullopt;
}

std::optional<Failure> MappedSegment::reserve_for_writing(uint64_t reserve_bytes) {
  writable_ = true;
  if (auto failure = set_reserve_bytes(reserve_bytes)) return failure;
  return reserve(true, base_, guard_slot_);
}

// The mapping is as long as the file may ever become; what lies beyond the file is not touched.
std::optional<Failure> MappedSegment::map_writable(FileDescriptor file, uint64_t size) {
  if (reserved_ > 0 &&
      mmap(base_, reserved_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.get(), 0) == MAP_FAILED) {
    return mapping_failure("mmap", errno);
  }
  if (auto failure = file_.adopt(std::move(file))) return failure;
  read_around(size > kMinChunkBytes);
  begin(size);
  return std::nullopt;
}

void MappedSegment::begin(uint64_t size) {
  size_ = size;
  synced_.store(size, std::memory_order_relaxed);
  allocated_.store(size, std::memory_order_release);
  registered_ = true;
  ground_->mapped(*this, path_);
  ground_->grown(size);
}

// The kernel fills the page cache around a fault, with sixteen pages or more: good for one that grows (its next pages are
// there already), and 64 KiB for nothing where a hundred bytes are stored and nothing follows.
void MappedSegment::read_around(bool wanted) {
  if (reserved_ > 0) (void)madvise(base_, reserved_, wanted ? MADV_NORMAL : MADV_RANDOM);
}

// ENOMEM says nothing to anybody; it is nearly always this limit.
Failure MappedSegment::mapping_failure(const char* call, int error) const {
  Failure failure = system_failure(call, path_, error);
  if (error == ENOMEM) failure.message += "; the process may have reached vm.max_map_count: raise it, or map fewer segments";
  return failure;
}

std::optional<Failure> MappedSegment::view(const uint8_t*& out) {
  const std::lock_guard lock(view_mutex_);
  if (view_base_ == nullptr) {
    if (auto failure = reserve(false, view_base_, view_guard_slot_)) return failure;
  }
  if (auto failure = extend_view(allocated_bytes())) return failure;
  out = view_base_;
  return std::nullopt;
}

// Under view_mutex_. The view is a copy of the engine's mapping, so that it needs no descriptor, and stays one area of
// address space however often the file grows. What is copied lies beyond everything that was ever handed out.
std::optional<Failure> MappedSegment::extend_view(uint64_t to) {
  const uint64_t end = round_up(to, page_bytes());
  if (view_base_ == nullptr || end <= view_mapped_) return std::nullopt;
  uint8_t* const at = view_base_ + view_mapped_;
  const uint64_t length = end - view_mapped_;
  if (mremap(base_ + view_mapped_, 0, length, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED ||
      madvise(at, length, MADV_NORMAL) != 0 || mprotect(at, length, PROT_READ) != 0) {
    const int error = errno;
    // The address space must not be left with a hole in it.
    mmap(at, length, PROT_READ, kReservation | MAP_FIXED, -1, 0);
    if (poisoned()) return unreadable();
    return mapping_failure("mremap", error);
  }
  view_mapped_ = end;
  return std::nullopt;
}

Failure MappedSegment::unreadable() const {
  return {FailureCode::disk_failed, "a page of " + path_ + " could not be read or written (SIGBUS)"};
}

// The new end is always past `required`; a failure leaves everything as it was (blocks that a partial fallocate left behind
// are trimmed at the next open).
std::optional<Failure> MappedSegment::grow(uint64_t required) {
  const std::lock_guard lock(grow_mutex_);
  const uint64_t from = allocated_.load(std::memory_order_relaxed);
  if (from >= required) return std::nullopt;
  if (closed()) return Failure{FailureCode::closed, path_ + " is closed"};
  if (ended_.load(std::memory_order_acquire)) return Failure{FailureCode::invariant_broken, path_ + " has ended"};
  PooledFile::Use file;
  if (auto failure = file_.use(file)) return failure;
  const uint64_t wanted = std::max(required, from + next_chunk_);
  uint64_t to = std::min(round_up(wanted, page_bytes()), reserved_);
  int error = allocate(file.descriptor(), from, to);
  if ((error == ENOSPC || error == EDQUOT) && round_up(required, page_bytes()) < to) {
    // The rest of the disk is used as well, to the last page.
    to = round_up(required, page_bytes());
    error = allocate(file.descriptor(), from, to);
  }
  if (error != 0) {
    return system_failure("fallocate", path_, error);
  }
  if (from <= kMinChunkBytes && to > kMinChunkBytes) read_around(true);
  const std::lock_guard view_lock(view_mutex_);
  if (auto failure = extend_view(to)) return failure;
  allocated_.store(to, std::memory_order_release);
  ground_->grown(to - from);
  next_chunk_ = std::min(next_chunk_ * 2, kMaxChunkBytes);
  return std::nullopt;
}

std::optional<Failure> MappedSegment::append(const uint8_t* source, size_t length, uint64_t& position) {
  if (closed()) return Failure{FailureCode::closed, path_ + " is closed"};
  if (!writable_) return Failure{FailureCode::invariant_broken, path_ + " was opened read-only"};
  if (ended_.load(std::memory_order_relaxed)) return Failure{FailureCode::invariant_broken, path_ + " has ended"};
  if (ground_->health().failed()) return ground_->health().failure();
  if (length > reserve_bytes_ - size_) {
    return Failure{FailureCode::invariant_broken, "append of " + std::to_string(length) + " bytes to " + path_ +
                                                      " at " + std::to_string(size_) + " exceeds its " +
                                                      std::to_string(reserve_bytes_) + " reserved bytes"};
  }
  if (allocated_.load(std::memory_order_acquire) < size_ + length) {
    if (auto failure = grow(size_ + length)) return failure;
  }
  if (auto failure = store(source, length)) return failure;
  if (poisoned()) return unreadable();
  position = size_;
  size_ += length;
  return std::nullopt;
}

// Into allocated space, at the end.
std::optional<Failure> MappedSegment::store(const uint8_t* source, size_t length) {
  if (writer_ == SegmentWriter::mapped) {
    std::memcpy(base_ + size_, source, length);
    if (Trace* const trace = this->trace()) trace->stored(path_, size_, source, length);
    return std::nullopt;
  }
  PooledFile::Use file;
  if (auto failure = file_.use(file)) return failure;
  iovec piece{const_cast<uint8_t*>(source), length};
  const int error = write_all(file.descriptor(), &piece, 1, size_);
  if (error == 0) return std::nullopt;
  const Failure failure = final_failure("write", path_, error);
  ground_->health().fail(failure);
  return failure;
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
  if (writer_ == SegmentWriter::pwrite) return;
  // Populating only faults pages in; it changes no byte, so it may run beside the appending thread.
  for (uint64_t at = from / page_bytes() * page_bytes(); at < target; at += kPopulatePieceBytes) {
    const std::lock_guard lock(populate_mutex_);
    if (ended_.load(std::memory_order_acquire)) return;
    if (madvise(base_ + at, std::min(kPopulatePieceBytes, round_up(target - at, page_bytes())), MADV_POPULATE_WRITE) !=
        0) {
      return;
    }
  }
}

void MappedSegment::release_tail(uint64_t stored_bytes) {
  if (!writable_ || has_kept_tail_ || ground_->health().failed()) return;
  const std::lock_guard grow_lock(grow_mutex_);
  const std::lock_guard populate_lock(populate_mutex_);
  PooledFile::Use file;
  uint64_t to = 0;
  if (file_.use(file) || file_size(file.descriptor(), to) != 0) return;
  const uint64_t from = round_up(stored_bytes, page_bytes());
  if (from < to) (void)release_blocks(file.descriptor(), from, to);
}

void MappedSegment::touch(uint64_t position, uint64_t length, const std::function<bool()>& stop) {
  const uint64_t end = std::min(allocated_bytes(), position + length);
  for (uint64_t at = position / page_bytes() * page_bytes(); at < end && !stop(); at += kPopulatePieceBytes) {
    uint8_t* const from = view_base_ + at;
    const uint64_t bytes = std::min(kPopulatePieceBytes, round_up(end - at, page_bytes()));
    // Asks for the piece as a whole; populating alone would read it a few pages at a time.
    (void)madvise(from, bytes, MADV_WILLNEED);
    if (madvise(from, bytes, MADV_POPULATE_READ) != 0) read_pages(from, bytes);
  }
}

std::optional<Failure> MappedSegment::sync(uint64_t stored_bytes,
                                           const std::function<void(std::chrono::nanoseconds)>& pause) {
  Health& health = ground_->health();
  if (health.failed()) return health.failure();
  const uint64_t from = synced_.load(std::memory_order_relaxed);
  if (stored_bytes > from + kSyncPieceBytes) {
    if (const int error = write_back_paced(from, stored_bytes, pause); error != 0) {
      const Failure failure = final_failure("write-back", path_, error);
      health.fail(failure);
      return failure;
    }
  }
  if (auto failure = sync_now()) return failure;
  // Another thread may have synced more.
  for (uint64_t synced = from; synced < stored_bytes;) {
    if (synced_.compare_exchange_weak(synced, stored_bytes, std::memory_order_relaxed)) break;
  }
  return std::nullopt;
}

std::optional<Failure> MappedSegment::sync_now() {
  const std::lock_guard lock(sync_mutex_);
  Health& health = ground_->health();
  if (health.failed()) return health.failure();
  if (reserved_ == 0) return std::nullopt;
  // Everything that was stored when it begins, as fdatasync would.
  const uint64_t length = round_up(std::max<uint64_t>(allocated_bytes(), 1), page_bytes());
  if (const int error = sync_mapping(base(), length, trace(), file_.number()); error != 0) {
    health.fail(final_failure("msync", path_, error));
  }
  if (health.failed()) return health.failure();
  return std::nullopt;
}

bool MappedSegment::sync_entry(std::optional<Failure>& failure) {
  if (entry_durable_) return true;
  if (ground_->health().failed()) {
    failure = ground_->health().failure();
    return true;
  }
  const std::string directory = path_.substr(0, path_.rfind('/'));
  FileDescriptor file;
  if (open_file(directory, O_RDONLY | O_DIRECTORY, trace(), file) != 0) return false;
  if (const int error = sync_all(file); error != 0) {
    failure = final_failure("fsync", directory, error);
    ground_->health().fail(*failure);
    return true;
  }
  entry_durable_ = true;
  return true;
}

void MappedSegment::start_writeback(uint64_t from, uint64_t to) {
  PooledFile::Use file;
  if (file_.use(file)) return;
  (void)write_back(file.descriptor(), from, to - from, SYNC_FILE_RANGE_WRITE);
}

// A courtesy, which not every file system knows, and which is left out where the file cannot be opened; but an I/O error met
// on the way counts.
int MappedSegment::write_back_paced(uint64_t from, uint64_t to, const std::function<void(std::chrono::nanoseconds)>& pause) {
  PooledFile::Use file;
  if (file_.use(file)) return 0;
  constexpr unsigned kWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  for (uint64_t at = from; at < to; at += kSyncPieceBytes) {
    const auto began = std::chrono::steady_clock::now();
    const int error = write_back(file.descriptor(), at, std::min(kSyncPieceBytes, to - at), kWait);
    if (error != 0) return error == EIO || error == ENOSPC || error == EDQUOT ? error : 0;
    pause(std::chrono::steady_clock::now() - began);
  }
  return 0;
}

}  // namespace varve
