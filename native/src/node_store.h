// One open data directory in one environment: its lock, its threads, its journal, and the two ways in which
// native threads call back. It ends either by close(), or with its environment (process exit without close, a worker
// thread that is terminated): then threads are joined first, and what was pending and never acknowledged is dropped.
#pragma once

#include <node_api.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "background.h"
#include "directory_lock.h"
#include "failure.h"
#include "health.h"
#include "journal.h"
#include "node_handle.h"
#include "node_wakeup.h"
#include "segment_ground.h"

namespace varve {

struct StoreConfig {
  size_t max_open_files = SegmentGround::kDefaultMaxOpenFiles;
  std::shared_ptr<Trace> trace;  // null unless the store is traced
};

class Store : public std::enable_shared_from_this<Store> {
 public:
  static std::optional<Failure> open(napi_env env, std::string root, StoreConfig config,
                                     std::shared_ptr<Store>& out);

  const std::shared_ptr<SegmentGround>& segments() const { return segments_; }
  const Health& health() const { return *health_; }
  bool closed() const { return closing_; }

  using Work = std::function<std::optional<Failure>()>;
  // Runs `work` on the background thread; the promise settles with its result.
  napi_value run(Work work) { return run_on(background_, std::move(work)); }
  Background& background() { return background_; }
  // The same on the thread for reads, so that a reader never stands behind a sync. After `close` what still waits there
  // fails without having run.
  napi_value run_read(Work work);
  // Long reads look at this between their pieces.
  bool ends_reads() const { return ends_reads_.load(std::memory_order_relaxed); }
  // Runs a short job that makes appends cheaper; nobody waits for it.
  void prepare(Background::Job job) { preparer_.post(std::move(job)); }

  // `progress` is called as (durableTicket, error | undefined, stopped, space). One journal per store.
  std::optional<Failure> open_journal(JournalConfig config, napi_value progress);
  Journal* journal() const { return journal_.get(); }
  // Keeps the process alive until `ticket` is durable.
  void await_ticket(uint64_t ticket);
  void stop_journal();

  // A write or sync outside the addon failed: nothing is written or synced any more, and `progress` says why.
  void fail(std::string message);

  // Settles when all jobs posted before have run; the lock is free then.
  napi_value close();

 private:
  struct Settled {
    napi_deferred deferred;
    std::optional<Failure> failure;
    bool closes;
  };

  Store(napi_env env, std::string root, StoreConfig config);
  static void tear_down(void* data);
  napi_value run_on(Background& thread, Work work);
  napi_value promise(Work work, bool closes, const std::function<void(Background::Job)>& post);
  Failure closed_failure() const;
  void settle(napi_env env);
  void finish_close();
  void stop_threads();
  void report_progress(napi_env env);

  const napi_env env_;
  const std::string root_;
  const std::shared_ptr<Health> health_;
  const std::shared_ptr<SegmentGround> segments_;
  DirectoryLock lock_;
  Background background_{"varve-sync"};
  Background preparer_{"varve-prepare"};
  Background reader_{"varve-read", Background::Manner::prompt};
  Background journal_filer_{"varve-journal-f"};
  std::unique_ptr<Journal> journal_;
  napi_ref progress_ = nullptr;
  Wakeup* settled_wakeup_ = nullptr;
  Wakeup* journal_wakeup_ = nullptr;
  std::shared_ptr<Store> self_;  // until the store has ended

  std::mutex mutex_;
  std::vector<Settled> settled_;

  std::atomic<bool> ends_reads_{false};

  // Environment's thread only.
  bool closing_ = false;
  size_t promises_ = 0;
  uint64_t awaited_ticket_ = 0;
  uint64_t reported_ticket_ = 0;
  bool awaits_stop_ = false;
  bool journal_ended_ = false;
};

struct StoreHandle : Handle {
  explicit StoreHandle(std::shared_ptr<Store> opened) : Handle(HandleKind::store), store(std::move(opened)) {}
  const std::shared_ptr<Store> store;
};

void export_store(napi_env env, napi_value exports);

}  // namespace varve
