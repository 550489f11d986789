// The recorder and fault hook of one store, for tests (`openStore(path, { trace })`). A store without one holds a null
// pointer, and each hooked call looks at that pointer and nothing else; a build with VARVE_NO_TRACE does not even do that.
//
// It records, in one total order, every call that changes files, every store into a mapping, and when each sync began and
// ended. What the order is good for: an event stands where its effect was complete, and "sync begins" stands before the
// system call, so a write that stands before the begin of a sync is covered by it. A write that ran beside a sync stands
// behind its begin, though it may have been covered: readers of a trace assume less than the disk may have done.
//
// It can make calls fail instead of making them. System calls run under the trace's mutex, syncs excepted: a traced store
// is slower, and none of its races over one file name goes unseen.
//
// Files have a number that stays through renames. Calls that node:fs makes for the store (src/disk/traced-files.ts) come
// in through `ask` and `record`.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace varve {

#ifdef VARVE_NO_TRACE
constexpr bool kTraceable = false;
#else
constexpr bool kTraceable = true;
#endif

// Names: trace_kind_name; the same in src/disk/trace.ts.
enum class TraceKind : uint8_t {
  create,
  open,
  write,
  store,
  allocate,
  truncate,
  rename,
  unlink,
  mkdir,
  sync_begin,
  sync_end,
  write_back,
  fault,
  latch,
  note,
};

const char* trace_kind_name(TraceKind kind);

struct TraceEvent {
  TraceKind kind = TraceKind::note;
  bool directory = false;     // the sync is one of a directory
  uint32_t file = 0;          // 0: none, or a directory
  uint32_t sync = 0;          // begin and end of a sync have the same number
  int error = 0;              // errno; of a sync's end and of a fault
  uint64_t position = 0;      // truncate: the new size
  uint64_t length = 0;
  std::string path;           // relative to the data directory, '' being that
  std::string text;           // rename: the new path; fault: name of the call that failed; note: its text
  std::vector<uint8_t> bytes;  // of a write or store, unless they are all zero
};

// Which calls fail, and how. Replaces the one before.
struct TraceFault {
  static constexpr int kShortWrite = -1;
  int error = 0;              // errno, or kShortWrite: half of the bytes are written
  uint64_t call = 0;          // the how manyth of the calls in `kinds` from now on, from 1; 0: none
  bool repeat = false;        // and all that follow. EINTR: every other one, since a call that is interrupted is made again
  uint32_t kinds = 0;         // bits of TraceKind (sync_begin: syncs of files and directories)
  std::string path;           // only calls on paths that contain this
};

class Trace {
 public:
  // A trace is of one store; false when it has been given one already. `root`: without a slash at its end.
  bool attach(const std::string& root);

  // ---- the hooked calls: as their namesakes, −1 and errno included ----

  int open(const std::string& path, int flags, mode_t mode, uint32_t& file);
  ssize_t pwritev(uint32_t file, int fd, const iovec* pieces, int count, off_t position);
  int fallocate(uint32_t file, int fd, off_t from, off_t length);
  int ftruncate(uint32_t file, int fd, off_t size);
  int sync(uint32_t file, int fd, bool data_only);
  int sync_mapping(uint32_t file, void* address, size_t length);
  int sync_file_range(uint32_t file, int fd, off_t from, off_t length, unsigned flags);
  int rename(const std::string& from, const std::string& to);
  int unlink(const std::string& path);
  // Bytes were stored into the mapping of the file at `path`.
  void stored(const std::string& path, uint64_t position, const uint8_t* bytes, size_t length);

  // ---- for calls that somebody else makes ----

  // Counts a call that is about to be made. 0, or how it is to fail (which is recorded). Paths are absolute or relative.
  int ask(TraceKind kind, const std::string& path);
  // Completes the event (relative path, number of the file) and records it. A sync's begin returns the number of the sync.
  uint32_t record(TraceEvent event);

  void note(std::string text);
  // The store accepts nothing from here on.
  void latched(std::string reason);
  std::vector<TraceEvent> take();
  void set_fault(TraceFault fault);
  // Calls that could have been made to fail so far, and those that were.
  uint64_t calls() const;
  uint64_t injected() const;

 private:
  struct Node {
    std::string path;  // the last one it had
    bool directory;
  };

  int sync_by(uint32_t file, const std::function<int()>& call);

  // All under the mutex.
  int ask_locked(TraceKind kind, const std::string& relative);
  uint32_t record_locked(TraceEvent&& event);
  std::string relative(const std::string& path) const;
  uint32_t file_at(const std::string& relative, bool directory = false);
  const std::string& path_of(uint32_t file) const { return nodes_[file - 1].path; }
  void move(const std::string& from, const std::string& to);

  mutable std::mutex mutex_;
  std::string prefix_;
  std::vector<TraceEvent> events_;
  std::map<std::string, uint32_t> files_;  // by relative path
  std::vector<Node> nodes_;                // by number − 1
  uint32_t syncs_ = 0;
  TraceFault fault_;
  uint64_t matching_calls_ = 0;
  uint64_t calls_ = 0;
  uint64_t injected_ = 0;
};

}  // namespace varve
