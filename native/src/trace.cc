#include "trace.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace varve {
namespace {

constexpr const char* kKindNames[] = {
    "create", "open",  "write",      "store",    "allocate",   "truncate", "rename",
    "unlink", "mkdir", "sync-begin", "sync-end", "write-back", "fault",    "latch",  "note",
};

bool all_zero(const std::vector<uint8_t>& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

std::vector<uint8_t> gather(const iovec* pieces, int count, size_t length) {
  std::vector<uint8_t> bytes;
  bytes.reserve(length);
  for (int i = 0; i < count && bytes.size() < length; i++) {
    const auto* data = static_cast<const uint8_t*>(pieces[i].iov_base);
    bytes.insert(bytes.end(), data, data + std::min(pieces[i].iov_len, length - bytes.size()));
  }
  return bytes;
}

int fail_with(int error) {
  errno = error;
  return -1;
}

}  // namespace

const char* trace_kind_name(TraceKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

bool Trace::attach(const std::string& root) {
  const std::lock_guard lock(mutex_);
  if (!prefix_.empty()) return false;
  prefix_ = root + "/";
  return true;
}

// ---- the hooked calls ----

int Trace::open(const std::string& path, int flags, mode_t mode, uint32_t& file) {
  const std::lock_guard lock(mutex_);
  const std::string name = relative(path);
  const bool creates = (flags & O_CREAT) != 0;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  const TraceKind kind = creates ? TraceKind::create : TraceKind::open;
  if (writes) {
    if (const int error = ask_locked(kind, name); error != 0) return fail_with(error);
  }
  const int fd = ::open(path.c_str(), flags, mode);
  if (fd < 0) return fd;
  if (creates) files_.erase(name);
  file = file_at(name, (flags & O_DIRECTORY) != 0);
  if (creates) record_locked({.kind = kind, .file = file, .path = name, .text = {}, .bytes = {}});
  return fd;
}

ssize_t Trace::pwritev(uint32_t file, int fd, const iovec* pieces, int count, off_t position) {
  const std::lock_guard lock(mutex_);
  const int error = ask_locked(TraceKind::write, path_of(file));
  if (error > 0) return fail_with(error);
  ssize_t written;
  if (error == TraceFault::kShortWrite) {
    size_t length = 0;
    for (int i = 0; i < count; i++) length += pieces[i].iov_len;
    const std::vector<uint8_t> half = gather(pieces, count, std::max<size_t>(length / 2, 1));
    written = ::pwrite(fd, half.data(), half.size(), position);
  } else {
    written = ::pwritev(fd, pieces, count, position);
  }
  if (written <= 0) return written;
  const int outcome = errno;
  TraceEvent event;
  event.kind = TraceKind::write;
  event.file = file;
  event.path = path_of(file);
  event.position = static_cast<uint64_t>(position);
  event.length = static_cast<uint64_t>(written);
  event.bytes = gather(pieces, count, event.length);
  record_locked(std::move(event));
  errno = outcome;
  return written;
}

int Trace::fallocate(uint32_t file, int fd, off_t from, off_t length) {
  const std::lock_guard lock(mutex_);
  if (const int error = ask_locked(TraceKind::allocate, path_of(file)); error != 0) return fail_with(error);
  if (::fallocate(fd, 0, from, length) != 0) return -1;
  TraceEvent event;
  event.kind = TraceKind::allocate;
  event.file = file;
  event.path = path_of(file);
  event.position = static_cast<uint64_t>(from);
  event.length = static_cast<uint64_t>(length);
  record_locked(std::move(event));
  return 0;
}

int Trace::ftruncate(uint32_t file, int fd, off_t size) {
  const std::lock_guard lock(mutex_);
  if (const int error = ask_locked(TraceKind::truncate, path_of(file)); error != 0) return fail_with(error);
  if (::ftruncate(fd, size) != 0) return -1;
  TraceEvent event;
  event.kind = TraceKind::truncate;
  event.file = file;
  event.path = path_of(file);
  event.position = static_cast<uint64_t>(size);
  record_locked(std::move(event));
  return 0;
}

int Trace::sync(uint32_t file, int fd, bool data_only) {
  return sync_by(file, [&] { return data_only ? ::fdatasync(fd) : ::fsync(fd); });
}

int Trace::sync_mapping(uint32_t file, void* address, size_t length) {
  return sync_by(file, [&] { return ::msync(address, length, MS_SYNC); });
}

int Trace::sync_by(uint32_t file, const std::function<int()>& call) {
  TraceEvent event;
  {
    const std::lock_guard lock(mutex_);
    event.directory = nodes_[file - 1].directory;
    event.file = event.directory ? 0 : file;
    event.path = path_of(file);
    event.kind = TraceKind::sync_begin;
    event.sync = record_locked(TraceEvent(event));
    event.error = ask_locked(TraceKind::sync_begin, event.path);
  }
  if (event.error == 0 && call() != 0) event.error = errno;
  const int error = event.error;
  event.kind = TraceKind::sync_end;
  const std::lock_guard lock(mutex_);
  record_locked(std::move(event));
  return error == 0 ? 0 : fail_with(error);
}

int Trace::sync_file_range(uint32_t file, int fd, off_t from, off_t length, unsigned flags) {
  {
    const std::lock_guard lock(mutex_);
    if (const int error = ask_locked(TraceKind::write_back, path_of(file)); error != 0) return fail_with(error);
    TraceEvent event;
    event.kind = TraceKind::write_back;
    event.file = file;
    event.path = path_of(file);
    event.position = static_cast<uint64_t>(from);
    event.length = static_cast<uint64_t>(length);
    record_locked(std::move(event));
  }
  return ::sync_file_range(fd, from, length, flags);
}

int Trace::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  TraceEvent event;
  event.kind = TraceKind::rename;
  event.path = relative(from);
  event.text = relative(to);
  if (const int error = ask_locked(TraceKind::rename, event.path); error != 0) return fail_with(error);
  if (::rename(from.c_str(), to.c_str()) != 0) return -1;
  record_locked(std::move(event));
  return 0;
}

int Trace::unlink(const std::string& path) {
  const std::lock_guard lock(mutex_);
  TraceEvent event;
  event.kind = TraceKind::unlink;
  event.path = relative(path);
  if (const int error = ask_locked(TraceKind::unlink, event.path); error != 0) return fail_with(error);
  if (::unlink(path.c_str()) != 0) return -1;
  record_locked(std::move(event));
  return 0;
}

void Trace::stored(const std::string& path, uint64_t position, const uint8_t* bytes, size_t length) {
  TraceEvent event;
  event.kind = TraceKind::store;
  event.path = path;
  event.position = position;
  event.length = length;
  event.bytes.assign(bytes, bytes + length);
  record(std::move(event));
}

// ---- calls that somebody else makes ----

int Trace::ask(TraceKind kind, const std::string& path) {
  const std::lock_guard lock(mutex_);
  return ask_locked(kind, relative(path));
}

uint32_t Trace::record(TraceEvent event) {
  const std::lock_guard lock(mutex_);
  event.path = relative(event.path);
  if (event.kind == TraceKind::rename) event.text = relative(event.text);
  const bool creates = event.kind == TraceKind::create;
  if (creates) files_.erase(event.path);
  const bool of_file = event.kind != TraceKind::mkdir && event.kind != TraceKind::note && !event.directory;
  if (of_file && event.file == 0 && event.kind != TraceKind::rename && event.kind != TraceKind::unlink) {
    event.file = file_at(event.path);
  }
  return record_locked(std::move(event));
}

void Trace::latched(std::string reason) {
  TraceEvent event;
  event.kind = TraceKind::latch;
  event.text = std::move(reason);
  const std::lock_guard lock(mutex_);
  record_locked(std::move(event));
}

void Trace::note(std::string text) {
  TraceEvent event;
  event.text = std::move(text);
  const std::lock_guard lock(mutex_);
  record_locked(std::move(event));
}

std::vector<TraceEvent> Trace::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(events_, {});
}

void Trace::set_fault(TraceFault fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
  matching_calls_ = 0;
}

uint64_t Trace::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

uint64_t Trace::injected() const {
  const std::lock_guard lock(mutex_);
  return injected_;
}

// ---- under the mutex ----

int Trace::ask_locked(TraceKind kind, const std::string& relative) {
  calls_++;
  const bool matches = fault_.call > 0 && (fault_.kinds & (1u << static_cast<unsigned>(kind))) != 0 &&
                       relative.find(fault_.path) != std::string::npos;
  if (!matches) return 0;
  matching_calls_++;
  const bool due = fault_.repeat ? matching_calls_ >= fault_.call : matching_calls_ == fault_.call;
  const bool again = fault_.error == EINTR && (matching_calls_ - fault_.call) % 2 != 0;
  if (!due || again) return 0;
  injected_++;
  TraceEvent event;
  event.kind = TraceKind::fault;
  event.path = relative;
  event.text = trace_kind_name(kind);
  event.error = fault_.error;
  record_locked(std::move(event));
  return fault_.error;
}

uint32_t Trace::record_locked(TraceEvent&& event) {
  if (event.kind == TraceKind::sync_begin) event.sync = ++syncs_;
  if (event.kind == TraceKind::rename) {
    event.file = file_at(event.path);
    move(event.path, event.text);
  } else if (event.kind == TraceKind::unlink) {
    event.file = file_at(event.path);
    files_.erase(event.path);
  }
  if (all_zero(event.bytes)) event.bytes = {};
  const uint32_t sync = event.sync;
  events_.push_back(std::move(event));
  return sync;
}

std::string Trace::relative(const std::string& path) const {
  if (path.size() + 1 == prefix_.size() && prefix_.starts_with(path)) return "";
  return path.starts_with(prefix_) ? path.substr(prefix_.size()) : path;
}

uint32_t Trace::file_at(const std::string& relative, bool directory) {
  const auto [found, added] = files_.try_emplace(relative, static_cast<uint32_t>(nodes_.size() + 1));
  if (added) nodes_.push_back({relative, directory});
  return found->second;
}

void Trace::move(const std::string& from, const std::string& to) {
  const auto source = files_.find(from);
  if (source == files_.end()) return;
  const uint32_t file = source->second;
  files_.erase(source);
  files_[to] = file;
  nodes_[file - 1].path = to;
}

}  // namespace varve
